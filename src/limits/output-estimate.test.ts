import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createOutputEstimator } from './output-estimate.ts'

const key = 'key_a'
const model = 'm'

function learned(outputs: readonly number[], q: number): number | undefined {
  const estimator = createOutputEstimator({ entriesMax: 10 })
  for (const output of outputs) estimator.learn(key, model, output)
  return estimator.quantile(key, model, q)
}

function trueQuantile(outputs: readonly number[], q: number): number {
  const sorted = outputs.toSorted((a, b) => a - b)
  return sorted[Math.max(1, Math.ceil(q * sorted.length)) - 1] ?? Number.NaN
}

const outputTokens = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 131_072 }))
/** Shares in thousandths, so that rounding does not decide the rank. */
const share = fc.integer({ min: 0, max: 1_000 }).map((thousandths) => thousandths / 1_000)

test('a quantile of few answers is off by a sixteenth at most', () => {
  fc.assert(
    fc.property(fc.array(outputTokens, { minLength: 20, maxLength: 250 }), share, (outputs, q) => {
      const truth = trueQuantile(outputs, q)
      const error = Math.abs((learned(outputs, q) ?? Number.NaN) - truth)
      expect(error).toBeLessThanOrEqual(truth / 16)
    }),
  )
})

test.each([
  { name: 'even', draw: (u: number) => Math.floor(1 + u * 4_000) },
  { name: 'exponential', draw: (u: number) => Math.floor(1 - 250 * Math.log(1 - u)) },
  { name: 'two humps', draw: (u: number) => (u < 0.6 ? 20 + u * 30 : 900 + u * 300) },
])('a long stream of $name answers is known within a few hundredths of rank', ({ draw }) => {
  const next = sequence(7)
  const outputs = Array.from({ length: 5_000 }, () => draw(next()))
  for (const q of [0.25, 0.5, 0.75, 0.9]) {
    const estimate = learned(outputs, q) ?? Number.NaN
    expect(estimate).toBeGreaterThan(trueQuantile(outputs, q - 0.06) * 0.93)
    expect(estimate).toBeLessThan(trueQuantile(outputs, q + 0.06) * 1.07)
  }
})

test.each([
  { before: 50, after: 2_000 },
  { before: 2_000, after: 50 },
])('answers that go from $before to $after tokens are followed in 400', ({ before, after }) => {
  const estimator = createOutputEstimator({ entriesMax: 10 })
  const next = sequence(3)
  const learn = (around: number, count: number): void => {
    for (let index = 0; index < count; index += 1)
      estimator.learn(key, model, Math.round(around * (0.8 + 0.4 * next())))
  }
  learn(before, 10_000)
  learn(after, 400)
  const median = estimator.quantile(key, model, 0.5) ?? 0
  expect(Math.abs(median - after) / after).toBeLessThan(0.25)
})

test('equal answers are known exactly up to 15 tokens, and within a sixteenth beyond', () => {
  const lengths = [0, 1, 7, 8, 15, 16, 17, 63, 64, 100, 4_096, 131_072, 1_048_575]
  for (const length of lengths) {
    const estimate = learned(Array(1_000).fill(length), 0.75) ?? Number.NaN
    expect(Math.abs(estimate - length), `${length}`).toBeLessThanOrEqual(
      length < 16 ? 0 : length / 16,
    )
  }
})

test('more than a million tokens, or less than none, break nothing', () => {
  expect(learned(Array(20).fill(1e9), 0.5)).toBeGreaterThan(900_000)
  expect(learned(Array(20).fill(-1), 0.5)).toBe(0)
})

test('with fewer than 5 answers of a model nothing is said', () => {
  expect(learned([9, 9, 9, 9], 0.5)).toBeUndefined()
  expect(learned([9, 9, 9, 9, 9], 0.5)).toBe(9)
})

test('a key is judged like all keys of its model until it has had 20 answers', () => {
  const estimator = createOutputEstimator({ entriesMax: 10 })
  for (let index = 0; index < 100; index += 1) estimator.learn('key_b', model, 10)
  for (let index = 0; index < 19; index += 1) estimator.learn(key, model, 14)
  expect(estimator.quantile(key, model, 0.5)).toBe(10)
  expect(estimator.quantile('key_new', model, 0.5)).toBe(10)
  estimator.learn(key, model, 14)
  expect(estimator.quantile(key, model, 0.5)).toBe(14)
  expect(estimator.quantile(key, 'other', 0.5)).toBeUndefined()
})

test('of too many keys, the one that was silent longest is forgotten', () => {
  const estimator = createOutputEstimator({ entriesMax: 3 })
  const learn = (apiKeyId: string, tokens: number): void => {
    for (let index = 0; index < 20; index += 1) estimator.learn(apiKeyId, model, tokens)
  }
  learn('key_1', 1)
  learn('key_2', 2)
  learn('key_3', 3)
  learn('key_1', 1)
  learn('key_4', 4)
  const own = (apiKeyId: string): number | undefined => estimator.quantile(apiKeyId, model, 0.5)
  expect([own('key_1'), own('key_3'), own('key_4')]).toEqual([1, 3, 4])
  // Of the model's hundred answers, 40 have 1 token, and 20 each have 2, 3 and 4.
  expect(own('key_2')).toBe(2)
  learn('key_2', 15)
  expect(own('key_2')).toBe(15)
  expect(own('key_3')).toBe(2)
})

/** Park and Miller's minimal standard. */
function sequence(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
}
