import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { TokenUsage } from '../engines/engine.ts'
import { holdAmount, rate } from './rating.ts'
import type { PinnedPrice } from './usage.ts'

const standard: PinnedPrice = {
  version: 'standard',
  currency: 'EUR',
  inputNanos: 900n,
  cachedInputNanos: 900n,
  outputNanos: 4_000n,
  reasoningNanos: 21_000n,
}

test('the default list bills input × 0.9 €/M + output × 4 €/M + reasoning × 21 €/M', () => {
  const million = 1_000_000
  expect(
    rate(standard, {
      inputTokens: million,
      cachedInputTokens: 0,
      outputTokens: 0,
      reasoningTokens: 0,
    }),
  ).toBe(900_000_000n)
  expect(
    rate(standard, {
      inputTokens: 0,
      cachedInputTokens: 0,
      outputTokens: million,
      reasoningTokens: 0,
    }),
  ).toBe(4_000_000_000n)
  expect(
    rate(standard, {
      inputTokens: 0,
      cachedInputTokens: 0,
      outputTokens: million,
      reasoningTokens: million,
    }),
  ).toBe(21_000_000_000n)
})

const count = fc.nat({ max: 2_000_000 })
const usages: fc.Arbitrary<TokenUsage> = fc
  .record({
    inputTokens: count,
    outputTokens: count,
    cached: fc.double({ min: 0, max: 1, noNaN: true }),
    reasoning: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(({ inputTokens, outputTokens, cached, reasoning }) => ({
    inputTokens,
    outputTokens,
    cachedInputTokens: Math.floor(inputTokens * cached),
    reasoningTokens: Math.floor(outputTokens * reasoning),
  }))
const nanos = fc.bigInt({ min: 0n, max: 100_000_000n })
const prices: fc.Arbitrary<PinnedPrice> = fc
  .record({ inputNanos: nanos, cachedInputNanos: nanos, outputNanos: nanos, reasoningNanos: nanos })
  .map((price) => ({ ...price, version: 'v', currency: 'EUR' }))

test('a hold covers every usage within its bounds, whatever the prices', () => {
  fc.assert(
    fc.property(prices, usages, (price, usage) => {
      expect(rate(price, usage) <= holdAmount(price, usage.inputTokens, usage.outputTokens)).toBe(
        true,
      )
    }),
  )
})

test('the charges of two usages add up to the charge of their sum: nothing is rounded', () => {
  fc.assert(
    fc.property(prices, usages, usages, (price, a, b) => {
      const sum: TokenUsage = {
        inputTokens: a.inputTokens + b.inputTokens,
        cachedInputTokens: a.cachedInputTokens + b.cachedInputTokens,
        outputTokens: a.outputTokens + b.outputTokens,
        reasoningTokens: a.reasoningTokens + b.reasoningTokens,
      }
      expect(rate(price, a) + rate(price, b)).toBe(rate(price, sum))
    }),
  )
})
