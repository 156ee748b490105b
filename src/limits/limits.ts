/**
 * Front door of limits on a gateway: a request takes from all its counters at once or from none, and a refusal says why. The counters are leases
 * from an authority (docs/decisions/0004); while they have room nothing here waits for anything.
 */
import { z } from 'zod'
import { assert } from '../platform/assert.ts'
import type { Clock } from '../platform/clock.ts'
import type {
  GatewayLife,
  LeaseAuthority,
  LimitCharge,
  LimitTake,
  RefusalCount,
} from './authority.ts'
import { createLeaseBook } from './lease-book.ts'
import {
  freeOf,
  isReturning,
  noteTaken,
  outageShareOf,
  refillMsOf,
  remainingOf,
  wantsRefill,
  type Lease,
} from './lease.ts'
import { describeRefusal, resetsIn, type Refusal, type RefusalCause } from './refusal.ts'
import { fits, Reservation, type PlacedDemand } from './reservation.ts'
import { creditRuleId, type LimitRecords, type Measure } from './rule.ts'
import { createRuleBook, type BoundRule, type LimitScope } from './rule-book.ts'

export { leaseAuthority, reclaimAbandoned } from './store.ts'

/** What a request takes in each measure. A measure that is left out counts 0. */
export type Amounts = Readonly<Partial<Record<Measure, bigint>>>

export type Decision = { readonly outcome: 'admitted'; readonly grip: Grip } | Refused

export interface Refused {
  readonly outcome: 'refused'
  readonly refusal: Refusal
}

/** What a request holds of its counters. */
export interface Grip {
  readonly lifeId: string
  /** The counters that it takes from, as the open record names them. */
  readonly takes: readonly LimitTake[]
  /** What hard rules have reserved in a measure by now: the least of them; `undefined` where none bounds it. */
  reserved(measure: Measure): bigint | undefined
  /** Takes at least `need` and up to `want` more if this gateway holds as much; `undefined` if not. */
  tryExtend(need: Amounts, want: Amounts): Extension | undefined
  /** The same, and asks the authority where this gateway holds too little. */
  extend(need: Amounts, want: Amounts): Promise<Extension | Refused>
  /** What was spent in each measure. Nothing is free again before `release`. */
  settle(spent: (measure: Measure) => bigint): readonly LimitCharge[]
  /** Once the settlement is durable. */
  release(): void
}

/** Counters that were taken from for the first time: a stream ran into a new window. */
export interface Extension {
  readonly outcome: 'extended'
  readonly fresh: readonly LimitTake[]
}

export interface Standing {
  readonly rule: BoundRule
  readonly limit: bigint
  readonly remaining: bigint
  readonly resetsInMs: number | undefined
}

export interface Limits {
  /** Replaces the rules. */
  apply(records: LimitRecords): void
  reserve(scope: LimitScope, need: Amounts, want: Amounts): Promise<Decision>
  /** What would refuse such a request now, as far as this gateway knows; nothing is taken, and nobody is asked. */
  preview(scope: LimitScope, need: Amounts): Refusal | undefined
  /** How the counters of such a request stand; nothing is taken. */
  standings(scope: LimitScope): readonly Standing[]
  /** A notice of the authority's, as PostgreSQL delivers it; `undefined` when some may have been missed. */
  heard(payload: string | undefined): void
  /** Frees what earlier lives of this gateway held: once their journal is settled and in the ledger. */
  reclaim(): Promise<void>
  /** Requests that wait for a lease now. */
  waiting(): number
  /** Whether the authority cannot be reached: what is held is spent, and then hard limits refuse. */
  isAway(): boolean
  /** Ends this life. With everything settled and in the ledger, `returnLeases` frees what it holds. */
  close(returnLeases: boolean): Promise<void>
}

/** While others still hold what may come back from them, a request waits this long at most. */
const pendingWaitMs = 1_000
const lookMs = 500
/** A stream under way rather pauses this long than ends early. */
const streamPatienceMs = 10_000
const refillLookMs = 10
/** Holders that have not answered may be starting again. */
const answersWaitMs = 5_000
/** Of an authority that does not answer, nothing is expected after this. */
const outageWaitMs = 2_000
/** More requests than this waiting for one counter are refused at once. */
const waitingMax = 1_000
const doubtfulMax = 10_000
const refusalFlushMs = 10_000
const refusalKeysMax = 10_000
const purgeMs = 600_000

