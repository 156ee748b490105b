/**
 * SGLang. Its `/health` costs nothing; `/health_generate` would make a token at each look. Metrics are published with `--enable-metrics`
 * (docs.sglang.io, "Production Metrics"). Running totals and cache salts are fields of its requests, as vLLM's are.
 */
import type { EngineAdapter, RerankTask, StreamPart } from '../engine.ts'
import { collect, isRecord, parseWhole, toNumber } from '../protocol/answer.ts'
import { connectEngine, type TaskDialect } from '../protocol/connection.ts'
import { readPublishedLoad } from '../protocol/metrics.ts'
import { openAiChat } from '../protocol/openai/chat.ts'
import { openAiCompletion } from '../protocol/openai/completion.ts'
import { openAiEmbedding } from '../protocol/openai/embedding.ts'
import { openAiTranscription } from '../protocol/openai/transcription.ts'
import { jinaRerank } from '../protocol/rerank/jina.ts'
import { readScores, scaleOf } from '../protocol/rerank/scores.ts'

const readLoad = readPublishedLoad({
  running: ['sglang:num_running_reqs', 'sglang_num_running_reqs'],
  waiting: ['sglang:num_queue_reqs', 'sglang_num_queue_reqs'],
  kvCacheUsage: ['sglang:token_usage', 'sglang_token_usage'],
})

/** Asked as Jina is; the answer is a bare list of scores, each with its index. */
const rerank: TaskDialect<RerankTask> = {
  ...jinaRerank,
  read: (answer, { task }) => readRerank(answer.body, task.documents.length),
}

export const sglang: EngineAdapter = {
  kind: 'sglang',
  connect: (address) =>
    connectEngine(address, {
      kind: 'sglang',
      dialects: {
        chat: openAiChat,
        completion: openAiCompletion,
        embedding: openAiEmbedding,
        rerank,
        transcription: openAiTranscription,
      },
      continuousUsage: true,
      cacheSalt: true,
      relaysErrorTexts: false,
      healthPath: '/health',
      tooLongText: /longer than the model's context length|maximum context length/,
      readLoad,
    }),
}

async function* readRerank(
  chunks: AsyncIterable<Buffer>,
  count: number,
): AsyncGenerator<StreamPart> {
  const entries = parseWhole(await collect(chunks))
  const scores = readScores(entries, { count, field: 'score' })
  yield { type: 'scores', scores, scale: scaleOf(scores) }
  if (Array.isArray(entries)) {
    const inputTokens = entries.map(tokensOf).reduce((sum, tokens) => sum + tokens, 0)
    if (inputTokens > 0) {
      const usage = { inputTokens, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
      yield { type: 'usage', usage }
    }
  }
  yield { type: 'end' }
}

/** Each entry tells the tokens of its pair of query and document. */
function tokensOf(entry: unknown): number {
  const facts = isRecord(entry) && isRecord(entry['meta_info']) ? entry['meta_info'] : {}
  return toNumber(facts['prompt_tokens'], 0)
}
