import { expect, test } from 'vitest'
import type { Refusal } from '../limits/refusal.ts'
import { formatDuration, formatNanos, toLimitFault } from './limit-fault.ts'

const context = { currency: 'EUR', quotaStatus: 429 as const }
const refusal: Refusal = {
  cause: 'exhausted',
  rule: {
    ruleId: 'lim_1',
    subject: 'ten_a',
    tenantId: 'ten_a',
    per: 'tenant',
    modelId: undefined,
    measure: 'output_tokens',
    window: 'hour',
    limit: 150_000n,
    enforcement: 'hard',
    onOutage: 'closed',
    planId: 'tier-1',
  },
  limit: 150_000n,
  needed: 256n,
  remaining: 12n,
  resetsAtMs: Date.parse('2026-07-14T11:00:00Z'),
  clearsInMs: 754_000,
  planThatAllows: 'tier-2',
}

test('a refusal says which limit, what is left, when it clears and which plan would allow it', () => {
  const fault = toLimitFault(refusal, context)
  expect(fault.public).toBe(
    "The limit of 150,000 output tokens an hour for this account is reached: this request needs 256 output tokens, and 12 output tokens are left. Try again in 12m34s, at 2026-07-14T11:00:00.000Z. The plan 'tier-2' would allow it.",
  )
  expect([fault.code, fault.retryAfterMs]).toEqual(['limits.rate_exceeded', 754_000])
})

test('money is told in its currency, and does not come back by waiting', () => {
  const rule = {
    ...refusal.rule,
    measure: 'amount' as const,
    window: 'lifetime' as const,
    per: 'key' as const,
  }
  const budget = {
    ...refusal,
    rule,
    limit: 12_500_000_000n,
    needed: 1_000n,
    remaining: 0n,
    clearsInMs: undefined,
    resetsAtMs: undefined,
    planThatAllows: undefined,
  }
  const fault = toLimitFault(budget, { currency: 'EUR', quotaStatus: 402 })
  expect(fault.public).toBe(
    'The limit of 12.50 EUR for this API key is reached: this request needs 0.000001 EUR, and 0.00 EUR is left. Ask your administrator to raise it.',
  )
  expect([fault.code, fault.status, fault.retryAfterMs]).toEqual([
    'limits.payment_required',
    402,
    undefined,
  ])
})

test('one is singular', () => {
  const rule = { ...refusal.rule, measure: 'requests' as const, window: 'minute' as const }
  const fault = toLimitFault({ ...refusal, rule, limit: 3n, needed: 1n, remaining: 0n }, context)
  expect(fault.public).toMatch(
    /^The limit of 3 requests a minute for this account is reached: this request needs 1 request, and 0 requests are left\./,
  )
})

test('prepaid credit is named as such', () => {
  const rule = {
    ...refusal.rule,
    ruleId: 'credit',
    measure: 'amount' as const,
    window: 'lifetime' as const,
  }
  expect(toLimitFault({ ...refusal, rule, planThatAllows: undefined }, context).public).toMatch(
    /^The prepaid credit of this account .* Ask your provider for more credit\.$/,
  )
})

test.each([
  [0n, '0.00'],
  [1n, '0.000000001'],
  [1_000_000_000n, '1.00'],
  [12_345_600_000n, '12.3456'],
  [-500_000_000n, '-0.50'],
])('%s nano-units are written %s', (nanos, want) => {
  expect(formatNanos(nanos)).toBe(want)
})

test.each([
  [0, '0s'],
  [0.2, '1ms'],
  [119.2, '120ms'],
  [1_000, '1s'],
  [59_001, '1m0s'],
  [360_000, '6m0s'],
  [3_661_000, '1h1m1s'],
])('%s ms is written %s', (ms, want) => {
  expect(formatDuration(ms)).toBe(want)
})
