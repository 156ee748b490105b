/**
 * Front door of billing on a gateway: a hold before the work, progress while it runs, a settlement at its end. Each is durable on this
 * gateway's disk first, and in the ledger later; the database may be away all the while.
 */
import fs from 'node:fs'
import { join } from 'node:path'
import type { TokenUsage } from '../engines/engine.ts'
import type { LimitTake } from '../limits/authority.ts'
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
  encodeTakes,
  type RequestText,
  type UnsettledRequest,
} from './journal/event.ts'
import { syncDirectory, type JournalFiles } from './journal/files.ts'
import { openJournal, type Journal } from './journal/journal.ts'
import { completeSettlement, settleCrashed, type Settlement } from './settlement.ts'
import { ledgerOf, startShipper, type LedgerSink } from './shipper.ts'
import type { TalliedSettlement } from './tally.ts'
import { keepTotals, totalsOf, type Totals, type TotalsSink } from './totals.ts'
import type { BillableUsage, OpenedRequest, SettledRequest } from './usage.ts'

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
  /** Resolves when all that was durable at the call is in the ledger; `false` when it closed before. */
  shipped(): Promise<boolean>
  close(): Promise<void>
}

export interface Hold {
  readonly requestId: string
  /**
   * Notes how much output there is, and now and then writes what `describe` says of it to the journal. When a disk is so slow that a crash could
   * leave more than the promised window unbilled, it returns what to wait for before the answer goes on.
   */
  progress(outputTokens: number, describe: () => Progress): Promise<void> | undefined
  /** Notes counters that the request begins to take from after its start. Writes them at once, and never waits. */
  noteTakes(takes: readonly LimitTake[]): void
  /** Notes what the engine said of the whole answer, when it ended in its proper way. Counted apart from the usage that is settled. */
  noteEngine(claimed: TokenUsage): void
  /** Durable when it resolves. Called once. The charge exceeds neither the hold nor what budgets have reserved. */
  settle(settlement: Settlement): Promise<SettledRequest>
}

/** Running totals, and who serves. */
export interface Progress {
  readonly usage: BillableUsage
  readonly replicaId: string | undefined
}

export interface BillingOptions {
  /** Holds the journal's segments, the gateway's id and the lock. */
  readonly directory: string
  readonly segmentBytes: number
  readonly bytesMax: number
  readonly database: Database
  /** Stands for the ledger in the database; `undefined` outside of simulations. */
  readonly ledger?: LedgerSink | undefined
  /** Stands for the totals in the database. With a `ledger` and without this, none are kept. */
  readonly totals?: TotalsSink | undefined
  readonly clock: Clock
  readonly log: Logger
  readonly files?: JournalFiles | undefined
  readonly onFatal: (error: Error) => void
}

/** A settlement fits into this, and so does an open record, with names as long as they may be. */
const reservedBytes = 4_096
/** Half of the 64 that a crash may leave unbilled: the other half may pass while the record is on its way to a slow disk. */
const progressTokens = 32
/** The most that a crash may leave unbilled. */
const crashWindowTokens = 64
const progressMs = 1_000
const progressBytes = 512
/** A thousand streams note their progress some 1,500 times a second; a sync each would be a tenth of what a stream costs. */
const progressLingerMs = 50
/** A counter in the open or the takes record, and what is charged to it in the settlement. */
const takeBytes = 256

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
  const sink = options.totals ?? (options.ledger ? undefined : totalsOf(options.database))
  const totals =
    sink && keepTotals({ journal, sink, gatewayId, clock, log, onFlushed: () => forget() })
  await settleLeftovers(unsettled.list(), { journal, gatewayId, clock, log, totals })

  /** Each unsettled hold, oldest first, and the sequence that its open record cannot stand before: the journal keeps the rest. */
  const openSequences = new Map<string, bigint>()
  let applied = journal.firstSequence - 1n
  const forget = (): void => {
    const [oldest] = openSequences.values()
    const done = smaller(applied, totals?.through() ?? applied)
    journal.forget(oldest === undefined ? done : smaller(done, oldest - 1n))
  }
  const ledger = options.ledger ?? ledgerOf(options.database)
  const shipper = startShipper({
    journal,
    ledger: totals ? countedFirst(ledger, journal, totals) : ledger,
    gatewayId,
    clock,
    log,
    onApplied(through) {
      applied = through
      totals?.applied(through)
      forget()
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
        await journal.reserve(reservedBytes + request.takes.length * takeBytes)
        // When this fails, the journal has ended, and what is reserved in it with it.
        await journal.append((sequence) => encodeOpen(text, sequence))
      } catch (error) {
        openSequences.delete(key)
        throw error
      }
      const onSettled = (): void => void openSequences.delete(key)
      return openHold({ request, text, journal, clock, totals, onSettled })
    },
    lagEvents: shipper.lagEvents,
    journalBytes: () => journal.bytes,
    openHolds: () => openSequences.size,
    shipped: shipper.shipped,
    async drain(timeoutMs) {
      const isWhole = await shipper.drain(timeoutMs)
      await totals?.flush()
      return isWhole
    },
    async close() {
      await shipper.stop()
      await totals?.stop()
      await journal.close()
      unlock()
    },
  }
}

