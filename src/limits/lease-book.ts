/**
 * All leases of this gateway, and its talk with the authority: one call at a time, which carries every counter that has something to say. Requests
 * are never held up by it while their counters have room.
 */
import type { Clock } from '../platform/clock.ts'
import {
  lifeEndedCode,
  wishesMax,
  type CounterId,
  type GatewayLife,
  type LeaseAnswer,
  type LeaseAuthority,
  type LeaseWish,
} from './authority.ts'
import { applyReply, loosen, openLease, toWish, type Lease } from './lease.ts'
import type { BoundRule } from './rule-book.ts'
import { createWindows, type Window } from './window.ts'

export interface LeaseBook {
  /** The authority's time, in milliseconds since 1970; it goes back only when the authority's clock was set back. */
  nowMs(): number
  life(): GatewayLife
  /** The one that this process began with. */
  firstLife(): GatewayLife
  /** The counter of a rule in the window of this moment. */
  current(rule: BoundRule): Lease
  /** The counter as it is known, if it is. */
  find(counter: CounterId): Lease | undefined
  /** Has the next call carry this counter, and makes one soon. */
  touch(lease: Lease): void
  /** Has some later call tell what is used. */
  noteDrift(lease: Lease): void
  /** Calls made so far: a reply to a later one is newer. */
  calls(): number
  /** The last calls failed: more than one connection that broke. */
  isAway(): boolean
  gateways(): number
  /** Notices may have been missed: asks about every counter of which something here is not used. */
  noticesMissed(): void
  /** Takes notice of changed limits: `undefined` for a rule that is gone. */
  limitsChanged(limitOf: (rule: BoundRule) => bigint | undefined): void
  close(): Promise<void>
}

/** Living gateways are known by their calls, so one is made at least this often. */
const heartbeatMs = 2_000
const retryMs = 250
const awayFailures = 2
const sweepMs = 30_000
/** An older time than this from the authority is no delay of the network: its clock was set back. */
const jumpBackMs = 5_000

