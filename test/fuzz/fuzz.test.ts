/** Short runs; `npm run fuzz` makes long ones. */
import { expect, test } from 'vitest'
import { seededRandom } from '../chaos/random.ts'
import { fuzz } from './fuzz.ts'
import { mutateBytes, mutateValue } from './mutate.ts'

test.each(['bodies', 'forms', 'answers'] as const)(
  '%s: nothing crashes a reader, and nothing holds it up',
  async (name) => {
    const said: string[] = []
    const cases = name === 'forms' ? 300 : 5_000
    const [result] = await fuzz({ names: [name], cases, from: 0, say: (text) => said.push(text) })
    expect(result?.failures, said.join('\n')).toEqual([])
    expect(result?.cases).toBe(cases)
  },
  120_000,
)

test('a case is the same each time it is made', () => {
  const source = Buffer.from('{"a":[1,2,3],"b":"text"}')
  for (let seed = 0; seed < 200; seed += 1) {
    expect(mutateBytes(seededRandom(seed), source)).toEqual(mutateBytes(seededRandom(seed), source))
    const value: unknown = JSON.parse(source.toString())
    expect(mutateValue(seededRandom(seed), value)).toEqual(mutateValue(seededRandom(seed), value))
  }
})
