import { expect, test } from 'vitest'
import { windowToServe } from './sizing.ts'

const gib = 1024 ** 3
const base = {
  wanted: undefined,
  trained: 131_072,
  cacheBytesPerToken: 131_072,
  cacheBytes: 4 * gib,
}

test.each([
  ['memory bounds a large window', {}, 32_768],
  ['a small window is served whole', { trained: 8_192 }, 8_192],
  ['a conversation has room on the smallest machine', { cacheBytes: 0 }, 2_048],
  ['an operator knows better', { wanted: 65_536 }, 65_536],
  ['but not better than the model', { wanted: 500_000 }, 131_072],
  ['an unknown cache bounds nothing', { cacheBytesPerToken: undefined }, 131_072],
  ['an unknown window is left to the engine', { trained: undefined }, undefined],
])('%s', (_name, change, expected) => {
  expect(windowToServe({ ...base, ...change })).toBe(expected)
})
