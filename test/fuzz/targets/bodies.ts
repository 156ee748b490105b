/** JSON bodies, for the parser of every endpoint that takes one. */
import { endpoints } from '../../../src/gateway/routes.ts'
import { below, pick } from '../../chaos/random.ts'
import { mutateBytes, mutateValue } from '../mutate.ts'
import { checkRefusal } from '../proper.ts'
import type { Target } from '../target.ts'
import { bodyContext } from './body-context.ts'
import { corpus } from './corpus.ts'

const parsers = endpoints.filter((endpoint) => endpoint.body === 'json')
/** Values of a megabyte, many times over: making those would take longer than reading them. */
const bodyCharactersMax = 4 * 1024 * 1024
const seeds = Object.values(corpus).flat()

export function bodiesTarget(): Target {
  const missing = parsers.filter((endpoint) => !corpus[endpoint.path])
  if (missing.length > 0)
    throw new Error(`no right body to start from: ${missing.map(({ path }) => path).join(', ')}`)
  return {
    name: 'bodies',
    isOnThisThread: true,
    async run(random) {
      const endpoint = parsers[below(random, parsers.length)] ?? parsers[0]
      if (!endpoint) return
      // Now and then the body of another endpoint.
      const own = below(random, 10) > 0 ? corpus[endpoint.path] : undefined
      const list = own ?? seeds
      const seed: unknown = list[below(random, list.length)]
      const value = below(random, 3) === 0 ? seed : mutateValue(random, seed)
      const text = JSON.stringify(value) ?? ''
      const whole = Buffer.from(text.length > bodyCharactersMax ? '{}' : text)
      const bytes = pick(random, [true, true, false]) ? whole : mutateBytes(random, whole)
      try {
        await endpoint.parse(bytes, bodyContext('application/json'))
      } catch (error) {
        checkRefusal(error)
      }
    },
  }
}
