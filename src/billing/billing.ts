/**
 * Front door of billing on a gateway: a hold before the work, progress while it runs, a settlement at its end. Each is durable on this
 * gateway's disk first, and in the ledger later; the database may be away all the while.
 */
import fs from 'node:fs'
import { join } from 'node:path'
import type { TokenUsage } from '../engines/engine.ts'
import { assert } from '../platform/assert.ts'
import type { Clock } from '../platform/clock.ts'
import { newId } from '../platform/ids.ts'
import type { Logger } from '../platform/log.ts'
import { takeProcessLock } from '../platform/process-lock.ts'
import type { Database } from '../platform/postgres/database.ts'
import {
  createUnsettledIndex,
  describeRequest,
  encodeOpen,
  encodeProgress,
  encodeSettle,
  type RequestText,
  type UnsettledRequest,
} from './journal/event.ts'
import { syncDirectory, type JournalFiles } from './journal/files.ts'
import { openJournal, type Journal } from './journal/journal.ts'
import { rate } from './rating.ts'
import { settleCrashed } from './settlement.ts'
import { startShipper } from './shipper.ts'
import type { OpenedRequest, SettledRequest } from './usage.ts'

export interface Billing {
  readonly gatewayId: string
  /**
   * Durable when it resolves. Throws before anything was sent anywhere: `billing.journal_full`, `billing.journal_failed`, or
   * `capacity.overloaded` while the disk does not answer.
   */
  open(request: OpenedRequest): Promise<Hold>
  /** Durable events that the ledger does not have yet. */
  lagEvents(): number
  journalBytes(): number
  openHolds(): number
  /** Resolves when the ledger has everything, or the time is over; tells which. */
  drain(timeoutMs: number): Promise<boolean>
  close(): Promise<void>
}

export interface Hold {
  readonly requestId: string
  /** Notes running totals. Writes them to the journal now and then, and never waits. */
  progress(usage: TokenUsage): void
  /** Durable when it resolves. Called once. The charge never exceeds the hold. */
  settle(settlement: Settlement): Promise<SettledRequest>
}

export type Settlement = Omit<SettledRequest, 'amountNanos' | 'settledAtMs'>

export interface BillingOptions {
  /** Holds the journal's segments, the gateway's id and the lock. */
  readonly directory: string
  readonly segmentBytes: number
  readonly bytesMax: number
  readonly database: Database
  readonly clock: Clock
  readonly log: Logger
  readonly files?: JournalFiles | undefined
  readonly onFatal: (error: Error) => void
}

/** A settlement fits into this, and so does an open record, with names as long as they may be. */
const reservedBytes = 4_096
/** Half of the 64 that a crash may leave unbilled: the other half may pass while the record is on its way to a slow disk. */
const progressTokens = 32
const progressMs = 1_000
const progressBytes = 512

/** Opens the journal, and settles by rule what a crash left unsettled, before any new request is taken. */
export async function openBilling(options: BillingOptions): Promise<Billing> {
  const { directory, clock, log } = options
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 })
  const unlock = takeProcessLock(join(directory, 'lock'), `the journal in ${directory}`)
  try {
    return await openLocked(options, unlock)
  } catch (error) {
    unlock()
    log.fatal({ error, directory, nowMs: clock.nowMs() }, 'the journal does not open')
    throw error
  }
}

