/**
 * Reranking by Hugging Face's text-embeddings-inference (huggingface.github.io/text-embeddings-inference, `POST /rerank`). It is asked for
 * logits, so that one curve makes them probabilities for every engine; the tokens that it read stand in a header.
 */
import type { RerankTask, StreamPart } from '../../engine.ts'
import { collect, parseWhole } from '../answer.ts'
import type { DialectAnswer, TaskDialect } from '../connection.ts'
import { teiUsage } from '../tei/usage.ts'
import { readScores } from './scores.ts'

export const teiRerank: TaskDialect<RerankTask> = {
  path: '/rerank',
  render: ({ task: { query, documents, truncate } }) => ({
    json: { query, texts: documents, raw_scores: true, truncate: truncate ?? false },
  }),
  read: (answer, { task }) => readTei(answer, task.documents.length),
}

async function* readTei(answer: DialectAnswer, count: number): AsyncGenerator<StreamPart> {
  const value = parseWhole(await collect(answer.body))
  yield { type: 'scores', scores: readScores(value, { count, field: 'score' }), scale: 'logit' }
  yield* teiUsage(answer.headers)
  yield { type: 'end' }
}
