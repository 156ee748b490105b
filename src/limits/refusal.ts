/** Why a request was refused, in the facts that a caller needs: which rule, what is left, when it clears. Pure. */
import { refillMsOf, remainingOf, type Lease } from './lease.ts'
import type { PlacedDemand } from './reservation.ts'
import type { BoundRule } from './rule-book.ts'

/**
 * `exhausted`: not enough is left. `too_large`: the request is larger than the limit, and so never passes. `unavailable`: the authority is away,
 * and what this gateway held is spent.
 */
export type RefusalCause = 'exhausted' | 'too_large' | 'unavailable'

export interface Refusal {
  readonly cause: RefusalCause
  readonly rule: BoundRule
  readonly limit: bigint
  /** What the request would take at least. */
  readonly needed: bigint
  /** As far as this gateway knows. */
  readonly remaining: bigint
  /** When all of it is there again, in milliseconds since 1970 by the authority's clock; `undefined` when it never is. */
  readonly resetsAtMs: number | undefined
  /** From now, until a request of this size passes; `undefined` when waiting does not help. */
  readonly clearsInMs: number | undefined
  /** The smallest larger plan that would let it pass. */
  readonly planThatAllows: string | undefined
}

/** Requests under way end at any moment; this is when to look again. */
const concurrencyRetryMs = 1_000
const unavailableRetryMs = 2_000

export function describeRefusal(
  demand: PlacedDemand,
  cause: RefusalCause,
  nowMs: number,
  planThatAllows: (rule: BoundRule, total: bigint) => string | undefined,
): Refusal {
  const { rule, lease, need } = demand
  const remaining = remainingOf(lease, nowMs)
  const used = lease.limit - remaining
  const resetsInMs = resetsIn(lease, nowMs)
  return {
    cause,
    rule,
    limit: lease.limit,
    needed: need,
    remaining,
    resetsAtMs: resetsInMs === undefined ? undefined : nowMs + resetsInMs,
    clearsInMs: clearsIn(demand, cause, nowMs),
    planThatAllows: cause === 'unavailable' ? undefined : planThatAllows(rule, used + need),
  }
}

/** Until all of a limit is there again, if nothing more is taken; `undefined` when it never is. */
export function resetsIn(lease: Lease, nowMs: number): number | undefined {
  const { endMs } = lease.window
  if (endMs !== undefined) return Math.max(0, endMs - nowMs)
  return refillMsOf(lease, lease.limit - remainingOf(lease, nowMs))
}

function clearsIn(
  { lease, need }: PlacedDemand,
  cause: RefusalCause,
  nowMs: number,
): number | undefined {
  if (cause === 'unavailable') return unavailableRetryMs
  if (cause === 'too_large') return undefined
  if (lease.rule.measure === 'concurrency') return concurrencyRetryMs
  const refillMs = refillMsOf(lease, need - remainingOf(lease, nowMs))
  return refillMs ?? resetsIn(lease, nowMs)
}
