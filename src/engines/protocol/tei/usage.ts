import type { StreamPart } from '../../engine.ts'
import type { DialectAnswer } from '../connection.ts'

/** text-embeddings-inference tells what it read in a header of the answer; nothing where it does not. */
export function* teiUsage(headers: DialectAnswer['headers']): Generator<StreamPart> {
  const header = headers['x-compute-tokens']
  if (typeof header !== 'string' || !/^\d{1,15}$/.test(header)) return
  yield {
    type: 'usage',
    usage: {
      inputTokens: Number(header),
      cachedInputTokens: 0,
      outputTokens: 0,
      reasoningTokens: 0,
    },
  }
}
