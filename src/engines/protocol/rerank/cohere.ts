/** Cohere's reranking, version 2 (docs.cohere.com/reference/rerank). Its scores lie between 0 and 1; long documents are cut by the server. */
import type { RerankTask, StreamPart } from '../../engine.ts'
import { collect, invalid, isRecord, parseWhole } from '../answer.ts'
import type { TaskDialect } from '../connection.ts'
import { readScores, scaleOf } from './scores.ts'

export const cohereRerank: TaskDialect<RerankTask> = {
  path: '/v2/rerank',
  render: ({ task: { query, documents }, model }) => ({
    json: { model, query, documents, top_n: documents.length },
  }),
  read: (answer, { task }) => readCohere(answer.body, task.documents.length),
}

async function* readCohere(
  chunks: AsyncIterable<Buffer>,
  count: number,
): AsyncGenerator<StreamPart> {
  const value = parseWhole(await collect(chunks))
  if (!isRecord(value)) throw invalid('a reranking answer that is no object')
  const scores = readScores(value['results'], { count, field: 'relevance_score' })
  yield { type: 'scores', scores, scale: scaleOf(scores) }
  const inputTokens = tokensIn(value['meta'])
  if (inputTokens !== undefined) {
    const usage = { inputTokens, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
    yield { type: 'usage', usage }
  }
  yield { type: 'end' }
}

/** Cohere itself counts searches; servers that speak its dialect may count tokens. */
function tokensIn(meta: unknown): number | undefined {
  if (!isRecord(meta)) return undefined
  for (const key of ['tokens', 'billed_units']) {
    const counts = meta[key]
    if (isRecord(counts) && typeof counts['input_tokens'] === 'number') {
      return counts['input_tokens']
    }
  }
  return undefined
}
