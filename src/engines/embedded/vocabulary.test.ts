import { expect, test } from 'vitest'
import { partialBytes } from './vocabulary.ts'

test('tokens that are parts of a character keep their bytes', () => {
  expect(partialBytes('<0xE2>')).toEqual(Buffer.from([0xe2]))
  // GPT-2's alphabet: Ġ is the space, ð and Ł are themselves and 0x9F.
  expect(partialBytes('Ġ')).toEqual(Buffer.from(' '))
  expect(partialBytes('ðŁ')).toEqual(Buffer.from([0xf0, 0x9f]))
  expect(partialBytes('日')).toBeUndefined()
})
