/**
 * The authority over limits as a model: what `lease_limits` and its companions (migrations/0003-lease-functions.sql) do, in memory and under any
 * clock. Each verb happens at one moment, when it is called. A test compares it with the real one, call by call.
 */
import {
  lifeEndedCode,
  type CounterId,
  type GatewayLife,
  type LeaseAnswer,
  type LeaseAuthority,
  type LeaseReply,
  type LeaseWish,
  type LimitCharge,
  type RefusalCount,
} from '../../src/limits/authority.ts'

export interface LeaseAuthorityModel extends LeaseAuthority {
  /** What the ledger does with the charges of a usage event that it books for the first time. */
  charge(lifeId: string, charges: readonly LimitCharge[]): void
  /** Frees what every life of a gateway that is gone has not spent. */
  reclaimAbandoned(gatewayId: string): void
  /** How all counters stand, for checkers. */
  counters(): readonly CounterState[]
  /** By rule, subject, model, hour and whether it was a shadow rule. */
  refusals(): readonly RefusalCount[]
}

export interface CounterState extends CounterId {
  readonly tenantId: string
  readonly windowEndMs: number | undefined
  readonly granted: bigint
  readonly recall: number
  readonly allowance: Allowance | undefined
  readonly leases: readonly LeaseState[]
}

export interface LeaseState {
  readonly lifeId: string
  readonly granted: bigint
  readonly spent: bigint
  readonly used: bigint
  readonly held: bigint
  readonly answered: number
}

type Mutable<Row> = { -readonly [Key in keyof Row]: Row[Key] }

interface Counter extends CounterId {
  readonly tenantId: string
  readonly windowEndMs: number | undefined
  granted: bigint
  recall: number
  tightUntilMs: number
  allowance: Allowance | undefined
}

/** Of a limit that comes back: how much may have been granted in all by a moment, in microseconds since 1970. */
export interface Allowance {
  readonly amount: bigint
  readonly capacity: bigint
  readonly atMicros: number
}

interface Life {
  readonly gatewayId: string
  seenAtMs: number
  ended: boolean
}

/** A life that called within this time lives. */
const livingMs = 10_000
/** One that did within this may be starting again. */
const lostMs = 60_000
const tightMs = 5_000
/** More seldom than this, a call is not noted. */
const seenMs = 1_000
const keepWindowsMs = 2 * 86_400_000
const purgeMax = 5_000

