import { expect, test } from 'vitest'
import { shippedPlans } from './shipped-plans.ts'

const euros = (nanos: bigint): number => Number(nanos / 1_000_000_000n)

test.each([
  ['tier-1', 200, 1_000, 150_000, 3_600_000],
  ['tier-2', 500, 3_000, 300_000, 7_200_000],
  ['tier-3', 1_000, 5_000, 450_000, 10_800_000],
  ['tier-4', 4_000, 10_000, 600_000, 14_400_000],
])('%s has its published figures', (id, credit, monthly, perHour, perDay) => {
  const plan = shippedPlans.find((each) => each.id === id)
  const limit = (measure: string, window: string): bigint =>
    plan?.rules.find((rule) => rule.measure === measure && rule.window === window)?.limit ?? -1n
  expect(plan).toMatchObject({ prepaid: true, priority: 'normal', currency: 'EUR' })
  expect(euros(plan?.upfrontCreditNanos ?? 0n)).toBe(credit)
  expect(euros(limit('amount', 'month'))).toBe(monthly)
  expect(limit('output_tokens', 'hour')).toBe(BigInt(perHour))
  expect(limit('output_tokens', 'day')).toBe(BigInt(perDay))
  expect(limit('requests', 'minute')).toBe(1_000n)
})

test('monthly billing has high priority, no credit and no cap, and is above the tiers', () => {
  const monthly = shippedPlans.find((plan) => plan.id === 'monthly')
  expect(monthly).toMatchObject({ priority: 'high', prepaid: false, upfrontCreditNanos: null })
  expect(monthly?.rules.map(({ measure }) => measure)).toEqual(['requests'])
  const ranks = shippedPlans.map(({ rank }) => rank)
  expect(ranks).toEqual(ranks.toSorted((a, b) => a - b))
  expect(new Set(ranks).size).toBe(ranks.length)
})

test('money and tokens are never exceeded; the requests of a minute survive an absent database', () => {
  for (const rule of shippedPlans.flatMap((plan) => plan.rules)) {
    const isRequests = rule.measure === 'requests'
    expect(rule.enforcement).toBe(isRequests ? 'soft' : 'hard')
    expect(rule.onOutage).toBe(isRequests ? 'open' : 'closed')
  }
})
