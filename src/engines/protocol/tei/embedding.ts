/**
 * Embeddings by Hugging Face's text-embeddings-inference, by its own route (huggingface.github.io/text-embeddings-inference, `POST /embed`): the
 * one in OpenAI's shape cuts long texts without a word, this one refuses them when told to.
 */
import type { EmbeddingTask, StreamPart } from '../../engine.ts'
import { collect, parseWhole } from '../answer.ts'
import type { DialectAnswer, TaskDialect } from '../connection.ts'
import { readVectors } from '../vectors.ts'
import { teiUsage } from './usage.ts'

export const teiEmbedding: TaskDialect<EmbeddingTask> = {
  path: '/embed',
  render: ({ task: { input, dimensions } }) => ({
    json: { inputs: input, truncate: false, normalize: true, dimensions },
  }),
  read: (answer, { task }) => readEmbed(answer, task.input.length),
}

async function* readEmbed(answer: DialectAnswer, count: number): AsyncGenerator<StreamPart> {
  const value = parseWhole(await collect(answer.body))
  yield { type: 'embeddings', vectors: readVectors(value, count) }
  yield* teiUsage(answer.headers)
  yield { type: 'end' }
}
