/** Carries the journal to the ledger: batches in order, each in one transaction with its checkpoint. The database may be away. */
import type { Logger } from '../platform/log.ts'
import { platformScope, type Database } from '../platform/postgres/database.ts'
import { progressPrefix } from './journal/event.ts'
import type { Journal } from './journal/journal.ts'
import { applyJournal, findCheckpoint } from './store.ts'

const batchEventsMax = 1_000
/** How long events may gather before they are shipped. */
const gatherMs = 200
const retryMs = 250
const retryMsMax = 5_000

export interface Shipper {
  /** Events that are durable here and not yet in the ledger. */
  lagEvents(): number
  /** The last event that the ledger has. */
  appliedSequence(): bigint
  /** Resolves when everything durable is in the ledger, or the time is over. */
  drain(timeoutMs: number): Promise<boolean>
  stop(): Promise<void>
}

export function startShipper(options: {
  readonly journal: Journal
  readonly database: Database
  readonly gatewayId: string
  readonly log: Logger
  /** Called after each batch, with what may be forgotten. */
  readonly onApplied: (through: bigint) => void
}): Shipper {
  const { journal, database, gatewayId, log } = options
  let applied: bigint | undefined
  let stopped = false
  let delayMs = gatherMs
  let wake = (): void => {}

  const shipOnce = async (): Promise<boolean> => {
    applied ??= await database.transaction(platformScope, (tx) => findCheckpoint(tx, gatewayId))
    const { lines, through } = await journal.read(applied, batchEventsMax)
    if (through === applied) return false
    const billable = lines.filter((line) => !line.startsWith(progressPrefix))
    await database.transaction(platformScope, (tx) =>
      applyJournal(tx, gatewayId, billable, through),
    )
    applied = through
    options.onApplied(through)
    return lines.length >= batchEventsMax
  }

  const loop = async (): Promise<void> => {
    while (!stopped) {
      try {
        const more = await shipOnce()
        delayMs = more ? 0 : gatherMs
      } catch (error) {
        // Whether an ambiguous commit happened does not matter: the checkpoint is read again, and repetition changes nothing.
        applied = undefined
        delayMs = Math.min(Math.max(delayMs, retryMs) * 2, retryMsMax)
        log.warn(
          { error, lag: lag() },
          'the ledger could not be reached; usage stays in the journal',
        )
      }
      if (delayMs > 0) await pause(delayMs)
    }
  }
  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  let lastKnown = 0n
  const lag = (): number => {
    if (applied !== undefined) lastKnown = applied
    return Number(journal.durableSequence - lastKnown)
  }
  const running = loop()

  return {
    lagEvents: lag,
    appliedSequence: () => applied ?? lastKnown,
    async drain(timeoutMs) {
      const deadline = performance.now() + timeoutMs
      while (lag() > 0 && performance.now() < deadline) {
        wake()
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      return lag() === 0
    },
    async stop() {
      stopped = true
      wake()
      await running
    },
  }
}
