/**
 * llama.cpp's `llama-server`. `/health` is 503 while weights are loaded; metrics need `--metrics`, embeddings `--embeddings`, reranking
 * `--reranking`, tools `--jinja` (its README, "API Endpoints"). Versions of before 2025 publish how full the cache is.
 */
import type { EngineAdapter } from '../engine.ts'
import { connectEngine } from '../protocol/connection.ts'
import { readPublishedLoad } from '../protocol/metrics.ts'
import { openAiChat } from '../protocol/openai/chat.ts'
import { openAiCompletion } from '../protocol/openai/completion.ts'
import { openAiEmbedding } from '../protocol/openai/embedding.ts'
import { openAiTranscription } from '../protocol/openai/transcription.ts'
import { jinaRerank } from '../protocol/rerank/jina.ts'
import { countByTemplate } from '../protocol/token-count.ts'

const readLoad = readPublishedLoad({
  running: ['llamacpp:requests_processing'],
  waiting: ['llamacpp:requests_deferred'],
  kvCacheUsage: ['llamacpp:kv_cache_usage_ratio'],
})

export const llamaServer: EngineAdapter = {
  kind: 'llama-server',
  connect: (address) =>
    connectEngine(address, {
      kind: 'llama-server',
      dialects: {
        chat: openAiChat,
        completion: openAiCompletion,
        embedding: openAiEmbedding,
        rerank: jinaRerank,
        transcription: openAiTranscription,
      },
      continuousUsage: false,
      cacheSalt: false,
      relaysErrorTexts: false,
      healthPath: '/health',
      readLoad,
      countTokens: countByTemplate,
    }),
}
