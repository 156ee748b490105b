/**
 * What a gateway must know to serve: keys, catalogue, replicas, limits. It lives in memory, so no request waits for the database. A change
 * is heard by NOTIFY, and found by a poll if the notice was lost, so a revoked key stops working within 5 s; only what has changed is
 * read again. A sealed copy on disk lets a gateway start while the database is away; a copy older than a day is refused.
 */
import type { Clock } from '../platform/clock.ts'
import { Fault } from '../platform/fault.ts'
import type { Logger } from '../platform/log.ts'
import { platformScope, type Database } from '../platform/postgres/database.ts'
import { listen } from '../platform/postgres/listen.ts'
import type { Seal } from '../platform/seal.ts'
import { keepSnapshotCopy, readSnapshotCopy } from './snapshot-copy.ts'
import { followChanges, loadSnapshot, type SnapshotRecords } from './snapshot-records.ts'

export type { SnapshotRecords } from './snapshot-records.ts'

const pollMs = 2_000
const ageMaxMs = 24 * 3_600_000

export interface SnapshotKeeper {
  /** Milliseconds since the records were last known to be current. */
  ageMs(): number
  close(): Promise<void>
}

interface SnapshotOptions {
  readonly database: Database
  readonly databaseUrl: string
  readonly path: string
  readonly seal: Seal
  readonly clock: Clock
  readonly log: Logger
  /** Called with all records after each change; those that did not change are the same objects as before. */
  readonly apply: (records: SnapshotRecords) => void
}

/** `isWhole` is false when changes up to the version of the records were missed. */
interface Held {
  readonly records: SnapshotRecords
  readonly isWhole: boolean
}

/**
 * Loads the records, from the database or else from disk, hands them to `apply`, and keeps doing so at each change. Throws
 * `platform.snapshot_stale` when neither source has them.
 */
export async function keepSnapshot(options: SnapshotOptions): Promise<SnapshotKeeper> {
  const { database, clock, log } = options
  let current = await firstRecords(options)
  let confirmedMs = clock.monotonicMs()
  const copy = keepSnapshotCopy(options)
  /** All records once more. Those in use are followed meanwhile, so a key that is revoked stops working at once. */
  let reloading: Promise<void> | undefined
  let reloaded: Held | undefined

  const use = (held: Held): void => {
    if (held.records !== current.records) options.apply(held.records)
    current = held
    if (!held.isWhole) return
    confirmedMs = clock.monotonicMs()
    copy.confirm(held.records)
  }
  /** Returns whether that was all. What was reloaded takes over once it is as new as what it replaces. */
  const follow = async (): Promise<boolean> => {
    const base = reloaded ?? current
    const { records, isWhole, isLast, changeKeys } = await database.transaction(
      platformScope,
      (tx) => followChanges(tx, base.records),
    )
    changeKeys()
    const held = { records, isWhole: isWhole && base.isWhole }
    const isReloaded = base === reloaded
    if (isReloaded) reloaded = isLast ? undefined : held
    if (!isReloaded || isLast) use(held)
    return isLast
  }
  const refresh = async (): Promise<void> => {
    while (!(await follow()));
    if (!current.isWhole && !reloaded) reload()
  }
  const reload = (): void => {
    reloading ??= database
      .transaction(platformScope, loadSnapshot)
      .then((records) => {
        reloaded = { records, isWhole: true }
      })
      .catch((error: unknown) => log.warn({ error }, 'the snapshot could not be loaded anew'))
      .finally(() => {
        reloading = undefined
        if (reloaded) kick()
      })
  }
  /** One refresh at a time; a notice during one causes one more. */
  let refreshing: Promise<void> | undefined
  let again = false
  let closed = false
  const kick = (): void => {
    if (refreshing) {
      again = true
      return
    }
    refreshing = refresh()
      .catch((error: unknown) =>
        log.warn({ error }, 'the snapshot could not be refreshed; serving with the last one'),
      )
      .finally(() => {
        refreshing = undefined
        if (!again || closed) return
        again = false
        kick()
      })
  }

  options.apply(current.records)
  if (current.isWhole) copy.confirm(current.records)
  const listener = listen({
    url: options.databaseUrl,
    channel: 'snapshot_changed',
    onNotice: kick,
    onError: (error) => log.debug({ error }, 'not listening for changes'),
  })
  const timer = setInterval(kick, pollMs)
  return {
    ageMs: () => clock.monotonicMs() - confirmedMs,
    async close() {
      closed = true
      clearInterval(timer)
      await listener.close()
      await reloading
      await refreshing
      await copy.close()
    },
  }
}

async function firstRecords(options: SnapshotOptions): Promise<Held> {
  const { database, clock, log } = options
  try {
    return { records: await database.transaction(platformScope, loadSnapshot), isWhole: true }
  } catch (error) {
    const copy = await readSnapshotCopy(options)
    const ageMs = copy ? clock.nowMs() - copy.takenAtMs : -1
    if (!copy || ageMs < 0 || ageMs > ageMaxMs) throw stale(error)
    log.warn(
      { takenAt: new Date(copy.takenAtMs).toISOString() },
      'the database is away: serving with the snapshot on disk',
    )
    return { records: copy.records, isWhole: false }
  }
}

function stale(cause: unknown): Fault {
  return new Fault({
    code: 'platform.snapshot_stale',
    public: 'The database does not answer, and there is no recent snapshot on disk to serve with.',
    cause,
  })
}
