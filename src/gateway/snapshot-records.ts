/** Reads the snapshot from the database: all of it, or what has changed. */
import { sql } from 'kysely'
import { loadCatalogRecords } from '../catalog/catalog.ts'
import type { CatalogRecords } from '../catalog/catalogue.ts'
import { loadReplicaRecords, type ReplicaRecord } from '../fleet/fleet.ts'
import { loadKeyRecords, refreshKeyRecords } from '../identity/identity.ts'
import type { KeyRecords } from '../identity/key-records.ts'
import type { LimitRecords } from '../limits/rule.ts'
import { loadLimitRecords } from '../limits/rules.ts'
import type { Sql } from '../platform/postgres/database.ts'

export interface SnapshotRecords {
  /** `snapshot_state.version`: every change up to it is in here. */
  readonly version: bigint
  /** Changes in place. */
  readonly keys: KeyRecords
  /** The same objects as before when nothing of them has changed. */
  readonly catalog: CatalogRecords
  readonly replicas: readonly ReplicaRecord[]
  readonly limits: LimitRecords
}

type Tx = Sql<unknown>

/** One read of changes; what is left comes with the next one. */
const changesMax = 5_000

export async function loadSnapshot(tx: Tx): Promise<SnapshotRecords> {
  await ofOneMoment(tx)
  return {
    version: await selectVersion(tx),
    keys: await loadKeyRecords(tx),
    catalog: await loadCatalogRecords(tx),
    replicas: await loadReplicaRecords(tx),
    limits: await loadLimitRecords(tx),
  }
}

export interface Followed {
  /** The records that were given, when there was no change. */
  readonly records: SnapshotRecords
  /** Whether nothing up to the new version was missed. If not, all must be loaded. */
  readonly isWhole: boolean
  /** Whether the new version is the newest. */
  readonly isLast: boolean
  /** Changes the keys in place. Called in the turn in which the records are used: a key is never without its limits. */
  readonly changeKeys: () => void
}

const nothing = (): void => {}

/**
 * Brings records up to date with the changes since their version. The rows are of the same moment as the list of changes, so they are of the
 * version that is returned, or newer: then a later change names them again.
 */
export async function followChanges(tx: Tx, known: SnapshotRecords): Promise<Followed> {
  await ofOneMoment(tx)
  const newest = await selectVersion(tx)
  if (newest === known.version)
    return { records: known, isWhole: true, isLast: true, changeKeys: nothing }
  const changes = await selectChanges(tx, known.version)
  const last = changes.at(-1)
  // Versions have no holes, so what is missing was pruned; or the database was restored, and its versions are of another history.
  if (!last || changes[0]?.version !== known.version + 1n)
    return {
      records: { ...known, version: newest },
      isWhole: false,
      isLast: true,
      changeKeys: nothing,
    }
  const idsOf = (kind: string): string[] => [
    ...new Set(changes.filter((change) => change.kind === kind).map((change) => change.id)),
  ]
  const has = (kind: string): boolean => changes.some((change) => change.kind === kind)
  const hasIdentities = has('key') || has('tenant') || has('project')
  const changeKeys = hasIdentities
    ? await refreshKeyRecords(tx, known.keys, {
        keyIds: idsOf('key'),
        tenantIds: idsOf('tenant'),
        projectIds: idsOf('project'),
      })
    : nothing
  const records = {
    version: last.version,
    keys: known.keys,
    catalog: has('catalog') ? await loadCatalogRecords(tx) : known.catalog,
    replicas: has('replicas') ? await loadReplicaRecords(tx) : known.replicas,
    limits: has('limits') ? await loadLimitRecords(tx) : known.limits,
  }
  return { records, isWhole: !has('everything'), isLast: last.version === newest, changeKeys }
}

/** All statements of the transaction see the same rows. */
async function ofOneMoment(tx: Tx): Promise<void> {
  await sql`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY`.execute(tx)
}

async function selectVersion(tx: Tx): Promise<bigint> {
  const result = await sql<{ version: bigint }>`SELECT version FROM snapshot_state`.execute(tx)
  return result.rows[0]?.version ?? 0n
}

interface Change {
  readonly version: bigint
  readonly kind: string
  readonly id: string
}

async function selectChanges(tx: Tx, after: bigint): Promise<readonly Change[]> {
  const result = await sql<Change>`
    SELECT version, kind, id FROM snapshot_changes WHERE version > ${String(after)}::bigint ORDER BY version LIMIT ${changesMax}`.execute(
    tx,
  )
  return result.rows
}
