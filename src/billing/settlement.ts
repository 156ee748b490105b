/**
 * Which tokens are billed, when the engine's figures and what went by may disagree. The engine counts better than we do, so it is
 * believed within bounds that no honest engine breaks; outside of them, our own count is billed and the event is marked suspect.
 */
import type { TokenUsage } from '../engines/engine.ts'
import type { LimitCharge, LimitTake } from '../limits/authority.ts'
import { rate } from './rating.ts'
import { spentOf } from './spend.ts'
import type { BillableUsage, OpenedRequest, SettledRequest } from './usage.ts'

/** How a request ended, before it is known what it is charged. */
export interface Settlement extends Omit<
  SettledRequest,
  'amountNanos' | 'waivedNanos' | 'charges' | 'engineCounted' | 'settledAtMs'
> {
  /** What budgets have reserved for it by now; `undefined` where no budget bounds it. */
  readonly amountMaxNanos: bigint | undefined
  /** Says what is spent of each counter, once the amount is known. Called once. */
  readonly chargeLimits: (amountNanos: bigint) => readonly LimitCharge[]
}

/** What the gateway saw pass. A delta carries at least one token, so these never exceed the truth. */
export interface Metered {
  readonly outputTokens: number
  /** By the length of the text: nearer to the truth where a delta holds several tokens. */
  readonly estimatedOutputTokens: number
  readonly reasoningTokens: number
  /** The engine's running total of output went down. */
  readonly claimDecreased: boolean
}

export interface UsageEvidence {
  /** The engine's last figures, as they came; `undefined` when it gave none. */
  readonly claimed: TokenUsage | undefined
  readonly metered: Metered
  readonly estimatedInputTokens: number
  readonly bounds: { readonly inputTokensMax: number; readonly outputTokensMax: number }
  /** Whether the answer is whole. Of a cut one, an engine that reports only at the end has reported nothing. */
  readonly complete: boolean
}

/** More deltas than this for a claimed token are text that the engine does not count. */
const deltasPerTokenMax = 4
const deltasSlack = 8

export function decideUsage(evidence: UsageEvidence): { usage: TokenUsage; suspect: boolean } {
  const { claimed, metered, bounds } = evidence
  if (claimed && isCredible(claimed, evidence)) {
    // Deltas after the engine's last report count too.
    const outputTokens = evidence.complete
      ? claimed.outputTokens
      : clamp(Math.max(claimed.outputTokens, metered.outputTokens), bounds.outputTokensMax)
    return { usage: { ...claimed, outputTokens }, suspect: false }
  }
  const counted = evidence.complete ? metered.estimatedOutputTokens : metered.outputTokens
  const outputTokens = clamp(counted, bounds.outputTokensMax)
  const usage = {
    inputTokens: clamp(evidence.estimatedInputTokens, bounds.inputTokensMax),
    cachedInputTokens: 0,
    outputTokens,
    reasoningTokens: clamp(metered.reasoningTokens, outputTokens),
  }
  // A cut answer without figures is ordinary; a whole one, or wrong figures, are not.
  return { usage, suspect: evidence.complete || claimed !== undefined }
}

function isCredible(claimed: TokenUsage, evidence: UsageEvidence): boolean {
  const { metered, bounds, complete } = evidence
  const figures = [
    claimed.inputTokens,
    claimed.cachedInputTokens,
    claimed.outputTokens,
    claimed.reasoningTokens,
  ]
  return (
    figures.every((figure) => Number.isSafeInteger(figure) && figure >= 0) &&
    !metered.claimDecreased &&
    claimed.inputTokens <= bounds.inputTokensMax &&
    claimed.cachedInputTokens <= claimed.inputTokens &&
    claimed.outputTokens <= bounds.outputTokensMax &&
    claimed.reasoningTokens <= claimed.outputTokens &&
    // Of a cut answer the last report may be older than the text.
    (!complete || accountsFor(claimed.outputTokens, metered.outputTokens))
  )
}

/** Something said is at least one token; and a delta is a token, give or take what parsers hold back and cut up. */
function accountsFor(claimedTokens: number, deltas: number): boolean {
  if (claimedTokens === 0) return deltas === 0
  return deltas <= claimedTokens * deltasPerTokenMax + deltasSlack
}

function clamp(value: number, max: number): number {
  return Math.min(value, max)
}

/**
 * What a request is billed that was under way when its gateway died: its input and the output of its last durable progress. The estimate
 * stands in for an input count that no engine has given. What it took from limits is charged in full in each window that it touched: nobody
 * knows any more which window its tokens fell into, and a limit is never exceeded by a crash.
 */
export function settleCrashed(
  leftover: {
    readonly request: OpenedRequest
    readonly progress: BillableUsage | undefined
    readonly replicaId: string | undefined
    readonly takes: readonly LimitTake[]
  },
  nowMs: number,
): Settlement {
  const { request, progress, replicaId, takes } = leftover
  const usage = progress ?? {
    inputTokens: request.estimatedInputTokens,
    cachedInputTokens: 0,
    outputTokens: 0,
    reasoningTokens: 0,
  }
  return {
    outcome: 'crashed',
    usage,
    usageSuspect: false,
    replicaId,
    timeToFirstTokenMs: undefined,
    durationMs: Math.max(0, Math.round(nowMs - request.startedAtMs)),
    amountMaxNanos: undefined,
    chargeLimits: (amountNanos) =>
      takes.map(({ measure, ...counter }) => ({
        ...counter,
        amount: spentOf(measure, usage, amountNanos),
      })),
  }
}

/** Adds the charge: what the usage costs, never more than the hold or the budget leaves, and nothing when nothing was served. */
export function completeSettlement(
  request: OpenedRequest,
  settlement: Settlement,
  at: { readonly nowMs: number; readonly engineNoted: boolean },
): SettledRequest {
  const { amountMaxNanos, chargeLimits, ...facts } = settlement
  const isServed = settlement.outcome !== 'voided'
  const cost = isServed ? rate(request.price, settlement.usage) : 0n
  const due = positive(cost - request.alreadyChargedNanos)
  const chargeable =
    smallest(cost, request.heldNanos, amountMaxNanos ?? cost) - request.alreadyChargedNanos
  const amountNanos = positive(chargeable)
  return {
    ...facts,
    amountNanos,
    waivedNanos: due - amountNanos,
    charges: chargeLimits(amountNanos).filter((charge) => charge.amount > 0n),
    // Of other endings, and of figures that are not believed, another count is billed.
    engineCounted: at.engineNoted && settlement.outcome === 'completed' && !settlement.usageSuspect,
    settledAtMs: at.nowMs,
  }
}

function smallest(first: bigint, ...others: readonly bigint[]): bigint {
  return others.reduce((least, other) => (other < least ? other : least), first)
}

function positive(nanos: bigint): bigint {
  return nanos > 0n ? nanos : 0n
}