export function createLeaseAuthority(world: {
  readonly nowMs: () => number
  /** `undefined`: no such rule. */
  readonly limitOf: (ruleId: string, tenantId: string) => bigint | undefined
  /** The time in which all of a limit comes back; `undefined` for a limit whose window ends instead. */
  readonly periodMsOf: (ruleId: string) => number | undefined
  /** Carries a notice to all gateways, as `Limits.heard` takes it. */
  readonly notify: (payload: string) => void
}): LeaseAuthorityModel {
  const { nowMs, limitOf, periodMsOf } = world
  const lives = new Map<string, Life>()
  const counters = new Map<string, Counter>()
  /** By counter, and then by life. Charges may come before a counter is, and after it was purged. */
  const leases = new Map<string, Map<string, Mutable<LeaseState>>>()
  const refusals = new Map<string, Mutable<RefusalCount>>()

  const isLiving = (life: Life): boolean => !life.ended && life.seenAtMs > nowMs() - livingMs
  const isLost = (life: Life): boolean =>
    !isLiving(life) && life.seenAtMs >= nowMs() - lostMs && life.seenAtMs <= nowMs()
  const countLiving = (): number => lives.values().filter(isLiving).toArray().length

  const see = ({ id, gatewayId }: GatewayLife): void => {
    const life = lives.get(id)
    if (life?.ended)
      throw Object.assign(new Error(`life ${id} of gateway ${gatewayId} has ended`), {
        code: lifeEndedCode,
      })
    if (!life) lives.set(id, { gatewayId, seenAtMs: nowMs(), ended: false })
    else if (life.seenAtMs < nowMs() - seenMs) life.seenAtMs = nowMs()
  }
  const counterOf = (wish: LeaseWish): Counter => {
    const key = keyOf(wish)
    let counter = counters.get(key)
    if (!counter) {
      const { ruleId, subject, windowStartMs, tenantId, windowEndMs } = wish
      const id = { ruleId, subject, windowStartMs, tenantId, windowEndMs }
      counter = { ...id, granted: 0n, recall: 0, tightUntilMs: 0, allowance: undefined }
      counters.set(key, counter)
    }
    return counter
  }
  const leasesOf = (counter: CounterId): Map<string, Mutable<LeaseState>> => {
    const key = keyOf(counter)
    const known = leases.get(key) ?? new Map<string, Mutable<LeaseState>>()
    leases.set(key, known)
    return known
  }
  const leaseOf = (counter: CounterId, lifeId: string): Mutable<LeaseState> => {
    const ofCounter = leasesOf(counter)
    let lease = ofCounter.get(lifeId)
    if (!lease) {
      lease = { lifeId, granted: 0n, spent: 0n, used: 0n, held: 0n, answered: 0 }
      ofCounter.set(lifeId, lease)
    }
    return lease
  }

  const othersOf = (counter: Counter, lifeId: string, asked: number) => {
    let unused = 0n
    let held = 0n
    let unanswered = 0
    for (const lease of leasesOf(counter).values()) {
      const life = lives.get(lease.lifeId)
      if (lease.lifeId === lifeId || !life) continue
      if (isLost(life)) unused += atLeastZero(lease.granted - lease.spent)
      if (!isLiving(life)) continue
      unused += atLeastZero(lease.granted - larger(lease.used, lease.spent))
      held += lease.held
      if (lease.answered < asked) unanswered += 1
    }
    return { unused, held, unanswered }
  }

  /** What may have been granted in all by now. */
  const ceilingOf = (counter: Counter, lifeId: string, wish: LeaseWish, limit: bigint): bigint => {
    const periodMs = periodMsOf(wish.ruleId)
    if (periodMs === undefined) return limit
    // When it took what it had not told before is not known.
    const own = leaseOf(counter, lifeId)
    let used = smaller(wish.used, larger(own.used, own.spent))
    for (const lease of leasesOf(counter).values())
      if (lease.lifeId !== lifeId) used += larger(lease.used, lease.spent)
    const grown = grow(counter.allowance, { capacity: limit, periodMs, nowMicros: nowMs() * 1_000 })
    counter.allowance = { ...grown, amount: smaller(grown.amount, used + limit) }
    return counter.allowance.amount
  }

  /** Notices leave with the commit, equal ones once. */
  const grant = (
    lifeId: string,
    wish: LeaseWish,
    limit: bigint,
    notices: Set<string>,
  ): LeaseReply => {
    const counter = counterOf(wish)
    const own = leaseOf(counter, lifeId)
    const ceiling = ceilingOf(counter, lifeId, wish, limit)
    // A life that passed a soft limit has spent more than it was granted.
    let grantedElsewhere = 0n
    for (const lease of leasesOf(counter).values())
      if (lease.lifeId !== lifeId) grantedElsewhere += larger(lease.granted, lease.spent)
    const room = ceiling - grantedElsewhere
    const isShort = wish.need > wish.used && wish.need > room
    let asked = counter.recall
    if (isShort) {
      counter.tightUntilMs = nowMs() + tightMs
      if (wish.recall === undefined) counter.recall += 1
      asked = wish.recall ?? counter.recall
      notices.add(notice('recall', counter, lifeId, asked))
    }
    const tight = counter.tightUntilMs > nowMs()
    const granted = larger(wish.keep, amountFor(wish, room, isShort, tight, counter.recall))
    const others = othersOf(counter, lifeId, asked)

    const hasAnswered = tight && wish.keep <= wish.used
    const more = hasAnswered ? granted - wish.used : 0n
    const answered = hasAnswered ? counter.recall : Math.max(wish.answers, own.answered)
    const held = wish.held + more
    if (tight && (granted < own.granted || answered > own.answered || held < own.held))
      notices.add(notice('returned', counter, lifeId, answered))
    counter.granted = grantedElsewhere + granted
    Object.assign(own, { granted, used: wish.used + more, held, answered })
    return {
      ruleId: wish.ruleId,
      subject: wish.subject,
      windowStartMs: wish.windowStartMs,
      granted,
      limit,
      left: ceiling - counter.granted,
      unusedElsewhere: others.unused,
      heldElsewhere: others.held,
      tight,
      recall: asked,
      unanswered: isShort ? others.unanswered : 0,
    }
  }

  const amountFor = (
    wish: LeaseWish,
    room: bigint,
    isShort: boolean,
    tight: boolean,
    recall: number,
  ): bigint => {
    if (wish.wish <= wish.used || isShort) return wish.used
    if (tight && wish.answers < recall) return smaller(wish.need, room)
    if (tight) return smaller(wish.wish, room)
    const share = wish.used + (room - wish.used) / BigInt(2 * Math.max(countLiving(), 1))
    return larger(wish.need, smaller(wish.wish, share))
  }

  /** All lives of the gateway, or those that began before one, in the order in which they began; with it, if `itself`. */
  const reclaim = (
    gatewayId: string,
    before?: { readonly lifeId: string; itself: boolean },
  ): void => {
    if (before && !lives.has(before.lifeId))
      lives.set(before.lifeId, { gatewayId, seenAtMs: nowMs(), ended: false })
    const order = [...lives.keys()]
    const last = before ? order.indexOf(before.lifeId) - (before.itself ? 0 : 1) : order.length - 1
    const gone = new Set(
      order.filter((id, index) => index <= last && lives.get(id)?.gatewayId === gatewayId),
    )
    const ended = (lifeId: string): boolean => gone.has(lifeId)
    for (const [id, life] of lives) if (ended(id)) life.ended = true
    for (const [key, ofCounter] of leases) {
      for (const lease of ofCounter.values()) {
        if (!ended(lease.lifeId) || lease.granted === lease.spent) continue
        Object.assign(lease, { granted: lease.spent, used: lease.spent, held: 0n })
        world.notify(notice('returned', toCounterId(key), lease.lifeId, 0))
      }
    }
  }

  return {
    async lease(life, wishes): Promise<LeaseAnswer> {
      see(life)
      const notices = new Set<string>()
      const replies = wishes.map(() => undefined as LeaseReply | undefined)
      const inOrder = [...wishes.entries()].toSorted(([, a], [, b]) => compare(a, b))
      for (const [index, wish] of inOrder) {
        const limit = limitOf(wish.ruleId, wish.tenantId)
        if (limit !== undefined) replies[index] = grant(life.id, wish, limit, notices)
      }
      for (const payload of notices) world.notify(payload)
      return { nowMs: nowMs(), gateways: Math.max(1, countLiving()), replies }
    },
    async reclaim(life) {
      reclaim(life.gatewayId, { lifeId: life.id, itself: false })
    },
    async end(life) {
      reclaim(life.gatewayId, { lifeId: life.id, itself: true })
    },
    reclaimAbandoned: (gatewayId) => reclaim(gatewayId),
    async noteRefusals(counts) {
      for (const count of counts) {
        const { ruleId, subject, modelId, hourMs, shadow } = count
        const key = JSON.stringify([ruleId, subject, modelId, hourMs, shadow])
        const known = refusals.get(key)
        if (known) known.refusals += count.refusals
        else refusals.set(key, { ...count })
      }
    },
    async purge() {
      const old = counters
        .entries()
        .filter(
          ([, { windowEndMs: endMs }]) => endMs !== undefined && endMs < nowMs() - keepWindowsMs,
        )
        .take(purgeMax)
      for (const [key] of old) {
        counters.delete(key)
        leases.delete(key)
      }
    },
    charge(lifeId, charges) {
      for (const charge of charges) leaseOf(charge, lifeId).spent += charge.amount
    },
    counters: () =>
      [...counters.values()].map((counter) => ({
        ...counter,
        leases: [...leasesOf(counter).values()].map((lease) => ({ ...lease })),
      })),
    refusals: () => [...refusals.values()],
  }
}

