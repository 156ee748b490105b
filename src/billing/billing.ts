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
  encodeEvent,
  type JournalEvent,
  type UnsettledRequest,
} from './journal/event.ts'
import type { JournalFiles } from './journal/files.ts'
import { full, openJournal, type Journal } from './journal/journal.ts'
import { rate } from './rating.ts'
import { settleCrashed } from './settlement.ts'
import { startShipper } from './shipper.ts'
import type { OpenedRequest, SettledRequest } from './usage.ts'

export interface Billing {
  readonly gatewayId: string
  /** Durable when it resolves. Throws `billing.journal_full` or `billing.journal_failed` before anything was sent anywhere. */
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

/** A settlement and the progress before it fit into this; an open record is smaller. */
const reservedBytes = 4_096
const progressTokens = 64
const progressMs = 1_000

/** Opens the journal, and settles by rule what a crash left unsettled, before any new request is taken. */
export async function openBilling(options: BillingOptions): Promise<Billing> {
  const { directory, clock, log } = options
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 })
  const unlock = takeProcessLock(join(directory, 'lock'), `the journal in ${directory}`)
  const gatewayId = ensureGatewayId(join(directory, 'id'))
  const unsettled = createUnsettledIndex()
  const journal = await openJournal(
    {
      directory: join(directory, 'segments'),
      segmentBytes: options.segmentBytes,
      bytesMax: options.bytesMax,
      files: options.files,
      onFatal: options.onFatal,
    },
    (line) => unsettled.add(line),
  )
  const append = (event: JournalEvent): Promise<void> =>
    journal.append((sequence) => encodeEvent(event, sequence, gatewayId))
  await settleLeftovers(unsettled.list(), append, { clock, log })

  /** Where the open record of each unsettled hold stands: the journal may not be forgotten past the oldest. */
  const openSequences = new Map<string, bigint>()
  const shipper = startShipper({
    journal,
    database: options.database,
    gatewayId,
    log,
    onApplied(through) {
      let keepFrom = through
      for (const sequence of openSequences.values())
        if (sequence <= keepFrom) keepFrom = sequence - 1n
      journal.forget(keepFrom)
    },
  })

  return {
    gatewayId,
    async open(request) {
      if (!journal.reserve(reservedBytes)) throw full()
      const key = `${request.requestId} ${request.leg}`
      try {
        openSequences.set(key, journal.nextSequence)
        await append({ kind: 'open', request })
      } catch (error) {
        openSequences.delete(key)
        journal.release(reservedBytes)
        throw error
      }
      return openHold(request, journal, {
        append,
        clock,
        onSettled: () => openSequences.delete(key),
      })
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

function openHold(
  request: OpenedRequest,
  journal: Journal,
  deps: {
    readonly append: (event: JournalEvent) => Promise<void>
    readonly clock: Clock
    readonly onSettled: () => void
  },
): Hold {
  let isSettled = false
  let notedTokens = 0
  let notedMs = deps.clock.monotonicMs()
  return {
    requestId: request.requestId,
    progress(usage) {
      const nowMs = deps.clock.monotonicMs()
      if (usage.outputTokens < notedTokens + progressTokens && nowMs < notedMs + progressMs) return
      notedTokens = usage.outputTokens
      notedMs = nowMs
      const { requestId, leg } = request
      deps.append({ kind: 'progress', requestId, leg, usage, replicaId: undefined }).catch(() => {
        // The journal has failed, and said so; the settlement will meet the same failure.
      })
    },
    async settle(settlement) {
      assert(!isSettled, 'a hold is settled once')
      isSettled = true
      const settled = {
        ...settlement,
        amountNanos: charge(request, settlement),
        settledAtMs: deps.clock.nowMs(),
      }
      journal.release(reservedBytes)
      await deps.append({ kind: 'settle', request, settled })
      deps.onSettled()
      return settled
    },
  }
}

function charge(request: OpenedRequest, settlement: Settlement): bigint {
  if (settlement.outcome === 'voided') return 0n
  const amount = rate(request.price, settlement.usage)
  return amount < request.heldNanos ? amount : request.heldNanos
}

async function settleLeftovers(
  leftovers: readonly UnsettledRequest[],
  append: (event: JournalEvent) => Promise<void>,
  deps: { readonly clock: Clock; readonly log: Logger },
): Promise<void> {
  if (leftovers.length === 0) return
  const nowMs = deps.clock.nowMs()
  await Promise.all(
    leftovers.map((leftover) => {
      const settlement = settleCrashed(leftover, nowMs)
      const settled = {
        ...settlement,
        amountNanos: charge(leftover.request, settlement),
        settledAtMs: nowMs,
      }
      return append({ kind: 'settle', request: leftover.request, settled })
    }),
  )
  deps.log.warn({ requests: leftovers.length }, 'settled by rule what the last run left open')
}

/** The gateway's name in the ledger's checkpoints, for as long as its journal lives. */
function ensureGatewayId(path: string): string {
  try {
    return fs.readFileSync(path, 'utf8').trim()
  } catch {
    // The first start here.
    const id = newId('gw')
    fs.writeFileSync(path, id, { mode: 0o600, flush: true })
    return id
  }
}