/** What the totals lack is read from the journal before the shipper reads it, and each time that the shipper asks where to go on. */
function countedFirst(ledger: LedgerSink, journal: Journal, totals: Totals): LedgerSink {
  return {
    apply: ledger.apply,
    async findCheckpoint(gatewayId) {
      const checkpoint = await ledger.findCheckpoint(gatewayId)
      // As the shipper has it: a journal that does not meet its checkpoint is applied from its beginning.
      const before = journal.firstSequence - 1n
      const isMet = checkpoint >= before && checkpoint <= journal.durableSequence
      const applied = isMet ? checkpoint : before
      await totals.catchUp(applied)
      totals.applied(applied)
      return checkpoint
    },
  }
}

function smaller(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}

function openHold(scope: {
  readonly request: OpenedRequest
  readonly text: RequestText
  readonly journal: Journal
  readonly clock: Clock
  readonly totals: Totals | undefined
  readonly onSettled: () => void
}): Hold {
  const { request, text, journal, clock, totals } = scope
  let isSettled = false
  let reserved = reservedBytes + request.takes.length * takeBytes
  let claimed: TokenUsage | undefined
  let notedTokens = 0
  let durableTokens = 0
  let pending: Promise<void> | undefined
  let notedMs = clock.monotonicMs()
  return {
    requestId: request.requestId,
    progress(outputTokens, describe) {
      const nowMs = clock.monotonicMs()
      const isDue = outputTokens >= notedTokens + progressTokens || nowMs >= notedMs + progressMs
      // Settlements go first: near the end of the space, a crash may lose more than a window.
      if (isDue && journal.hasRoom(progressBytes)) {
        notedTokens = outputTokens
        notedMs = nowMs
        pending = journal
          .append(() => encodeProgress(text, describe()), progressLingerMs)
          .then(() => {
            durableTokens = Math.max(durableTokens, outputTokens)
          })
        // Whoever waits for it fails with it; for all others the settlement meets the same failure.
        pending.catch(ignoreFailure)
      }
      if (outputTokens - durableTokens < crashWindowTokens) return undefined
      journal.hurry()
      return pending
    },
    noteTakes(takes) {
      const bytes = takes.length * takeBytes
      // As with progress: near the end of the space, a crash may leave such a counter uncharged.
      if (!journal.hasRoom(bytes)) return
      journal.reserve(bytes).then(() => {
        if (isSettled) journal.release(bytes)
        else reserved += bytes
      }, ignoreFailure)
      journal.append(() => encodeTakes(text, takes)).catch(ignoreFailure)
    },
    noteEngine(usage) {
      claimed = usage
    },
    async settle(settlement) {
      assert(!isSettled, 'a hold is settled once')
      isSettled = true
      const settled = completeSettlement(request, settlement, {
        nowMs: clock.nowMs(),
        engineNoted: claimed !== undefined,
      })
      journal.release(reserved)
      await appendSettlement({ request, text, settled, claimed, journal, totals })
      scope.onSettled()
      return settled
    },
  }
}

/** The journal has failed, and said so; the settlement will meet the same failure. */
function ignoreFailure(): void {}

async function settleLeftovers(
  leftovers: readonly UnsettledRequest[],
  deps: {
    readonly journal: Journal
    readonly gatewayId: string
    readonly clock: Clock
    readonly log: Logger
    readonly totals: Totals | undefined
  },
): Promise<void> {
  if (leftovers.length === 0) return
  const { journal, gatewayId, clock, log, totals } = deps
  const nowMs = clock.nowMs()
  await Promise.all(
    leftovers.map(async (leftover) => {
      const { request } = leftover
      const settled = completeSettlement(request, settleCrashed(leftover, nowMs), {
        nowMs,
        engineNoted: false,
      })
      const text = describeRequest(request, gatewayId)
      await appendSettlement({ request, text, settled, claimed: undefined, journal, totals })
    }),
  )
  log.warn({ requests: leftovers.length }, 'settled by rule what the last run left open')
}

/** Durable when it resolves, and then counted. */
async function appendSettlement(scope: {
  readonly request: OpenedRequest
  readonly text: RequestText
  readonly settled: SettledRequest
  readonly claimed: TokenUsage | undefined
  readonly journal: Journal
  readonly totals: Totals | undefined
}): Promise<void> {
  const { request, text, settled, claimed, journal, totals } = scope
  let sequence = 0n
  await journal.append((next) => {
    sequence = next
    totals?.settling(sequence)
    return encodeSettle(text, settled, sequence)
  })
  const counted = settled.engineCounted ? claimed : undefined
  totals?.settled(sequence, tallied(request, settled), counted)
}

function tallied(request: OpenedRequest, settled: SettledRequest): TalliedSettlement {
  const { requestId, leg, tenantId, modelId, price } = request
  const { settledAtMs, usage, amountNanos } = settled
  return {
    requestId,
    leg,
    tenantId,
    modelId,
    currency: price.currency,
    settledAtMs,
    usage,
    amountNanos,
  }
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
