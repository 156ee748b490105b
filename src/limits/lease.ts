/**
 * One counter in one window, as this gateway holds it: what the authority has granted to this life, and what of it is spent or reserved. All
 * amounts are cumulative. Pure: the lease book talks to the authority.
 */
import type { GatewayLife, LeaseReply, LeaseWish } from './authority.ts'
import { periodOf } from './rule.ts'
import type { BoundRule } from './rule-book.ts'
import type { Window } from './window.ts'

export interface Lease {
  readonly life: GatewayLife
  readonly rule: BoundRule
  readonly window: Window
  granted: bigint
  /** As the authority last told. */
  limit: bigint
  /** The authority knows no such rule any more: it binds nobody. */
  gone: boolean
  /** While a call is under way: what the lease will be at least, whatever the authority says. */
  kept: bigint | undefined
  /** Spent or reserved. A hard rule keeps it at or below `granted`. */
  used: bigint
  /** Reserved for requests under way. */
  held: bigint
  /** What nobody holds, as the authority last told; `undefined` until it has. */
  left: bigint | undefined
  /** When it did, by the authority's clock, and what was used here by then. */
  toldAtMs: number
  usedWhenTold: bigint
  unusedElsewhere: bigint
  heldElsewhere: bigint
  tight: boolean
  /** The newest recall heard of. */
  recall: number
  /** The recall that requests waiting here have started. */
  ownRecall: number | undefined
  unanswered: number
  /** The call to the authority whose reply is the last. */
  repliedInCall: number
  /** Amounts that wait here, so that the authority learns what would help. */
  readonly waiting: Set<{ readonly need: bigint }>
  /** Of an earlier life of this process: it gives back whatever is not used. */
  isFormer: boolean
  /** It took a share of its own while the authority was away, which the authority knows nothing of. */
  selfGranted: boolean
  /** Takes from a shadow rule that did not fit when they came: judged at the next reply. */
  readonly doubtful: { readonly modelId: string; readonly amount: bigint }[]
  /** A decaying mean, to size slices by. */
  takenPerMs: number
  takenAtMs: number
  lastNeed: bigint
}

/** A slice lasts about this long at the present pace, so that an absent authority is survived for as long where room is ample. */
const sliceMs = 15 * 60_000
/** A slice holds at least so many requests like the last, so that a counter that wakes up asks seldom. */
const sliceRequests = 64n
const paceMs = 10_000

export function openLease(
  life: GatewayLife,
  rule: BoundRule,
  window: Window,
  nowMs: number,
): Lease {
  return {
    life,
    rule,
    window,
    granted: 0n,
    limit: rule.limit,
    gone: false,
    kept: undefined,
    used: 0n,
    held: 0n,
    left: undefined,
    toldAtMs: nowMs,
    usedWhenTold: 0n,
    unusedElsewhere: 0n,
    heldElsewhere: 0n,
    tight: false,
    recall: 0,
    ownRecall: undefined,
    unanswered: 0,
    repliedInCall: 0,
    waiting: new Set(),
    isFormer: false,
    selfGranted: false,
    doubtful: [],
    takenPerMs: 0,
    takenAtMs: nowMs,
    lastNeed: 0n,
  }
}

/** What may be taken here and now. */
export function freeOf(lease: Lease): bigint {
  return (lease.kept ?? lease.granted) - lease.used
}

/** What is left of a counter for everyone, as far as this gateway knows: at most the limit. */
export function remainingOf(lease: Lease, nowMs: number): bigint {
  const { limit, left, used, usedWhenTold } = lease
  if (left === undefined) return clamp(limit - used, limit)
  const takenSince = used > usedWhenTold ? used - usedWhenTold : 0n
  // What has come back meanwhile fills a bucket up to its rim, and what was taken meanwhile came out of it.
  const then = freeOf(lease) + left + lease.unusedElsewhere + takenSince
  return clamp(clamp(then + refilledSince(lease, nowMs), limit) - takenSince, limit)
}

function refilledSince({ rule, limit, toldAtMs }: Lease, nowMs: number): bigint {
  const periodMs = periodOf(rule.window)
  if (periodMs === undefined) return 0n
  const elapsedMs = Math.min(Math.max(0, Math.floor(nowMs - toldAtMs)), periodMs)
  return (limit * BigInt(elapsedMs)) / BigInt(periodMs)
}