/** A bucket of `capacity` that fills evenly, told as a sum that only grows. What is less than one unit stays in the time that is left over. */
function grow(
  before: Allowance | undefined,
  now: { readonly capacity: bigint; readonly periodMs: number; readonly nowMicros: number },
): Allowance {
  const { capacity } = now
  const nowMicros = Math.floor(now.nowMicros)
  if (!before) return { amount: capacity, capacity, atMicros: nowMicros }
  const periodMicros = now.periodMs * 1_000
  const elapsed = nowMicros - before.atMicros
  const grown = (capacity * BigInt(Math.max(elapsed, 0))) / BigInt(periodMicros)
  const isSteady = elapsed >= 0 && capacity > 0n
  const growthMicros = Math.round((Number(grown) * periodMicros) / Number(capacity))
  return {
    amount: before.amount + grown + capacity - before.capacity,
    capacity,
    atMicros: isSteady ? before.atMicros + growthMicros : nowMicros,
  }
}

function keyOf({ ruleId, subject, windowStartMs }: CounterId): string {
  return `${ruleId} ${subject} ${windowStartMs}`
}

function toCounterId(key: string): CounterId {
  const [ruleId = '', subject = '', startMs] = key.split(' ')
  return { ruleId, subject, windowStartMs: Number(startMs) }
}

function notice(
  what: 'recall' | 'returned',
  { ruleId, subject, windowStartMs }: CounterId,
  lifeId: string,
  recall: number,
): string {
  return JSON.stringify([what, ruleId, subject, windowStartMs, lifeId, recall])
}

/** The order of locks. */
function compare(a: CounterId, b: CounterId): number {
  if (a.ruleId !== b.ruleId) return a.ruleId < b.ruleId ? -1 : 1
  if (a.subject !== b.subject) return a.subject < b.subject ? -1 : 1
  return a.windowStartMs - b.windowStartMs
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

function smaller(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}

function atLeastZero(amount: bigint): bigint {
  return larger(amount, 0n)
}
