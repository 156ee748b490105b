import { expect, test } from 'vitest'
import { forecast } from './forecast.ts'

const facts = {
  bounds: { inputTokensMax: 3_000, outputTokensMax: 1_000 },
  price: {
    version: 'standard@2026',
    currency: 'EUR',
    inputNanos: 900n,
    cachedInputNanos: 900n,
    outputNanos: 4_000n,
    reasoningNanos: 21_000n,
  },
  estimatedInputTokens: 100,
  inputRatio: undefined,
  usualOutputTokens: undefined,
  reasons: false,
  mayClamp: false,
  unitsFor: () => undefined,
}

test.each([
  ['nothing is known: a stated default', {}, 256],
  ['as long as three of four answers were', { usualOutputTokens: 90 }, 90],
  ['never longer than the request allows', { usualOutputTokens: 5_000 }, 1_000],
  [
    'a short answer is reserved whole',
    { bounds: { ...facts.bounds, outputTokensMax: 60 }, usualOutputTokens: 5 },
    60,
  ],
])('output: %s', (_name, change, want) => {
  expect(forecast({ ...facts, ...change }).outputTokens).toBe(want)
})

test('it needs what it will probably read, and would like all that it could', () => {
  const { need, want } = forecast({ ...facts, usualOutputTokens: 10 })
  expect(need.amount).toBe(100n * 900n + 10n * 4_000n)
  expect(want.amount).toBe(3_000n * 900n + 10n * 4_000n)
  expect(need.tokens).toBe(110n)
})

test('what engines counted before corrects the estimate, up to what the body can be', () => {
  expect(forecast({ ...facts, inputRatio: 1.3 }).inputTokens).toBe(130)
  expect(forecast({ ...facts, inputRatio: 100 }).inputTokens).toBe(3_000)
})

test('a model that reasons is reserved at the price of reasoning', () => {
  expect(forecast({ ...facts, reasons: true }).outputTokenNanos).toBe(21_000n)
})

test('a caller that prefers a short answer to none needs room for its beginning only', () => {
  const { need, want } = forecast({ ...facts, mayClamp: true })
  expect([need.output_tokens, want.output_tokens]).toEqual([16n, 256n])
})
