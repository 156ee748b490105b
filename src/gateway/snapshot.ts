/**
 * What a gateway must know to serve: keys, catalogue, replicas. It lives in memory, so no request waits for the database. A change is
 * heard by NOTIFY, and found by a poll if the notice was lost, so a revoked key stops working within 5 s. A sealed copy on disk lets
 * a gateway start while the database is away; a copy older than a day is refused.
 */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { sql } from 'kysely'
import type { CatalogRecords } from '../catalog/catalogue.ts'
import { loadCatalogRecords } from '../catalog/catalog.ts'
import { loadReplicaRecords, type ReplicaRecord } from '../fleet/fleet.ts'
import { loadKeyRecords } from '../identity/identity.ts'
import type { KeyRecord } from '../identity/key-directory.ts'
import type { Clock } from '../platform/clock.ts'
import { Fault } from '../platform/fault.ts'
import type { Logger } from '../platform/log.ts'
import { platformScope, type Database } from '../platform/postgres/database.ts'
import { listen } from '../platform/postgres/listen.ts'
import type { Seal } from '../platform/seal.ts'

export interface SnapshotRecords {
  /** `snapshot_state.version` when the rows were read. */
  readonly version: string
  readonly takenAtMs: number
  readonly keys: readonly KeyRecord[]
  readonly catalog: CatalogRecords
  readonly replicas: readonly ReplicaRecord[]
}

const pollMs = 2_000
const ageMaxMs = 24 * 3_600_000

export interface SnapshotKeeper {
  /** Milliseconds since the records were last known to be current. */
  ageMs(): number
  close(): Promise<void>
}

/**
 * Loads the records, from the database or else from disk, hands them to `apply`, and keeps doing so at each change. Throws
 * `platform.snapshot_stale` when neither source has them.
 */
export async function keepSnapshot(options: {
  readonly database: Database
  readonly databaseUrl: string
  readonly path: string
  readonly seal: Seal
  readonly clock: Clock
  readonly log: Logger
  readonly apply: (records: SnapshotRecords) => void
}): Promise<SnapshotKeeper> {
  const { database, clock, log } = options
  let version = ''
  let confirmedMs = clock.monotonicMs()
  let refreshing: Promise<void> | undefined
  let again = false

  const refresh = async (): Promise<void> => {
    const records = await database.transaction(platformScope, (tx) =>
      loadIfChanged(tx, version, clock),
    )
    confirmedMs = clock.monotonicMs()
    if (!records) return
    version = records.version
    options.apply(records)
    await save(options.path, options.seal, records)
  }
  /** One refresh at a time; a notice during one causes one more. */
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
        if (!again) return
        again = false
        kick()
      })
  }

  try {
    await refresh()
  } catch (error) {
    const records = await restore(options.path, options.seal, clock)
    if (!records) throw stale(error)
    log.warn(
      { takenAt: new Date(records.takenAtMs).toISOString() },
      'the database is away: serving with the snapshot on disk',
    )
    options.apply(records)
  }
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
      clearInterval(timer)
      await listener.close()
      await refreshing
    },
  }
}

type Tx = Parameters<typeof loadKeyRecords>[0]

async function loadIfChanged(
  tx: Tx,
  known: string,
  clock: Clock,
): Promise<SnapshotRecords | undefined> {
  // Every row below is at least as new as this version: it is read first, and statements see committed changes.
  const row = await sql<{ version: bigint }>`SELECT version FROM snapshot_state`.execute(tx)
  const version = String(row.rows[0]?.version ?? '')
  if (version === known) return undefined
  return {
    version,
    takenAtMs: clock.nowMs(),
    keys: await loadKeyRecords(tx),
    catalog: await loadCatalogRecords(tx),
    replicas: await loadReplicaRecords(tx),
  }
}

async function save(path: string, seal: Seal, records: SnapshotRecords): Promise<void> {
  const partial = `${path}.partial`
  await writeFile(partial, seal.seal(Buffer.from(JSON.stringify(records)), 'gateway-snapshot'), {
    mode: 0o600,
  })
  await rename(partial, path)
}

async function restore(
  path: string,
  seal: Seal,
  clock: Clock,
): Promise<SnapshotRecords | undefined> {
  let sealed: Buffer
  try {
    sealed = await readFile(path)
  } catch {
    // No gateway has run here yet.
    return undefined
  }
  const opened = seal.open(sealed, 'gateway-snapshot')
  if (!opened) return undefined
  // Sealed by this installation, so its shape is ours.
  const records = JSON.parse(opened.toString('utf8')) as SnapshotRecords
  const ageMs = clock.nowMs() - records.takenAtMs
  return ageMs >= 0 && ageMs <= ageMaxMs ? records : undefined
}

function stale(cause: unknown): Fault {
  return new Fault({
    code: 'platform.snapshot_stale',
    public: 'The database does not answer, and there is no recent snapshot on disk to serve with.',
    cause,
  })
}
