/** What text-embeddings-inference says of itself: one model, named by `GET /info`. Its readiness is `GET /health`. */
import { invalid, isRecord, parseWhole } from '../answer.ts'
import type { EngineGet } from '../connection.ts'

export const teiHealthPath = '/health'

export async function listTeiModels(
  get: EngineGet,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const value = parseWhole(await get('/info', signal))
  const name = isRecord(value) ? value['model_id'] : undefined
  if (typeof name !== 'string' || name === '')
    throw invalid('an engine that does not name its model')
  return [name]
}
