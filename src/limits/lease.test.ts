import { expect, test } from 'vitest'
import { openLease, remainingOf, type Lease } from './lease.ts'
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