interface Shortage {
  readonly demand: PlacedDemand
  readonly cause: RefusalCause
}

interface Waiter {
  readonly demands: readonly PlacedDemand[]
  readonly startedMs: number
  /** Calls to the authority that began before this one cannot judge it. */
  readonly call: number
  /** Goes before others. */
  readonly first: boolean
  /** How long it waits for room that comes back by itself. */
  readonly patienceMs: number
  readonly resolve: (outcome: 'taken' | Shortage) => void
  cancel: () => void
}

export function openLimits(options: {
  readonly authority: LeaseAuthority
  readonly clock: Clock
  /** Days and months begin by it. */
  readonly timeZone: string
  readonly gatewayId: string
  readonly newLifeId: () => string
  readonly onFailure: (error: unknown) => void
}): Limits {
  const { authority, clock } = options
  let rules = createRuleBook({ plans: [], rules: [], tenantPlans: [], credits: [] })
  /** In the order of arrival, but for extensions of requests under way, which go first. */
  const waiters = new Map<Lease, Set<Waiter>>()
  let waitingCount = 0
  const refusals = new Map<string, { -readonly [Key in keyof RefusalCount]: RefusalCount[Key] }>()

  const book = createLeaseBook({
    ...options,
    onNews(leases) {
      for (const lease of leases) {
        judgeShadow(lease)
        wakeWaiters(lease)
        // Room is short, and nobody here needs this part of it.
        if (isReturning(lease) && freeOf(lease) > 0n) book.touch(lease)
      }
    },
  })
  const place = (rule: BoundRule, need: bigint, want: bigint): PlacedDemand => ({
    rule,
    need: atLeast(rule, need),
    want,
    lease: book.current(rule),
  })

  const noteTakenOf = (demands: readonly PlacedDemand[]): void => {
    const nowMs = book.nowMs()
    for (const { lease, want, need } of demands) {
      if (want === 0n && need === 0n) continue
      noteTaken(lease, want, nowMs)
      book.noteDrift(lease)
      if (wantsRefill(lease, book.gateways()) || freeOf(lease) < 0n) book.touch(lease)
    }
  }
  const noteShadow = (demands: readonly PlacedDemand[], modelId: string): void => {
    for (const { rule, lease, want } of demands) {
      if (rule.enforcement !== 'shadow' || freeOf(lease) >= want) continue
      if (lease.doubtful.length < doubtfulMax) lease.doubtful.push({ modelId, amount: want })
      book.touch(lease)
    }
  }
  /** Of the takes that did not fit when they came, the last ones up to the excess would have been refused. */
  const judgeShadow = (lease: Lease): void => {
    if (lease.doubtful.length === 0 || book.isAway()) return
    let excess = -(freeOf(lease) + (lease.left ?? 0n))
    for (const { modelId, amount } of lease.doubtful.toReversed()) {
      if (excess <= 0n) break
      countRefusal(lease.rule, modelId, true)
      excess -= amount
    }
    lease.doubtful.length = 0
  }

  /** Lets those in whose counters have room now, and refuses those whose never will. */
  const wakeWaiters = (lease: Lease): void => {
    const queue = [...(waiters.get(lease) ?? [])].toSorted(
      (a, b) => Number(b.first) - Number(a.first),
    )
    for (const waiter of queue) advance(waiter)
  }
  const advance = (waiter: Waiter): void => {
    const verdict = waiter.demands.every(fits) ? 'taken' : judge(waiter, clock.monotonicMs())
    if (verdict) {
      finish(waiter, verdict)
      return
    }
    for (const demand of waiter.demands) if (!fits(demand)) enqueue(waiter, demand)
    lookAgain(waiter)
  }
  /** When room may have come back, and now and then, since a notice may have been lost. */
  const lookAgain = (waiter: Waiter): void => {
    waiter.cancel()
    const refills = waiter.demands
      .filter((demand) => !fits(demand))
      .map(({ lease, need }) => refillMsOf(lease, need - roomOf(lease)) ?? lookMs)
    waiter.cancel = clock.after(
      Math.min(lookMs, ...refills.map((ms) => Math.max(ms, refillLookMs))),
      () => {
        for (const { lease } of waiter.demands)
          if (waiters.get(lease)?.has(waiter)) book.touch(lease)
        advance(waiter)
      },
    )
  }
  /** The authority hears of it with the next call, unless what it last said stands until another holder answers. */
  const enqueue = (waiter: Waiter, demand: PlacedDemand): void => {
    const { lease } = demand
    const queue = waiters.get(lease) ?? new Set()
    waiters.set(lease, queue.add(waiter))
    const isNew = !lease.waiting.has(demand)
    lease.waiting.add(demand)
    if (isNew || demand.need <= roomOf(lease)) book.touch(lease)
  }

  const judge = (waiter: Waiter, nowMs: number): Shortage | undefined => {
    const waitedMs = nowMs - waiter.startedMs
    for (const demand of waiter.demands) {
      if (fits(demand)) continue
      const { lease } = demand
      if (lease.repliedInCall <= waiter.call) {
        if (!book.isAway() || waitedMs < outageWaitMs) continue
        if (shareInOutage(demand)) continue
        return { demand, cause: 'unavailable' }
      }
      if (demand.need > lease.limit && demand.rule.ruleId !== creditRuleId)
        return { demand, cause: 'too_large' }
      // A call under way may bring what was given back a moment ago.
      if (lease.kept !== undefined || demand.need <= roomOf(lease)) continue
      const mayComeBack = lease.unanswered > 0 || lease.unusedElsewhere > 0n
      if (mayComeBack && waitedMs < answersWaitMs) continue
      const isPending = lease.held > 0n || lease.heldElsewhere > 0n
      if (isPending && demand.rule.measure !== 'requests' && waitedMs < pendingWaitMs) continue
      const refillMs = refillMsOf(lease, demand.need - roomOf(lease))
      if (refillMs !== undefined && waitedMs + refillMs < waiter.patienceMs) continue
      return { demand, cause: 'exhausted' }
    }
    return undefined
  }

  /** An open rule gives each gateway its even share while the authority is away. Tells whether the demand fits then. */
  const shareInOutage = (demand: PlacedDemand): boolean => {
    const { rule, lease } = demand
    if (rule.onOutage !== 'open') return false
    const share = outageShareOf(lease, book.gateways(), book.nowMs())
    if (lease.granted < share) {
      lease.granted = share
      lease.selfGranted = true
      if (lease.kept !== undefined) lease.kept = share
    }
    return fits(demand)
  }

  const finish = (waiter: Waiter, outcome: 'taken' | Shortage): void => {
    waiter.cancel()
    waitingCount -= 1
    for (const demand of waiter.demands) {
      const queue = waiters.get(demand.lease)
      queue?.delete(waiter)
      if (queue?.size === 0) waiters.delete(demand.lease)
      demand.lease.waiting.delete(demand)
      if (demand.lease.waiting.size === 0) demand.lease.ownRecall = undefined
    }
    waiter.resolve(outcome)
  }

  /** Resolves with room in all counters, in the same turn in which it was seen, or with the demand that has none. */
  const waitForRoom = (
    demands: readonly PlacedDemand[],
    manner: Pick<Waiter, 'first' | 'patienceMs'>,
    take: () => void,
  ): Promise<'taken' | Shortage> =>
    new Promise((resolve) => {
      const waiter: Waiter = {
        demands,
        startedMs: clock.monotonicMs(),
        call: book.calls(),
        ...manner,
        resolve(outcome) {
          if (outcome === 'taken') take()
          resolve(outcome)
        },
        cancel: () => {},
      }
      waitingCount += 1
      for (const demand of demands) if (!fits(demand)) enqueue(waiter, demand)
      lookAgain(waiter)
    })

  /** One too many in the queue need not wait, nor one that needs an authority that is known to be away. */
  const refuseAtOnce = (demands: readonly PlacedDemand[]): Shortage | undefined => {
    for (const demand of demands) {
      if (fits(demand)) continue
      if ((waiters.get(demand.lease)?.size ?? 0) >= waitingMax)
        return { demand, cause: 'exhausted' }
      if (book.isAway() && !shareInOutage(demand)) return { demand, cause: 'unavailable' }
    }
    return undefined
  }

  const takeOrWait = async (
    demands: readonly PlacedDemand[],
    manner: Pick<Waiter, 'first' | 'patienceMs'>,
    take: () => void,
  ): Promise<'taken' | Shortage> => {
    const shortage = refuseAtOnce(demands)
    if (shortage) return shortage
    if (!demands.every(fits)) return await waitForRoom(demands, manner, take)
    take()
    return 'taken'
  }

  const countRefusal = (rule: BoundRule, modelId: string, shadow: boolean): void => {
    const hourMs = Math.floor(book.nowMs() / 3_600_000) * 3_600_000
    const key = `${rule.ruleId} ${rule.subject} ${modelId} ${hourMs} ${shadow}`
    const known = refusals.get(key)
    if (known) known.refusals += 1
    else if (refusals.size < refusalKeysMax) {
      const { ruleId, subject, tenantId } = rule
      refusals.set(key, { ruleId, subject, tenantId, modelId, hourMs, shadow, refusals: 1 })
    }
  }
  const flushRefusals = async (): Promise<void> => {
    const counts = [...refusals.values()]
    refusals.clear()
    if (counts.length > 0) await authority.noteRefusals(counts)
  }
  /** Reports may miss a few refusals when the authority is away; no limit rests on them. */
  const every = (ms: number, work: () => Promise<void>): (() => void) => {
    let cancel = (): void => {}
    const again = (): void => {
      cancel = clock.after(ms, () => {
        work().catch(options.onFailure)
        again()
      })
    }
    again()
    return () => cancel()
  }
  const cancelFlush = every(refusalFlushMs, flushRefusals)
  const cancelPurge = every(purgeMs, () => authority.purge())

  const refuse = (scope: LimitScope, { demand, cause }: Shortage): Refusal => {
    countRefusal(demand.rule, scope.modelId, false)
    return describeRefusal(demand, cause, book.nowMs(), rules.planThatAllows)
  }

  const release = (reservation: Reservation): void => {
    for (const lease of reservation.release()) {
      book.noteDrift(lease)
      wakeWaiters(lease)
      // Somebody elsewhere may wait for this request to end.
      if (isReturning(lease)) book.touch(lease)
    }
  }

  const toGrip = (reservation: Reservation, life: GatewayLife, scope: LimitScope): Grip => {
    const demandsFor = (need: Amounts, want: Amounts): PlacedDemand[] =>
      reservation.rules.map((rule) => {
        const least = need[rule.measure] ?? 0n
        const lease =
          book.life() === life
            ? book.current(rule)
            : (reservation.lastLease(rule) ?? book.current(rule))
        return { rule, need: atLeast(rule, least), want: want[rule.measure] ?? least, lease }
      })
    const take = (demands: readonly PlacedDemand[]): Extension => {
      const fresh = reservation.take(demands)
      noteTakenOf(demands)
      return { outcome: 'extended', fresh }
    }
    return {
      lifeId: life.id,
      takes: reservation.takes,
      reserved: (measure) => reservation.reserved(measure),
      tryExtend(need, want) {
        const demands = demandsFor(need, want)
        return demands.every(fits) ? take(demands) : undefined
      },
      async extend(need, want) {
        const demands = demandsFor(need, want)
        let extension: Extension | undefined
        const outcome = await takeOrWait(
          demands,
          { first: true, patienceMs: streamPatienceMs },
          () => {
            extension = take(demands)
          },
        )
        if (outcome !== 'taken') return { outcome: 'refused', refusal: refuse(scope, outcome) }
        assert(extension, 'what was taken is known')
        return extension
      },
      settle: (spent) => reservation.settle(spent),
      release: () => release(reservation),
    }
  }

  const standingOf = (rule: BoundRule): Standing => {
    const lease = book.current(rule)
    const nowMs = book.nowMs()
    return {
      rule,
      limit: lease.limit,
      remaining: remainingOf(lease, nowMs),
      resetsInMs: resetsIn(lease, nowMs),
    }
  }

  return {
    apply(records) {
      rules = createRuleBook(records)
      const limits = new Map(records.rules.map((rule) => [rule.id, BigInt(rule.limit)]))
      const credits = new Map(
        records.credits.map(({ tenantId, nanos }) => [tenantId, BigInt(nanos)]),
      )
      book.limitsChanged((rule) =>
        rule.ruleId === creditRuleId ? (credits.get(rule.subject) ?? 0n) : limits.get(rule.ruleId),
      )
    },
    async reserve(scope, need, want) {
      const demands = rules.match(scope).map((rule) => {
        const least = need[rule.measure] ?? 0n
        return place(rule, least, want[rule.measure] ?? least)
      })
      const life = book.life()
      let reservation: Reservation | undefined
      const outcome = await takeOrWait(
        demands,
        { first: rules.priorityOf(scope.tenantId) === 'high', patienceMs: 0 },
        () => {
          noteShadow(demands, scope.modelId)
          reservation = new Reservation(demands)
          noteTakenOf(demands)
        },
      )
      if (outcome !== 'taken') return { outcome: 'refused', refusal: refuse(scope, outcome) }
      assert(reservation, 'what was taken is known')
      return { outcome: 'admitted', grip: toGrip(reservation, life, scope) }
    },
    preview(scope, need) {
      const nowMs = book.nowMs()
      const short = rules
        .match(scope)
        .map((rule) => place(rule, need[rule.measure] ?? 0n, 0n))
        .find(({ lease, need: least }) => least > remainingOf(lease, nowMs))
      if (!short) return undefined
      const isTooLarge = short.need > short.lease.limit && short.rule.ruleId !== creditRuleId
      const cause = isTooLarge ? 'too_large' : 'exhausted'
      return describeRefusal(short, cause, nowMs, rules.planThatAllows)
    },
    standings: (scope) => rules.match(scope).map(standingOf),
    heard(payload) {
      if (payload === undefined) {
        book.noticesMissed()
        return
      }
      const notice = parseNotice(payload)
      if (!notice || notice.lifeId === book.life().id) return
      const lease = book.find(notice)
      if (!lease) return
      if (notice.what === 'recall') {
        lease.recall = Math.max(lease.recall, notice.recall)
        lease.tight = true
        book.touch(lease)
      } else if (waiters.has(lease)) book.touch(lease)
    },
    reclaim: () => authority.reclaim(book.firstLife()),
    waiting: () => waitingCount,
    isAway: book.isAway,
    async close(returnLeases) {
      cancelFlush()
      cancelPurge()
      await book.close()
      try {
        await flushRefusals()
        if (returnLeases) await authority.end(book.life())
      } catch (error) {
        // The next start of this gateway frees them.
        options.onFailure(error)
      }
    },
  }
}

