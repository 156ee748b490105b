/**
 * Brings the tallies of this gateway's settlements to the database, apart from the shipper: counted where they become durable, flushed every
 * few seconds, each flush once. A flush waits until the ledger has all that it counts, so the two can be compared at any time. What a
 * crash left uncounted is read from the journal, which keeps it until then.
 */
import type { TokenUsage } from '../engines/engine.ts'
import type { Clock } from '../platform/clock.ts'
import { Fault } from '../platform/fault.ts'
import type { Logger } from '../platform/log.ts'
import { platformScope, type Database } from '../platform/postgres/database.ts'
import { readSettlement } from './journal/event.ts'
import type { Journal } from './journal/journal.ts'
import { addTotals, beginTotals, type TotalsCheckpoint, type TotalsFlush } from './store.ts'
import { createTally, type Tally, type TalliedSettlement } from './tally.ts'

/** Where totals go: PostgreSQL, or a model of it. */
export interface TotalsSink {
  begin(
    gatewayId: string,
    journal: { readonly first: bigint; readonly last: bigint; readonly applied: bigint },
  ): Promise<TotalsCheckpoint>
  add(gatewayId: string, totals: TotalsFlush): Promise<void>
}

export function totalsOf(database: Database): TotalsSink {
  return {
    begin: (gatewayId, journal) =>
      database.transaction(platformScope, (tx) => beginTotals(tx, gatewayId, journal)),
    add: (gatewayId, totals) =>
      database.transaction(platformScope, (tx) => addTotals(tx, gatewayId, totals)),
  }
}

export interface Totals {
  /** A settlement is on its way to the disk: what is flushed before it is counted ends before it. */
  settling(sequence: bigint): void
  /** Counts a settlement that has become durable, and what the engine said of it, where it ended in its proper way. */
  settled(sequence: bigint, settlement: TalliedSettlement, claimed: TokenUsage | undefined): void
  /**
   * Reads what earlier runs left uncounted. Called while nobody else reads the journal, with what the ledger has of it; again when it threw. Shipping
   * waits for it, so it gives up for this run after some attempts: reconciliation says so.
   */
  catchUp(applied: bigint): Promise<void>
  /** The ledger has all up to here. */
  applied(through: bigint): void
  /** The journal keeps what comes after it. */
  through(): bigint
  /** Flushes what is counted and in the ledger, if the database answers. */
  flush(): Promise<void>
  /** The same, as the last act of this run. */
  stop(): Promise<void>
}

interface Sealed {
  readonly tally: Tally
  readonly through: bigint
  readonly isRecovered: boolean
}

const flushMs = 10_000
const tickMs = 1_000
const catchUpEvents = 1_000
const catchUpAttemptsMax = 3

export function keepTotals(options: {
  readonly journal: Journal
  readonly sink: TotalsSink
  readonly gatewayId: string
  readonly clock: Clock
  readonly log: Logger
  /** Called after each flush: the journal may forget what it counts. */
  readonly onFlushed: () => void
}): Totals {
  const { journal, sink, gatewayId, clock, log } = options
  /** What is in the journal now was appended before this run counts. */
  const openedThrough = journal.durableSequence
  let checkpoint: TotalsCheckpoint | undefined
  let active = createTally()
  let sealed: Sealed | undefined
  /** In the order of their sequences. */
  const uncounted = new Set<bigint>()
  let appliedThrough = -1n
  let flushedMs = clock.monotonicMs()
  let flushing: Promise<void> = Promise.resolve()
  let attempts = 0
  let hasGivenUp = false

  /** All settlements up to here have been counted: one may be durable, and its counting a turn of the event loop away. */
  const countedThrough = (): bigint => {
    const [first] = uncounted
    const durable = journal.durableSequence
    return first === undefined || first > durable ? durable : first - 1n
  }

  const seal = (): void => {
    sealed = { tally: active, through: countedThrough(), isRecovered: false }
    active = createTally()
  }

  const flushSealed = async (): Promise<void> => {
    if (!checkpoint || !sealed || appliedThrough < sealed.through) return
    const { tally, through, isRecovered } = sealed
    const next = { flush: checkpoint.flush + 1n, through }
    await sink.add(gatewayId, {
      ...next,
      isRecovered,
      journal: tally.journal(),
      engines: tally.engines(),
    })
    checkpoint = next
    sealed = undefined
    flushedMs = clock.monotonicMs()
    options.onFlushed()
  }

  const flushAll = async (): Promise<void> => {
    await flushSealed()
    if (!checkpoint || sealed) return
    seal()
    await flushSealed()
  }

  /** One after the other. What fails waits for the next time: a repeated flush has its number. */
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    flushing = flushing
      .then(work)
      .catch((error: unknown) => log.debug({ error }, 'totals wait: the database is away'))
    return flushing
  }

  const tick = async (): Promise<void> => {
    const isDue = clock.monotonicMs() - flushedMs >= flushMs
    // Also without a settlement: the journal may forget what is no settlement.
    if (checkpoint && !sealed && isDue && checkpoint.through < journal.durableSequence) seal()
    await flushSealed()
  }

  let cancel = (): void => {}
  const schedule = (): void => {
    cancel = clock.after(tickMs, () => {
      void inTurn(tick)
      schedule()
    })
  }

  const readMissed = async (applied: bigint): Promise<void> => {
    const first = journal.firstSequence
    const begun = await sink.begin(gatewayId, { first, last: openedThrough, applied })
    const missed = createTally()
    for (let after = begun.through; after < openedThrough;) {
      const { lines, through } = await journal.read(after, catchUpEvents)
      if (through === after) break
      for (const line of lines) {
        const settlement = readSettlement(line)
        if (!settlement || settlement.sequence > openedThrough) continue
        missed.addSettlement(settlement)
        if (settlement.engineCounted) missed.addEngine(settlement, settlement.usage)
      }
      after = through
    }
    if (!missed.isEmpty) sealed = { tally: missed, through: openedThrough, isRecovered: true }
    checkpoint = begun
    schedule()
  }

  return {
    settling(sequence) {
      uncounted.add(sequence)
    },
    settled(sequence, settlement, claimed) {
      uncounted.delete(sequence)
      if (hasGivenUp) return
      active.addSettlement(settlement)
      if (claimed) active.addEngine(settlement, claimed)
    },
    async catchUp(applied) {
      if (checkpoint || hasGivenUp) return
      try {
        await readMissed(applied)
      } catch (error) {
        attempts += 1
        if (isAway(error) || attempts < catchUpAttemptsMax) throw error
        hasGivenUp = true
        active = createTally()
        log.error({ error }, 'this gateway does not count what it settles: reconciliation lacks it')
      }
    },
    applied(through) {
      appliedThrough = through
    },
    through: () => (hasGivenUp ? appliedThrough : (checkpoint?.through ?? -1n)),
    flush: () => inTurn(flushAll),
    stop() {
      cancel()
      return inTurn(flushAll)
    },
  }
}

function isAway(error: unknown): boolean {
  return error instanceof Fault && error.code === 'platform.database_unavailable'
}