export function createLeaseBook(options: {
  readonly authority: LeaseAuthority
  readonly clock: Clock
  readonly timeZone: string
  readonly gatewayId: string
  readonly newLifeId: () => string
  /** Called after each reply, with the counters that it was about, and after each failure, with those that it was to be about. */
  readonly onNews: (leases: readonly Lease[]) => void
  readonly onFailure: (error: unknown) => void
}): LeaseBook {
  const { authority, clock } = options
  const windows = createWindows(options.timeZone)
  const newLife = (): GatewayLife => ({ id: options.newLifeId(), gatewayId: options.gatewayId })
  const firstLife = newLife()
  let life = firstLife
  /** By rule, subject and start of the window. */
  let leases = new Map<string, Lease>()
  /** The same by rule, for those that are asked for again and again. */
  let latest = new WeakMap<BoundRule, Lease>()
  const dirty = new Set<Lease>()
  const drifted = new Set<Lease>()
  let calls = 0
  let failures = 0
  let hasAnswered = false
  let gateways = 1
  let running: Promise<void> | undefined
  let closed = false
  let wake = (): void => {}
  let offsetMs = clock.nowMs() - clock.monotonicMs()
  let latestMs = 0

  const nowMs = (): number => {
    latestMs = Math.max(latestMs, Math.floor(clock.monotonicMs() + offsetMs))
    return latestMs
  }

  const call = async (): Promise<void> => {
    // Earlier lives have little to say, and seldom.
    const speaker = dirty.values().next().value?.life ?? life
    const batch: Lease[] = []
    for (const lease of dirty) {
      if (lease.life === speaker) batch.push(lease)
      if (batch.length === wishesMax) break
    }
    const wishes = batch.map(toWish)
    for (const [index, lease] of batch.entries()) {
      dirty.delete(lease)
      drifted.delete(lease)
      lease.kept = wishes[index]?.keep
    }
    calls += 1
    try {
      const answer = await authority.lease(speaker, wishes)
      failures = 0
      settle(batch, wishes, answer)
    } catch (error) {
      failures += 1
      // Whether the authority has heard of it is not known: what was kept is ours in any case.
      for (const lease of batch) {
        lease.granted = lease.kept ?? lease.granted
        lease.kept = undefined
        dirty.add(lease)
      }
      if (isLifeEnded(error)) leave(speaker)
      options.onFailure(error)
    }
    options.onNews(batch)
  }

  const settle = (
    batch: readonly Lease[],
    wishes: readonly LeaseWish[],
    answer: LeaseAnswer,
  ): void => {
    gateways = answer.gateways
    for (const [index, lease] of batch.entries()) {
      const wish = wishes[index]
      const reply = answer.replies[index]
      if (!wish) continue
      if (reply) applyReply(lease, reply, wish, { call: calls, nowMs: answer.nowMs })
      else lease.gone = true
      lease.kept = undefined
    }
    // Before the first answer, the own clock was all there was, and may have been ahead.
    if (hasAnswered && answer.nowMs < nowMs() - jumpBackMs) beginAnew()
    else if (!hasAnswered) latestMs = 0
    hasAnswered = true
    offsetMs = answer.nowMs - clock.monotonicMs()
  }

  /** Windows will be entered a second time, and what was spent in them is known to the authority alone: under a new life they are safe. */
  const beginAnew = (): void => {
    for (const lease of leases.values()) {
      lease.isFormer = true
      dirty.add(lease)
    }
    leases = new Map()
    life = newLife()
    latestMs = 0
  }

  /** Somebody has ended this life, such as an operator who took the gateway for gone: what it held is no more. */
  const leave = (ended: GatewayLife): void => {
    failures = 0
    if (ended === life) beginAnew()
    for (const some of [dirty, drifted])
      for (const lease of some) if (lease.life === ended) some.delete(lease)
  }

  const run = async (): Promise<void> => {
    do {
      await call()
      if (failures > 0 && !closed) await pause(retryMs)
    } while (dirty.size > 0 && !closed)
    // In the same turn as the last look, so that no counter is left waiting.
    running = undefined
  }
  const kick = (): void => {
    if (!closed) running ??= run()
  }
  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const cancel = clock.after(ms, resolve)
      wake = () => {
        cancel()
        resolve()
      }
    })

  let sweptMs = clock.monotonicMs()
  let cancelBeat = (): void => {}
  const beat = (): void => {
    cancelBeat = clock.after(heartbeatMs, beat)
    for (const lease of drifted) {
      if (dirty.size >= wishesMax) break
      dirty.add(lease)
    }
    if (clock.monotonicMs() - sweptMs > sweepMs) sweep()
    kick()
  }
  const sweep = (): void => {
    sweptMs = clock.monotonicMs()
    for (const [key, lease] of leases) {
      const { endMs } = lease.window
      if (endMs === undefined || endMs + sweepMs > nowMs()) continue
      if (lease.held > 0n || lease.waiting.size > 0 || drifted.has(lease)) continue
      leases.delete(key)
      dirty.delete(lease)
    }
  }
  beat()

  return {
    nowMs,
    life: () => life,
    firstLife: () => firstLife,
    current(rule) {
      const atMs = nowMs()
      const known = latest.get(rule)
      if (known?.life === life && isWithin(known.window, atMs)) return known
      const window = windows.around(rule.window, atMs)
      const key = keyOf(rule.ruleId, rule.subject, window.startMs)
      let lease = leases.get(key)
      if (!lease) {
        lease = openLease(life, rule, window, atMs)
        leases.set(key, lease)
      }
      latest.set(rule, lease)
      return lease
    },
    find: ({ ruleId, subject, windowStartMs }) => leases.get(keyOf(ruleId, subject, windowStartMs)),
    touch(lease) {
      dirty.add(lease)
      kick()
    },
    noteDrift: (lease) => void drifted.add(lease),
    calls: () => calls,
    isAway: () => failures >= awayFailures,
    gateways: () => gateways,
    noticesMissed() {
      for (const lease of leases.values())
        if (lease.granted > lease.used || lease.waiting.size > 0) dirty.add(lease)
      kick()
    },
    limitsChanged(limitOf) {
      for (const [key, lease] of leases) {
        const limit = limitOf(lease.rule)
        if (limit === undefined || lease.gone) {
          leases.delete(key)
          latest = new WeakMap()
        }
        if (limit === lease.limit) continue
        loosen(lease)
        dirty.add(lease)
      }
      if (dirty.size > 0) kick()
    },
    async close() {
      closed = true
      cancelBeat()
      wake()
      await running
    },
  }
}

function isLifeEnded(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === lifeEndedCode
}

function isWithin({ startMs, endMs }: Window, atMs: number): boolean {
  return atMs >= startMs && (endMs === undefined || atMs < endMs)
}

function keyOf(ruleId: string, subject: string, startMs: number): string {
  return `${ruleId} ${subject} ${startMs}`
}
