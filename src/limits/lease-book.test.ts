import { expect, test } from 'vitest'
import { manualClock } from '../platform/clock.ts'
import type { GatewayLife, LeaseAnswer, LeaseAuthority, LeaseWish } from './authority.ts'
import { openLimits, type Decision, type Limits } from './limits.ts'

/** An authority that grants what is needed up to a limit, by a clock that can be set, and can be cut off. */
function createAuthority(limit: bigint) {
  const calls: { readonly life: GatewayLife; readonly wishes: readonly LeaseWish[] }[] = []
  const state = { nowMs: Date.parse('2026-03-15T12:00:00Z'), isAway: false }
  const authority: LeaseAuthority = {
    lease(life, wishes): Promise<LeaseAnswer> {
      calls.push({ life, wishes })
      if (state.isAway) return Promise.reject(new Error('away'))
      const replies = wishes.map((wish) => {
        const granted = wish.need <= limit ? wish.need : wish.used
        return {
          ruleId: wish.ruleId,
          subject: wish.subject,
          windowStartMs: wish.windowStartMs,
          granted: granted > wish.keep ? granted : wish.keep,
          limit,
          left: limit - granted,
          unusedElsewhere: 0n,
          heldElsewhere: 0n,
          tight: false,
          recall: 0,
          unanswered: 0,
        }
      })
      return Promise.resolve({ nowMs: state.nowMs, gateways: 2, replies })
    },
    reclaim: () => Promise.resolve(),
    end: () => Promise.resolve(),
    noteRefusals: () => Promise.resolve(),
    purge: () => Promise.resolve(),
  }
  return { authority, calls, state }
}

/** Calls under way have been answered. */
const settled = (): Promise<unknown> => new Promise((resolve) => setImmediate(resolve))
const scope = { tenantId: 'ten_a', projectId: 'prj_a', apiKeyId: 'key_a', modelId: 'm' }

function startLimits(
  authority: LeaseAuthority,
  rule: {
    readonly window: 'day' | 'lifetime'
    readonly enforcement: 'hard' | 'soft'
    readonly onOutage: 'closed' | 'open'
  },
): {
  limits: Limits
  clock: ReturnType<typeof manualClock>
  reserve: (amount: bigint) => Promise<Decision>
} {
  const clock = manualClock(Date.parse('2026-03-15T12:00:00Z'))
  let lives = 0
  const limits = openLimits({
    authority,
    clock,
    timeZone: 'Europe/Paris',
    gatewayId: 'gw_1',
    newLifeId: () => `lif_${(lives += 1)}`,
    onFailure: () => {},
  })
  const id = 'lim_1'
  limits.apply({
    plans: [],
    rules: [{ id, tenantId: 'ten_a', per: 'tenant', measure: 'tokens', limit: '100', ...rule }],
    tenantPlans: [],
    credits: [],
  })
  return { limits, clock, reserve: (amount) => limits.reserve(scope, { tokens: amount }, {}) }
}

// Windows entered a second time would be counted from nothing, on top of what was spent in them before.
test('when the clock of the authority was set back, what follows is leased under a new life', async () => {
  const { authority, calls, state } = createAuthority(100n)
  const { limits, clock, reserve } = startLimits(authority, {
    window: 'day',
    enforcement: 'hard',
    onOutage: 'closed',
  })
  const first = await reserve(10n)
  await settled()
  state.nowMs -= 25 * 3_600_000
  clock.advance(2_000)
  await settled()
  const second = await reserve(10n)
  if (first.outcome !== 'admitted' || second.outcome !== 'admitted')
    throw new Error('there is room')
  expect([first.grip.lifeId, second.grip.lifeId]).toEqual(['lif_1', 'lif_2'])
  const windows = new Set(calls.flatMap(({ wishes }) => wishes.map((wish) => wish.windowStartMs)))
  expect([...windows]).toEqual([
    Date.parse('2026-03-14T23:00:00Z'),
    Date.parse('2026-03-13T23:00:00Z'),
  ])
  // What the first life held goes back.
  const last = calls.findLast(({ life, wishes }) => life.id === 'lif_1' && wishes.length > 0)
  expect(last?.wishes[0]).toMatchObject({ used: 10n })
  await limits.close(false)
})

// Whoever may connect to the database may write to the channel; an exception there would end the gateway.
test.each([
  '',
  'not JSON',
  '{}',
  '[]',
  '["recall",1,2,3,4,5]',
  '["recall","lim_1","ten_a",0,"lif_9"]',
  'null',
])('a notice that is none (%s) is passed over', async (payload) => {
  const { authority } = createAuthority(100n)
  const { limits, reserve } = startLimits(authority, {
    window: 'lifetime',
    enforcement: 'hard',
    onOutage: 'closed',
  })
  expect(() => limits.heard(payload)).not.toThrow()
  expect((await reserve(10n)).outcome).toBe('admitted')
  await limits.close(false)
})

// Each key would otherwise wait for the authority twice: at its first request and at its second.
test('the first grant of a counter holds more than the request that waits for it', async () => {
  const { authority, calls } = createAuthority(100n)
  const { limits, reserve } = startLimits(authority, {
    window: 'lifetime',
    enforcement: 'hard',
    onOutage: 'closed',
  })
  await reserve(10n)
  const [wish] = calls.flatMap(({ wishes }) => wishes)
  expect(wish).toMatchObject({ used: 0n, need: 10n, wish: 10n + 64n * 10n })
  await limits.close(false)
})

test('a jump of the own wall clock changes nothing: windows follow the authority', async () => {
  const { authority, calls } = createAuthority(100n)
  const { limits, reserve } = startLimits(authority, {
    window: 'day',
    enforcement: 'hard',
    onOutage: 'closed',
  })
  await reserve(1n)
  await reserve(1n)
  const starts = new Set(calls.flatMap(({ wishes }) => wishes.map((wish) => wish.windowStartMs)))
  expect([...starts]).toEqual([Date.parse('2026-03-14T23:00:00Z')])
  await limits.close(false)
})

test.each([
  ['closed: it refuses once its lease is spent', 'hard', 'closed', 'refused'],
  ['open: it goes on with its even share', 'soft', 'open', 'admitted'],
] as const)(
  'without the authority, a rule that is %s',
  async (_name, enforcement, onOutage, want) => {
    const { authority, state } = createAuthority(100n)
    const { limits, clock, reserve } = startLimits(authority, {
      window: 'lifetime',
      enforcement,
      onOutage,
    })
    expect((await reserve(10n)).outcome).toBe('admitted')
    state.isAway = true
    const waiting = reserve(10n)
    for (let step = 0; step < 8; step += 1) {
      await new Promise((resolve) => setImmediate(resolve))
      clock.advance(500)
    }
    const decision = await waiting
    expect(decision.outcome).toBe(want)
    if (decision.outcome === 'refused') expect(decision.refusal.cause).toBe('unavailable')
    expect(limits.isAway()).toBe(true)
    // Known to be away: nobody waits any more. The share of two gateways is half of the limit.
    expect((await reserve(60n)).outcome).toBe(want)
    if (want === 'admitted') expect((await reserve(60n)).outcome).toBe('refused')
    await limits.close(false)
  },
)
