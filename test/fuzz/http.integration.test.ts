import { expect, test } from 'vitest'
import { fuzz } from './fuzz.ts'

test('almost right requests on raw sockets are answered or closed, never with 500, and hold nothing up', async () => {
  const said: string[] = []
  const [result] = await fuzz({
    names: ['http'],
    cases: 400,
    from: 0,
    say: (text) => said.push(text),
  })
  expect(result?.failures, said.join('\n')).toEqual([])
}, 120_000)
