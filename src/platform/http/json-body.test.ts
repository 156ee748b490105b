import fc from 'fast-check'
import { expect, test } from 'vitest'
import { longBodyBytes, reclaim } from './engine-socket.ts'
import { toJsonBody } from './json-body.ts'

/** What is sent, and the memory given back as a socket would. */
function written(value: unknown): string {
  const body = toJsonBody(value)
  const text = body.toString()
  reclaim(body)
  return text
}

/** Not compared by `expect`, which would print megabytes. */
const isSame = (value: unknown): boolean => written(value) === JSON.stringify(value)

const long = longBodyBytes

const cases: readonly { readonly name: string; readonly value: unknown }[] = [
  { name: 'nothing long', value: { a: [1, 'b', null, true], b: undefined, c: { d: 'e\n"' } } },
  { name: 'a plain text', value: { messages: [{ role: 'user', content: 'x'.repeat(long) }] } },
  { name: 'one unit less', value: { content: 'x'.repeat(long - 1) } },
  { name: 'longer than what is lent', value: { content: 'xyz '.repeat(700_000) } },
  { name: 'two bytes a character', value: { content: 'é'.repeat(long) } },
  { name: 'three bytes a character', value: { content: '漢'.repeat(long), after: 'é' } },
  { name: 'four bytes a character', value: { content: '🎉'.repeat(long) } },
  { name: 'half a character', value: { content: `\ud83c${'x'.repeat(long)}` } },
  { name: 'the other half', value: { content: `${'x'.repeat(long)}\udf89` } },
  { name: 'line ends', value: { content: 'line\n'.repeat(long) } },
  { name: 'a quote at the end', value: { content: `${'x'.repeat(long)}"` } },
  { name: 'many texts', value: Array.from({ length: 5 }, (_, i) => `${i}`.repeat(long * (i + 1))) },
  { name: 'a text that is a gap', value: ['\u0000', 'x'.repeat(long)] },
  { name: 'a text that holds one', value: ['a\u0000b', 'x'.repeat(long), 'y'.repeat(long)] },
  { name: 'a key that is one', value: { '\u0000': 'x'.repeat(long) } },
  { name: 'a text that is written like one', value: ['\\u0000', 'x'.repeat(long)] },
  { name: 'the same text twice', value: ['x'.repeat(long), { y: 'x'.repeat(long) }] },
  { name: 'many short values', value: Array.from({ length: 30_000 }, (_, i) => i) },
  { name: 'a key named __proto__', value: JSON.parse('{"a":{"__proto__":1}}') as unknown },
]
for (const { name, value } of cases) {
  test(`a body says what JSON.stringify says: ${name}`, () => {
    expect(isSame(value)).toBe(true)
  })
}

test('whatever stands in a long text, wherever it stands', () => {
  const anywhere = fc.record({
    before: fc.nat(9),
    odd: fc.string({ unit: 'binary', maxLength: 3 }),
    after: fc.nat(9),
    short: fc.string({ unit: 'binary' }),
  })
  fc.assert(
    fc.property(anywhere, ({ before, odd, after, short }) => {
      const content = 'p'.repeat(before) + odd + 'q'.repeat(long + after)
      expect(isSame([{ short, content }, [content + odd, short]])).toBe(true)
    }),
    { numRuns: 300 },
  )
})

test('the value itself stays as it is', () => {
  const content = 'x'.repeat(long)
  const value = { messages: [{ role: 'user', content }], tools: [] }
  written(value)
  expect(value.messages[0]?.content === content).toBe(true)
})
