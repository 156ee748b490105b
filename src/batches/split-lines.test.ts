import fc from 'fast-check'
import { expect, test } from 'vitest'
import { splitLines, type FoundLine } from './split-lines.ts'

async function split(text: Buffer, chunkLength: number, bytesMax = 1_000): Promise<FoundLine[]> {
  async function* chunks(): AsyncGenerator<Buffer> {
    for (let at = 0; at < text.length; at += chunkLength) yield text.subarray(at, at + chunkLength)
  }
  return Array.fromAsync(splitLines(chunks(), bytesMax))
}

test('lines are the same however the bytes are cut, and stand where they say', async () => {
  const line = fc
    .string({ unit: 'binary', maxLength: 12 })
    .map((each) => each.replace(/[\r\n]/g, ''))
  await fc.assert(
    fc.asyncProperty(
      fc.array(line),
      fc.constantFrom('\n', '\r\n'),
      fc.boolean(),
      fc.integer({ min: 1, max: 20 }),
      async (lines, end, endsWithOne, chunkLength) => {
        const text = Buffer.from(lines.join(end) + (endsWithOne ? end : ''))
        const mark = Buffer.from([0xef, 0xbb, 0xbf])
        const found = await split(text, chunkLength)
        const expected = lines
          .map((each, index) => ({ number: index + 1, text: each }))
          .map((each) =>
            each.number === 1 && Buffer.from(each.text).subarray(0, 3).equals(mark)
              ? { ...each, text: Buffer.from(each.text).subarray(3).toString() }
              : each,
          )
          .filter((each) => each.text !== '')
        expect(found.map(({ number, bytes }) => ({ number, text: bytes?.toString() }))).toEqual(
          expected,
        )
        for (const each of found)
          expect(text.subarray(each.start, each.start + each.length)).toEqual(each.bytes)
      },
    ),
    { numRuns: 40 },
  )
})

test('a line that is too long is told without its bytes, and the next ones stand where they are', async () => {
  const text = Buffer.from(`ab\n${'x'.repeat(50)}\ncd`)
  for (const chunkLength of [1, 7, 100]) {
    const found = await split(text, chunkLength, 10)
    expect(found.map(({ number, bytes }) => [number, bytes?.toString()])).toEqual([
      [1, 'ab'],
      [2, undefined],
      [3, 'cd'],
    ])
    expect(found[2]?.start).toBe(54)
  }
})

test('a mark at the beginning of the file is no part of the first line', async () => {
  const [line] = await split(Buffer.from('\ufeff{}'), 100)
  expect(line).toMatchObject({ start: 3, length: 2 })
})