/** What one of so many gateways may have spent in all while the authority is away: its share of the window, or of a bucket that goes on filling. */
export function outageShareOf(lease: Lease, gateways: number, nowMs: number): bigint {
  const { limit, usedWhenTold, rule, toldAtMs } = lease
  const share = limit / BigInt(gateways)
  const periodMs = periodOf(rule.window)
  if (periodMs === undefined) return share
  const elapsedMs = BigInt(Math.max(0, Math.floor(nowMs - toldAtMs)))
  return usedWhenTold + share + (share * elapsedMs) / BigInt(periodMs)
}

/** How long until so much has come back; `undefined` where room does not come back by itself. */
export function refillMsOf(lease: Lease, missing: bigint): number | undefined {
  const periodMs = periodOf(lease.rule.window)
  if (periodMs === undefined || lease.limit <= 0n) return undefined
  return missing <= 0n ? 0 : Number((missing * BigInt(periodMs)) / lease.limit) + 1
}

function clamp(amount: bigint, max: bigint): bigint {
  if (amount < 0n) return 0n
  return amount < max ? amount : max
}

export function noteTaken(lease: Lease, amount: bigint, nowMs: number): void {
  const elapsedMs = Math.max(nowMs - lease.takenAtMs, 0)
  lease.takenPerMs = lease.takenPerMs * Math.exp(-elapsedMs / paceMs) + Number(amount) / paceMs
  lease.takenAtMs = nowMs
  lease.lastNeed = amount
}

/** Has the next wish give back all that is not used. */
export function loosen(lease: Lease): void {
  lease.tight = true
}

/** What this gateway would like to hold beyond what is used; of a counter that nobody has taken from yet, by the request that waits. */
function sliceOf(lease: Lease, waitingNeed = 0n): bigint {
  const pace = BigInt(Math.ceil(lease.takenPerMs * sliceMs))
  const few = (lease.lastNeed > waitingNeed ? lease.lastNeed : waitingNeed) * sliceRequests
  return pace > few ? pace : few
}

/** Whether what is not used here shall go back at once. */
export function isReturning(lease: Lease): boolean {
  return lease.tight || lease.isFormer
}

/** Whether a refill is due: half is gone of the slice, or of the share that the authority would give, which shrinks as the limit comes near. */
export function wantsRefill(lease: Lease, gateways: number): boolean {
  if (isReturning(lease) || lease.left === undefined || lease.left <= 0n) return false
  const share = (freeOf(lease) + lease.left) / BigInt(2 * gateways)
  const slice = sliceOf(lease)
  return freeOf(lease) * 2n < (share < slice ? share : slice)
}

/** In ample times a refill takes nothing away, so taking goes on during the call; otherwise all that is not used is at the authority's disposal. */
export function toWish(lease: Lease): LeaseWish {
  const { rule, window, used } = lease
  let smallest: bigint | undefined
  let sum = 0n
  for (const { need } of lease.waiting) {
    sum += need
    if (smallest === undefined || need < smallest) smallest = need
  }
  const givesBack = isReturning(lease)
  const isAmple = smallest === undefined && !givesBack && !lease.selfGranted && lease.granted > used
  return {
    ruleId: rule.ruleId,
    subject: rule.subject,
    tenantId: rule.tenantId,
    windowStartMs: window.startMs,
    windowEndMs: window.endMs,
    used,
    keep: isAmple ? lease.granted : used,
    held: lease.held,
    need: used + (smallest ?? 0n),
    wish: used + sum + (givesBack ? 0n : sliceOf(lease, smallest)),
    answers: lease.recall,
    recall: lease.waiting.size > 0 ? lease.ownRecall : undefined,
  }
}

export function applyReply(
  lease: Lease,
  reply: LeaseReply,
  wish: LeaseWish,
  at: { readonly call: number; readonly nowMs: number },
): void {
  const isShort = wish.need > wish.used && reply.granted < wish.need
  lease.granted = reply.granted
  lease.kept = undefined
  lease.limit = reply.limit
  lease.left = reply.left
  lease.unusedElsewhere = reply.unusedElsewhere
  lease.heldElsewhere = reply.heldElsewhere
  // A recall that was heard of while the call was under way is newer than its reply.
  lease.tight = reply.tight || lease.recall > reply.recall
  lease.recall = Math.max(lease.recall, reply.recall)
  // All have answered, and somebody holds more again: they are to be asked anew.
  const isOver = reply.unanswered === 0 && reply.unusedElsewhere > 0n
  lease.ownRecall = isShort && !isOver ? reply.recall : undefined
  lease.unanswered = reply.unanswered
  lease.repliedInCall = at.call
  lease.toldAtMs = at.nowMs
  lease.usedWhenTold = wish.used
  lease.selfGranted = false
}