async function openLocked(options: BillingOptions, unlock: () => void): Promise<Billing> {
  const { directory, clock, log } = options
  const gatewayId = ensureGatewayId(directory)
  const unsettled = createUnsettledIndex()
  const journal = await openJournal(
    {
      directory: join(directory, 'segments'),
      segmentBytes: options.segmentBytes,
      bytesMax: options.bytesMax,
      clock,
      files: options.files,
      onFatal: options.onFatal,
    },
    (line) => unsettled.add(line),
  )
  await settleLeftovers(unsettled.list(), { journal, gatewayId, clock, log })

  /** Each unsettled hold, oldest first, and the sequence that its open record cannot stand before: the journal keeps the rest. */
  const openSequences = new Map<string, bigint>()
  const shipper = startShipper({
    journal,
    database: options.database,
    gatewayId,
    clock,
    log,
    onApplied(through) {
      const [oldest] = openSequences.values()
      journal.forget(oldest === undefined || oldest > through ? through : oldest - 1n)
    },
  })

  return {
    gatewayId,
    async open(request) {
      const key = `${request.requestId} ${request.leg}`
      assert(!openSequences.has(key), 'a request is opened once')
      const text = describeRequest(request, gatewayId)
      openSequences.set(key, journal.nextSequence)
      try {
        await journal.reserve(reservedBytes)
        // When this fails, the journal has ended, and what is reserved in it with it.
        await journal.append((sequence) => encodeOpen(text, sequence))
      } catch (error) {
        openSequences.delete(key)
        throw error
      }
      const onSettled = (): void => void openSequences.delete(key)
      return openHold({ request, text, journal, clock, onSettled })
    },
    lagEvents: shipper.lagEvents,
    journalBytes: () => journal.bytes,
    openHolds: () => openSequences.size,
    drain: shipper.drain,
    async close() {
      await shipper.stop()
      await journal.close()
      unlock()
    },
  }
}

function openHold(scope: {
  readonly request: OpenedRequest
  readonly text: RequestText
  readonly journal: Journal
  readonly clock: Clock
  readonly onSettled: () => void
}): Hold {
  const { request, text, journal, clock } = scope
  let isSettled = false
  let notedTokens = 0
  let notedMs = clock.monotonicMs()
  return {
    requestId: request.requestId,
    progress(usage) {
      const nowMs = clock.monotonicMs()
      if (usage.outputTokens < notedTokens + progressTokens && nowMs < notedMs + progressMs) return
      // Settlements go first: near the end of the space, a crash may lose more than a window.
      if (!journal.hasRoom(progressBytes)) return
      notedTokens = usage.outputTokens
      notedMs = nowMs
      journal
        .append(() => encodeProgress(text, usage))
        .catch(() => {
          // The journal has failed, and said so; the settlement will meet the same failure.
        })
    },
    async settle(settlement) {
      assert(!isSettled, 'a hold is settled once')
      isSettled = true
      const settled = complete(request, settlement, clock.nowMs())
      journal.release(reservedBytes)
      await journal.append((sequence) => encodeSettle(text, settled, sequence))
      scope.onSettled()
      return settled
    },
  }
}

/** Adds the charge: what the usage costs, never more than the hold, and nothing when nothing was served. */
function complete(
  request: OpenedRequest,
  settlement: Settlement,
  settledAtMs: number,
): SettledRequest {
  const cost = settlement.outcome === 'voided' ? 0n : rate(request.price, settlement.usage)
  const amountNanos = cost < request.heldNanos ? cost : request.heldNanos
  return { ...settlement, amountNanos, settledAtMs }
}

async function settleLeftovers(
  leftovers: readonly UnsettledRequest[],
  deps: {
    readonly journal: Journal
    readonly gatewayId: string
    readonly clock: Clock
    readonly log: Logger
  },
): Promise<void> {
  if (leftovers.length === 0) return
  const { journal, gatewayId, clock, log } = deps
  const nowMs = clock.nowMs()
  await Promise.all(
    leftovers.map((leftover) => {
      const { request } = leftover
      const settled = complete(request, settleCrashed(leftover, nowMs), nowMs)
      const text = describeRequest(request, gatewayId)
      return journal.append((sequence) => encodeSettle(text, settled, sequence))
    }),
  )
  log.warn({ requests: leftovers.length }, 'settled by rule what the last run left open')
}

/** The gateway's name in the ledger's checkpoints, for as long as its journal lives. */
function ensureGatewayId(directory: string): string {
  const path = join(directory, 'id')
  try {
    return fs.readFileSync(path, 'utf8').trim()
  } catch {
    // The first start here.
    const id = newId('gw')
    fs.writeFileSync(path, id, { mode: 0o600, flush: true })
    syncDirectory(directory)
    return id
  }
}
