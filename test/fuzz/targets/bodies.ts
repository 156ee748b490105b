/** JSON bodies, for the parser of every endpoint that takes one. */
import { endpoints } from '../../../src/gateway/routes.ts'
import { below, pick } from '../../chaos/random.ts'
import { mutateBytes, mutateValue } from '../mutate.ts'
import { checkRefusal } from '../proper.ts'
import type { Target } from '../target.ts'
import { bodyContext } from './body-context.ts'
import { corpus } from './corpus.ts'

const parsers = endpoints.filter((endpoint) => endpoint.body === 'json')
const seeds = Object.values(corpus).flat()

export function bodiesTarget(): Target {
  const missing = parsers.filter((endpoint) => !corpus[endpoint.path])
  if (missing.length > 0)
    throw new Error(`no right body to start from: ${missing.map(({ path }) => path).join(', ')}`)
  return {
    name: 'bodies',
    prepare(random) {
      const endpoint = parsers[below(random, parsers.length)] ?? parsers[0]
      if (!endpoint) throw new Error('no endpoint takes JSON')
      // Now and then the body of another endpoint.
      const own = below(random, 10) > 0 ? corpus[endpoint.path] : undefined
      const list = own ?? seeds
      const seed: unknown = list[below(random, list.length)]
      const value = below(random, 3) === 0 ? seed : mutateValue(random, seed)
      const whole = Buffer.from(JSON.stringify(value) ?? '')
      const bytes = pick(random, [true, true, false]) ? whole : mutateBytes(random, whole)
      const cut = below(random, bytes.length + 1)
      const pieces = [bytes.subarray(0, cut), bytes.subarray(cut)]
      return async () => {
        try {
          await endpoint.parse(pieces, bodyContext('application/json'))
        } catch (error) {
          checkRefusal(error)
        }
      }
    },
  }
}
