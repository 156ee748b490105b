/** Which endpoints a batch may ask for: those whose requests and answers are JSON. */
import type { Endpoint } from '../endpoint.ts'

/** Answers with sound. */
const binaryAnswers: readonly string[] = ['/v1/audio/speech']

export function batchEndpoints(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  return endpoints.filter(({ body, path }) => body === 'json' && !binaryAnswers.includes(path))
}
