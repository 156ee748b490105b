/** OpenAI's embeddings as spoken to engines. */
import type { EmbeddingTask, StreamPart } from '../../engine.ts'
import { collect, invalid, isRecord, parseWhole } from '../answer.ts'
import type { TaskDialect } from '../connection.ts'
import { readVectors } from '../vectors.ts'
import { fromWireUsage } from './usage.ts'

export const openAiEmbedding: TaskDialect<EmbeddingTask> = {
  path: '/v1/embeddings',
  render: ({ task, model }) => ({
    json: {
      model,
      input: task.input,
      dimensions: task.dimensions,
      encoding_format: 'float',
    },
  }),
  read: (response, { task }) => readEmbeddings(response.body, task.input.length),
}

async function* readEmbeddings(
  chunks: AsyncIterable<Buffer>,
  count: number,
): AsyncGenerator<StreamPart> {
  const value = parseWhole(await collect(chunks))
  if (!isRecord(value) || !Array.isArray(value['data'])) {
    throw invalid('an embedding answer without vectors')
  }
  yield { type: 'embeddings', vectors: readVectors(inOrder(value['data']), count) }
  if (isRecord(value['usage'])) yield { type: 'usage', usage: fromWireUsage(value['usage']) }
  yield { type: 'end' }
}

/** By their indexes where they have some, else as they came. Two of one index leave a hole, which is no vector. */
function inOrder(data: readonly unknown[]): readonly unknown[] {
  const vectors: unknown[] = Array.from({ length: data.length })
  for (const [position, item] of data.entries()) {
    if (!isRecord(item)) throw invalid('an embedding that is no object')
    const index = typeof item['index'] === 'number' ? item['index'] : position
    if (!(index in vectors)) throw invalid('an embedding beyond the inputs')
    vectors[index] = item['embedding']
  }
  return vectors
}
