/** OpenAI's embeddings as spoken to engines. */
import type { EmbeddingTask, StreamPart } from '../../engine.ts'
import { collect, invalid, isRecord, parseWhole } from '../answer.ts'
import type { TaskDialect } from '../connection.ts'
import { fromWireUsage } from './usage.ts'

export const openAiEmbedding: TaskDialect<EmbeddingTask> = {
  path: '/v1/embeddings',
  render: ({ task, model }) =>
    JSON.stringify({
      model,
      input: task.input,
      dimensions: task.dimensions,
      encoding_format: 'float',
    }),
  read: (response, { task }) => readEmbeddings(response.body, task.input.length),
}

async function* readEmbeddings(
  chunks: AsyncIterable<Buffer>,
  count: number,
): AsyncGenerator<StreamPart> {
  const value = parseWhole(await collect(chunks))
  const data = isRecord(value) ? value['data'] : undefined
  if (!isRecord(value) || !Array.isArray(data) || data.length !== count) {
    throw invalid('an embedding answer with the wrong number of vectors')
  }
  const vectors: (readonly number[])[] = Array.from({ length: count }, () => [])
  for (const [position, item] of data.entries()) {
    const vector: unknown = isRecord(item) ? item['embedding'] : undefined
    const index = isRecord(item) && typeof item['index'] === 'number' ? item['index'] : position
    if (!Array.isArray(vector) || !vectors[index]) throw invalid('a vector that is not a list')
    if (!vector.every((number) => Number.isFinite(number)))
      throw invalid('a vector with non-numbers')
    vectors[index] = vector
  }
  yield { type: 'embeddings', vectors }
  if (isRecord(value['usage'])) yield { type: 'usage', usage: fromWireUsage(value['usage']) }
  yield { type: 'end' }
}
