import { expect, test } from 'vitest'
import { chooseSlot, commonPrefix, type SlotCache } from './slot.ts'

const slots = (...caches: SlotCache[]) => new Map(caches.entries())
const prompt = Uint32Array.of(1, 2, 3, 4)

test('the slot with the longest shared prefix is chosen', () => {
  const free = slots(
    { tokens: [1, 9], salt: 'a', lastUse: 1 },
    { tokens: [1, 2, 3, 7], salt: 'a', lastUse: 2 },
  )
  expect(chooseSlot(free, prompt, 'a')).toEqual({ index: 1, reusedTokens: 3 })
})

test('another salt shares nothing, however equal the tokens are', () => {
  const free = slots(
    { tokens: [1, 2, 3, 4], salt: 'a', lastUse: 2 },
    { tokens: [], salt: '', lastUse: 1 },
  )
  expect(chooseSlot(free, prompt, 'b')).toEqual({ index: 1, reusedTokens: 0 })
})

test('a prefix that is hardly worth it leaves the cache to its owner and takes the oldest slot', () => {
  const long = Uint32Array.from({ length: 100 }, (_, index) => index)
  const free = slots(
    { tokens: [0, 1, 2, 99, 99], salt: '', lastUse: 2 },
    { tokens: [7], salt: '', lastUse: 1 },
  )
  expect(chooseSlot(free, long, '')).toEqual({ index: 1, reusedTokens: 0 })
})

test('without a free slot there is no choice', () => {
  expect(chooseSlot(new Map(), prompt, '')).toBeUndefined()
})

test('the last token of a prompt is always computed', () => {
  expect(commonPrefix([1, 2, 3, 4, 5], prompt)).toBe(3)
})
