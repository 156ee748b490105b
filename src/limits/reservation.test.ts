import fc from 'fast-check'
import { expect, test } from 'vitest'
import { freeOf, openLease, type Lease } from './lease.ts'
import { fits, Reservation, type PlacedDemand } from './reservation.ts'
import type { Enforcement, Measure } from './rule.ts'
import type { BoundRule } from './rule-book.ts'

const rule = (measure: Measure, enforcement: Enforcement = 'hard'): BoundRule => ({
  ruleId: `lim_${measure}`,
  subject: 'ten_a',
  tenantId: 'ten_a',
  per: 'tenant',
  modelId: undefined,
  measure,
  window: 'minute',
  limit: 1_000n,
  enforcement,
  onOutage: 'closed',
  planId: undefined,
})
const life = { id: 'lif_1', gatewayId: 'gw_1' }
const leaseOf = (of: BoundRule, granted: bigint, startMs = 0): Lease =>
  Object.assign(openLease(life, of, { startMs, endMs: startMs + 60_000 }, startMs), { granted })
const demand = (lease: Lease, need: bigint, want = need): PlacedDemand => ({
  rule: lease.rule,
  lease,
  need,
  want,
})

test('with little left it takes less than it would like, never more than there is', () => {
  const lease = leaseOf(rule('amount'), 100n)
  const reservation = new Reservation([demand(lease, 40n, 500n)])
  expect([reservation.reserved('amount'), freeOf(lease)]).toEqual([100n, 0n])
})

test('what was not spent is free again after the release, and not before', () => {
  const lease = leaseOf(rule('amount'), 100n)
  const reservation = new Reservation([demand(lease, 80n)])
  const charges = reservation.settle(() => 30n)
  expect(freeOf(lease)).toBe(20n)
  reservation.release()
  expect(freeOf(lease)).toBe(70n)
  expect(lease.held).toBe(0n)
  expect(charges).toEqual([
    { ruleId: 'lim_amount', subject: 'ten_a', windowStartMs: 0, amount: 30n },
  ])
})

test('what runs into a new window is charged to the first one up to what it had reserved there', () => {
  const of = rule('output_tokens')
  const [first, second] = [leaseOf(of, 100n), leaseOf(of, 100n, 60_000)]
  const reservation = new Reservation([demand(first, 60n)])
  const fresh = reservation.take([demand(second, 64n)])
  expect(fresh).toEqual([
    {
      ruleId: 'lim_output_tokens',
      subject: 'ten_a',
      windowStartMs: 60_000,
      measure: 'output_tokens',
    },
  ])
  const charges = reservation.settle(() => 90n)
  reservation.release()
  expect(charges.map(({ windowStartMs, amount }) => [windowStartMs, amount])).toEqual([
    [0, 60n],
    [60_000, 30n],
  ])
  expect([first.used, second.used]).toEqual([60n, 30n])
})

test('requests under way give their place back and are charged to nobody', () => {
  const lease = leaseOf(rule('concurrency'), 1n)
  const reservation = new Reservation([demand(lease, 1n)])
  expect(reservation.takes).toEqual([])
  expect(fits(demand(lease, 1n))).toBe(false)
  expect(reservation.settle(() => 0n)).toEqual([])
  reservation.release()
  expect(fits(demand(lease, 1n))).toBe(true)
})

test.each([
  ['a hard rule needs room for all of it', 'hard', 5n, 6n, false],
  ['a hard rule lets in what fits exactly', 'hard', 5n, 5n, true],
  ['a soft rule needs room for its least', 'soft', 1n, 1n, true],
  ['a soft rule refuses once it is used up', 'soft', 0n, 1n, false],
  ['a shadow rule always has room', 'shadow', 0n, 6n, true],
] as const)('%s', (_name, enforcement, granted, need, want) => {
  expect(fits(demand(leaseOf(rule('tokens', enforcement), granted), need))).toBe(want)
})

// A reservation that leaks, or gives back what others hold, would show as a false refusal or an overspent budget weeks later.
test('whatever requests do, used = spent + held, a hard lease is never overdrawn, and nothing stays behind', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          need: fc.bigInt(0n, 50n),
          more: fc.bigInt(0n, 80n),
          steps: fc.array(fc.bigInt(0n, 30n), { maxLength: 4 }),
          share: fc.integer({ min: 0, max: 100 }),
        }),
        { maxLength: 20 },
      ),
      (requests) => {
        const lease = leaseOf(rule('amount'), 300n)
        const open: { reservation: Reservation; share: number }[] = []
        let spent = 0n
        for (const { need, more, steps, share } of requests) {
          if (!fits(demand(lease, need))) continue
          const reservation = new Reservation([demand(lease, need, need + more)])
          for (const step of steps)
            if (fits(demand(lease, step))) reservation.take([demand(lease, step)])
          open.push({ reservation, share })
          expect(lease.used).toBeLessThanOrEqual(300n)
          if (share % 2 === 0) spent += end(open.shift())
          expect(lease.used).toBe(spent + lease.held)
        }
        while (open.length > 0) spent += end(open.shift())
        expect([lease.used, lease.held]).toEqual([spent, 0n])
      },
    ),
  )
})

function end(entry: { reservation: Reservation; share: number } | undefined): bigint {
  if (!entry) return 0n
  const amount = ((entry.reservation.reserved('amount') ?? 0n) * BigInt(entry.share)) / 100n
  entry.reservation.settle(() => amount)
  entry.reservation.release()
  return amount
}
