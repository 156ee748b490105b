import { expect, test } from 'vitest'
import { sizeEngine } from './sizing.ts'

const gib = 1024 ** 3
/** A model of 8 billion parameters: 128 KiB of cache for a token. */
const base = {
  wantedTokens: undefined,
  trainedTokens: 131_072,
  cacheBytesPerToken: 131_072,
  cacheBytes: 4 * gib,
  parallelMax: 8,
}
const small = { trainedTokens: 8_192, cacheBytesPerToken: 23_040 }

test.each([
  ['a large window is cut to what fits, and concurrency goes first', {}, 8_192, 4],
  ['with much memory there is room for both', { cacheBytes: 16 * gib }, 16_384, 8],
  ['a small model is served whole', { ...small, cacheBytes: 2 * gib }, 8_192, 8],
  ['on a small machine fewer requests run at once', { ...small, cacheBytes: gib }, 8_192, 4],
  ['one sequence is always left', { cacheBytes: gib / 2 }, 4_096, 1],
  ['a conversation has room on the smallest machine', { cacheBytes: 0 }, 2_048, 1],
  ['an operator knows better', { wantedTokens: 65_536 }, 65_536, 1],
  ['but not better than the model', { wantedTokens: 500_000 }, 131_072, 1],
  ['a short window leaves room for many', { wantedTokens: 2_048 }, 2_048, 8],
  ['an unknown cache bounds nothing', { cacheBytesPerToken: undefined }, 131_072, 8],
  ['an unknown window is left to the engine', { trainedTokens: undefined }, undefined, 8],
])('%s', (_name, change, contextWindowTokens, parallel) => {
  expect(sizeEngine({ ...base, ...change })).toEqual({ contextWindowTokens, parallel })
})