/** A soft rule lets a request in as long as anything is left; a shadow rule always. */
function atLeast(rule: BoundRule, need: bigint): bigint {
  if (rule.enforcement === 'shadow') return 0n
  return rule.enforcement === 'soft' && need > 1n ? 1n : need
}

/** What this gateway could have for itself, if the authority gave it all. */
function roomOf(lease: Lease): bigint {
  return freeOf(lease) + (lease.left !== undefined && lease.left > 0n ? lease.left : 0n)
}

interface Notice {
  readonly what: 'recall' | 'returned'
  readonly ruleId: string
  readonly subject: string
  readonly windowStartMs: number
  readonly lifeId: string
  readonly recall: number
}

const noticeSchema = z.tuple([
  z.enum(['recall', 'returned']),
  z.string(),
  z.string(),
  z.number(),
  z.string(),
  z.number(),
])

/** As `notify_limit` writes it. Whoever may connect to the database may write to the channel: anything else is no notice. */
function parseNotice(payload: string): Notice | undefined {
  let value: unknown
  try {
    value = JSON.parse(payload)
  } catch {
    return undefined
  }
  const parsed = noticeSchema.safeParse(value)
  if (!parsed.success) return undefined
  const [what, ruleId, subject, windowStartMs, lifeId, recall] = parsed.data
  return { what, ruleId, subject, windowStartMs, lifeId, recall }
}
