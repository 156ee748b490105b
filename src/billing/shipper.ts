/** Carries the journal to the ledger: batches in order, each in one transaction with its checkpoint. The database may be away. */
import { sleep, type Clock } from '../platform/clock.ts'
import { Fault } from '../platform/fault.ts'
import type { Logger } from '../platform/log.ts'
import { platformScope, type Database } from '../platform/postgres/database.ts'
import { selectBookable } from './journal/event.ts'
import type { Journal } from './journal/journal.ts'
import { applyJournal, findCheckpoint } from './store.ts'

const batchEventsMax = 1_000
/** A database too slow for a batch gets smaller ones, down to this. */
const batchEventsMin = 10
/** How long events may gather before they are shipped. */
const gatherMs = 200
const retryMs = 250
const retryMsMax = 5_000
const drainPollMs = 10

/** Where the journal goes: the ledger in PostgreSQL, or a model of it. */
export interface LedgerSink {
  /** The last event of this gateway that the ledger has; 0 for a new one. */
  findCheckpoint(gatewayId: string): Promise<bigint>
  /** Applies the lines and moves the checkpoint, together or not at all. Repetition changes nothing. */
  apply(gatewayId: string, lines: readonly string[], through: bigint): Promise<void>
}

export function ledgerOf(database: Database): LedgerSink {
  return {
    findCheckpoint: (gatewayId) =>
      database.transaction(platformScope, (tx) => findCheckpoint(tx, gatewayId)),
    async apply(gatewayId, lines, through) {
      await database.transaction(platformScope, (tx) => applyJournal(tx, gatewayId, lines, through))
    },
  }
}

export interface Shipper {
  /** Events that are durable here and not yet in the ledger. */
  lagEvents(): number
  /** Resolves when everything durable is in the ledger, or the time is over; tells which. */
  drain(timeoutMs: number): Promise<boolean>
  /** Resolves when all that was durable at the call is in the ledger; `false` when the shipper stopped before. */
  shipped(): Promise<boolean>
  stop(): Promise<void>
}

export function startShipper(options: {
  readonly journal: Journal
  readonly ledger: LedgerSink
  readonly gatewayId: string
  readonly clock: Clock
  readonly log: Logger
  /** Called after each batch, with what may be forgotten. */
  readonly onApplied: (through: bigint) => void
}): Shipper {
  const { journal, ledger, gatewayId, clock, log } = options
  /** The last event that the ledger has; `undefined` while that is not known. */
  let applied: bigint | undefined
  let lastKnown = journal.firstSequence - 1n
  let isCompared = false
  let batchEvents = batchEventsMax
  let stopped = false
  let gatherNowMs = gatherMs
  let wake = (): void => {}

  const lag = (): number => Number(journal.durableSequence - lastKnown)
  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const cancel = clock.after(ms, resolve)
      wake = () => {
        cancel()
        resolve()
      }
    })

  /** A journal that does not meet its checkpoint has lost events, or the database has. Said once; what is left is applied. */
  const compare = (checkpoint: bigint): bigint => {
    const oldest = journal.firstSequence
    const newest = journal.durableSequence
    const isMet = checkpoint >= oldest - 1n && checkpoint <= newest
    if (!isMet && !isCompared) {
      const sequences = {
        checkpoint: String(checkpoint),
        oldest: String(oldest),
        newest: String(newest),
      }
      log.error(
        sequences,
        checkpoint > newest
          ? 'the ledger has more of this journal than the disk: the journal was cut or replaced'
          : 'the ledger has less of this journal than was deleted from it: the database was set back',
      )
    }
    isCompared = true
    return isMet ? checkpoint : oldest - 1n
  }

  const ship = async (): Promise<boolean> => {
    applied ??= compare(await ledger.findCheckpoint(gatewayId))
    lastKnown = applied
    const { lines, through } = await journal.read(applied, batchEvents)
    if (through === applied) return false
    await ledger.apply(gatewayId, selectBookable(lines), through)
    applied = through
    lastKnown = through
    options.onApplied(through)
    return lines.length >= batchEvents
  }

  const loop = async (): Promise<void> => {
    let failures = 0
    while (!stopped) {
      try {
        const isMore = await ship()
        failures = 0
        batchEvents = Math.min(batchEvents * 2, batchEventsMax)
        if (!isMore) await pause(gatherNowMs)
      } catch (error) {
        // Whether an ambiguous commit happened does not matter: the checkpoint is read again, and repetition changes nothing.
        applied = undefined
        batchEvents = Math.max(Math.floor(batchEvents / 2), batchEventsMin)
        const delayMs = Math.min(retryMs * 2 ** failures, retryMsMax)
        failures += 1
        const facts = { error, lag: lag(), delayMs }
        if (isAway(error)) log.warn(facts, 'usage stays in the journal: the database is away')
        else log.error(facts, 'usage stays in the journal: the ledger refuses it')
        await pause(delayMs)
      }
    }
  }
  const running = loop()

  return {
    lagEvents: lag,
    async drain(timeoutMs) {
      const deadlineMs = clock.monotonicMs() + timeoutMs
      gatherNowMs = drainPollMs
      wake()
      while (lag() > 0 && clock.monotonicMs() < deadlineMs) {
        await sleep(clock, drainPollMs)
      }
      gatherNowMs = gatherMs
      return lag() === 0
    },
    async shipped() {
      const through = journal.durableSequence
      while (lastKnown < through && !stopped) await sleep(clock, gatherMs)
      return lastKnown >= through
    },
    async stop() {
      stopped = true
      wake()
      await running
    },
  }
}

function isAway(error: unknown): boolean {
  return error instanceof Fault && error.code === 'platform.database_unavailable'
}
