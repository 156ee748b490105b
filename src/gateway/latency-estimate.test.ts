import { expect, test } from 'vitest'
import { createLatencyEstimator } from './latency-estimate.ts'

const learned = (count: number, answer: { first: number; token: number; tokens: number }) => {
  const latencies = createLatencyEstimator({ entriesMax: 10 })
  for (let round = 0; round < count; round += 1)
    latencies.learn('key_a', 'm', {
      timeToFirstTokenMs: answer.first,
      durationMs: answer.first + answer.token * (answer.tokens - 1),
      outputTokens: answer.tokens,
    })
  return latencies
}

test('nothing is said of a model that was not seen, or hardly', () => {
  const of = { q: 0.5, outputTokens: 10 }
  expect(createLatencyEstimator({ entriesMax: 10 }).estimate('key_a', 'm', of)).toBeUndefined()
  const latencies = learned(4, { first: 100, token: 10, tokens: 50 })
  expect(latencies.estimate('key_a', 'm', of)).toBeUndefined()
})

test.each([
  { first: 120, token: 12, tokens: 200 },
  { first: 8, token: 0.4, tokens: 1_000 },
  { first: 9_000, token: 900, tokens: 20 },
])('times of $first ms and $token ms a token are told within an eighth', (answer) => {
  const latencies = learned(30, answer)
  const told = latencies.estimate('key_a', 'm', { q: 0.5, outputTokens: 100 })
  expect(told?.timeToFirstTokenMs).toBeGreaterThan(answer.first * 0.875)
  expect(told?.timeToFirstTokenMs).toBeLessThan(answer.first * 1.125)
  const total = answer.first + answer.token * 99
  expect(told?.totalMs).toBeGreaterThan(total * 0.875)
  expect(told?.totalMs).toBeLessThan(total * 1.125)
})

test('one key’s times are a first guess for another’s of the same model, and not for another model', () => {
  const latencies = learned(30, { first: 100, token: 10, tokens: 50 })
  const of = { q: 0.5, outputTokens: 1 }
  expect(latencies.estimate('key_b', 'm', of)?.totalMs).toBe(
    latencies.estimate('key_a', 'm', of)?.timeToFirstTokenMs,
  )
  expect(latencies.estimate('key_a', 'n', of)).toBeUndefined()
})

test('answers of one token teach no time for further ones', () => {
  const latencies = learned(30, { first: 100, token: 0, tokens: 1 })
  expect(latencies.estimate('key_a', 'm', { q: 0.5, outputTokens: 10 })?.totalMs).toBeUndefined()
})

test('the newest answers count most', () => {
  const latencies = learned(400, { first: 100, token: 10, tokens: 50 })
  for (let round = 0; round < 1_000; round += 1)
    latencies.learn('key_a', 'm', {
      timeToFirstTokenMs: 1_000,
      durationMs: 2_000,
      outputTokens: 50,
    })
  const told = latencies.estimate('key_a', 'm', { q: 0.5, outputTokens: 50 })
  expect(told?.timeToFirstTokenMs).toBeGreaterThan(800)
})
