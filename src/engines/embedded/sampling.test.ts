import { expect, test } from 'vitest'
import { foldSeed, toSamplerConfig, type SamplingParameters } from './sampling.ts'

const plain: SamplingParameters = {
  temperature: undefined,
  topP: undefined,
  topK: undefined,
  minP: undefined,
  seed: undefined,
  repetitionPenalty: undefined,
  presencePenalty: undefined,
  frequencyPenalty: undefined,
  bias: new Map(),
}

test('temperature 0 always takes the likeliest token', () => {
  expect(toSamplerConfig({ ...plain, temperature: 0, topP: 0.5 }, 7, 10)).toEqual({
    temperature: 0,
    seed: 0,
  })
})

test('what the caller sets replaces the defaults', () => {
  expect(toSamplerConfig({ ...plain, topP: 0.5, topK: 0, minP: 0 }, 7, 10)).toEqual({
    temperature: 1,
    topK: 0,
    minP: 0,
    topP: 0.5,
    seed: 7,
  })
})

test('a bias of -100 is a ban', () => {
  const config = toSamplerConfig(
    {
      ...plain,
      bias: new Map([
        [1, -100],
        [2, 5],
      ]),
    },
    0,
    10,
  )
  expect([...(config.tokenBiasValues ?? [])]).toEqual([-Infinity, 5])
})

test('every safe integer is a seed', () => {
  for (const seed of [0, -1, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 2 ** 32 - 1]) {
    expect(foldSeed(seed)).toBeGreaterThanOrEqual(0)
    expect(foldSeed(seed)).toBeLessThan(2 ** 32 - 1)
  }
})
