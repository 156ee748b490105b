/**
 * What one request has taken from its counters: taken at once from all of them or from none, more of it while a stream goes on, spent at its end,
 * and the rest given back once the settlement is durable. Pure but for the leases that it changes.
 */
import { assert } from '../platform/assert.ts'
import type { LimitCharge, LimitTake } from './authority.ts'
import { freeOf, type Lease } from './lease.ts'
import type { Measure } from './rule.ts'
import type { BoundRule } from './rule-book.ts'

/** What a request takes of one rule: at least `need`, and up to `want` where there is room. */
export interface Demand {
  readonly rule: BoundRule
  readonly need: bigint
  readonly want: bigint
}

/** A demand and the counter that it is for now. */
export interface PlacedDemand extends Demand {
  readonly lease: Lease
}

/** The part of an entry that lies in one window. */
interface Part {
  readonly lease: Lease
  reserved: bigint
  spent: bigint
}

interface Entry {
  readonly rule: BoundRule
  readonly parts: Part[]
}

/** Whether a counter has room for it; that of a shadow rule always has. */
export function fits({ rule, lease, need }: PlacedDemand): boolean {
  if (rule.enforcement === 'shadow' || lease.gone) return true
  return freeOf(lease) >= need
}

/** How much is taken of what fits. */
export function amountOf({ rule, lease, want }: PlacedDemand): bigint {
  if (rule.enforcement !== 'hard' || lease.gone) return want
  const free = freeOf(lease)
  return want < free ? want : free
}

export class Reservation {
  readonly #entries: Entry[]
  #settled = false

  constructor(demands: readonly PlacedDemand[]) {
    this.#entries = demands.map(({ rule }) => ({ rule, parts: [] }))
    this.take(demands)
  }

  /** The counters that have been taken from, as the journal names them. Requests under way are not billed. */
  get takes(): readonly LimitTake[] {
    return this.#entries
      .filter(({ rule }) => rule.measure !== 'concurrency')
      .flatMap(({ rule, parts }) => parts.map(({ lease }) => toTake(rule, lease)))
  }

  get rules(): readonly BoundRule[] {
    return this.#entries.map((entry) => entry.rule)
  }

  /** The counter that a rule of this reservation took from last. */
  lastLease(rule: BoundRule): Lease | undefined {
    return this.#entries.find((entry) => entry.rule === rule)?.parts.at(-1)?.lease
  }

  /** The least that a hard rule has reserved in a measure; `undefined` where none bounds it. */
  reserved(measure: Measure): bigint | undefined {
    let least: bigint | undefined
    for (const { rule, parts } of this.#entries) {
      if (rule.measure !== measure || rule.enforcement !== 'hard') continue
      const sum = parts.reduce((total, part) => total + part.reserved, 0n)
      if (least === undefined || sum < least) least = sum
    }
    return least
  }

  /** Takes from counters that have room, one demand for each rule of this reservation, in their order. Returns those taken from for the first time. */
  take(demands: readonly PlacedDemand[]): readonly LimitTake[] {
    const fresh: LimitTake[] = []
    for (const [index, demand] of demands.entries()) {
      const entry = this.#entries[index]
      assert(entry?.rule === demand.rule, 'demands come in the order of the rules')
      const amount = amountOf(demand)
      const { lease } = demand
      lease.used += amount
      lease.held += amount
      const last = entry.parts.at(-1)
      if (last?.lease === lease) last.reserved += amount
      else {
        if (last && amount === 0n) continue
        entry.parts.push({ lease, reserved: amount, spent: 0n })
        if (last && demand.rule.measure !== 'concurrency') fresh.push(toTake(demand.rule, lease))
      }
    }
    return fresh
  }

  /**
   * Notes what was spent in each measure, in the windows in the order in which they were taken from; what exceeds the reservations falls to the
   * last. Nothing is free again before `release`.
   */
  settle(spent: (measure: Measure) => bigint): readonly LimitCharge[] {
    assert(!this.#settled, 'a reservation is settled once')
    this.#settled = true
    const charges: LimitCharge[] = []
    for (const { rule, parts } of this.#entries) {
      let rest = spent(rule.measure)
      for (const [index, part] of parts.entries()) {
        const isLast = index === parts.length - 1
        part.spent = isLast || rest < part.reserved ? rest : part.reserved
        rest -= part.spent
        if (part.spent > 0n) charges.push({ ...toCounter(rule, part.lease), amount: part.spent })
      }
    }
    return charges
  }

  /** Gives back what was reserved and not spent: after the settlement is durable. Returns the counters that changed. */
  release(): readonly Lease[] {
    assert(this.#settled, 'a reservation is settled before it is released')
    const changed: Lease[] = []
    for (const { parts } of this.#entries) {
      for (const part of parts) {
        part.lease.held -= part.reserved
        part.lease.used += part.spent - part.reserved
        changed.push(part.lease)
      }
    }
    this.#entries.length = 0
    return changed
  }
}

function toCounter(
  rule: BoundRule,
  lease: Lease,
): { ruleId: string; subject: string; windowStartMs: number } {
  return { ruleId: rule.ruleId, subject: rule.subject, windowStartMs: lease.window.startMs }
}

function toTake(rule: BoundRule, lease: Lease): LimitTake {
  return { ...toCounter(rule, lease), measure: rule.measure }
}
