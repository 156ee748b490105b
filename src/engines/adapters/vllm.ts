/**
 * vLLM. Running totals and cache salts are fields of its requests (docs.vllm.ai, "OpenAI-Compatible Server"); `/health` answers once the engine
 * runs; the gauges are those of "Production Metrics", whose cache gauge was called `gpu_cache_usage_perc` before version 0.10.
 */
import type { EngineAdapter } from '../engine.ts'
import { connectEngine } from '../protocol/connection.ts'
import { readPublishedLoad } from '../protocol/metrics.ts'
import { openAiChat } from '../protocol/openai/chat.ts'
import { openAiCompletion } from '../protocol/openai/completion.ts'
import { openAiEmbedding } from '../protocol/openai/embedding.ts'
import { openAiTranscription } from '../protocol/openai/transcription.ts'
import { vllmRerank } from '../protocol/rerank/jina.ts'
import { countByTokenize } from '../protocol/token-count.ts'

const readLoad = readPublishedLoad({
  running: ['vllm:num_requests_running'],
  waiting: ['vllm:num_requests_waiting'],
  kvCacheUsage: ['vllm:kv_cache_usage_perc', 'vllm:gpu_cache_usage_perc'],
})

export const vllm: EngineAdapter = {
  kind: 'vllm',
  connect: (address) =>
    connectEngine(address, {
      kind: 'vllm',
      dialects: {
        chat: openAiChat,
        completion: openAiCompletion,
        embedding: openAiEmbedding,
        rerank: vllmRerank,
        transcription: openAiTranscription,
      },
      continuousUsage: true,
      cacheSalt: true,
      relaysErrorTexts: false,
      healthPath: '/health',
      tooLongText: /maximum context length/,
      readLoad,
      countTokens: countByTokenize,
    }),
}
