import { expect, test } from 'vitest'
import { openLease, outageShareOf, remainingOf, type Lease } from './lease.ts'
import type { BoundRule } from './rule-book.ts'

const rule: BoundRule = {
  ruleId: 'lim_1',
  subject: 'ten_a',
  tenantId: 'ten_a',
  per: 'tenant',
  modelId: undefined,
  measure: 'requests',
  window: 'minute',
  limit: 60n,
  enforcement: 'hard',
  onOutage: 'closed',
  planId: undefined,
}
const lease = (change: Partial<Lease>): Lease =>
  Object.assign(
    openLease({ id: 'lif_1', gatewayId: 'gw_1' }, rule, { startMs: 0, endMs: undefined }, 0),
    change,
  )

test.each([
  ['nothing is known yet: the limit less what is used here', { used: 7n }, 0, 53n],
  [
    'what is free here, what nobody holds, and what others hold and do not use',
    { granted: 10n, used: 4n, usedWhenTold: 4n, left: 20n, unusedElsewhere: 5n },
    0,
    31n,
  ],
  ['it comes back with time', { left: 20n }, 10_000, 30n],
  ['and never beyond the limit', { left: 20n }, 500_000, 60n],
  [
    'what was taken since is missing from a full bucket',
    { granted: 10n, used: 3n, usedWhenTold: 0n, left: 50n },
    500_000,
    57n,
  ],
  ['less than nothing is nothing', { left: -5n }, 0, 0n],
])('remaining: %s', (_name, change, nowMs, want) => {
  expect(remainingOf(lease(change), nowMs)).toBe(want)
})

test('without the authority, each of two gateways goes on with half of what comes back, and half of a full bucket at first', () => {
  const told = lease({ usedWhenTold: 1_000n, toldAtMs: 0 })
  expect(outageShareOf(told, 2, 0)).toBe(1_030n)
  // Half of 60 a minute, for ten minutes.
  expect(outageShareOf(told, 2, 600_000)).toBe(1_330n)
})

test('without the authority, each gateway has its even share of a window that ends', () => {
  const ofDay = { ...lease({ usedWhenTold: 5n }), rule: { ...rule, window: 'day' as const } }
  expect(outageShareOf(ofDay, 3, 600_000)).toBe(20n)
})
