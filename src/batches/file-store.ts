/** SQL of files. Each statement names the tenant, although the scope of its transaction does too. */
import { sql } from 'kysely'
import type { Sql } from '../platform/postgres/database.ts'
import type { FilePurpose, Owner } from './file.ts'

type Tx = Sql<unknown>

export interface FileRow {
  readonly id: string
  readonly tenant_id: string
  readonly purpose: FilePurpose
  readonly bytes: bigint
  readonly sealed_key: Buffer
  readonly sealed_name: Buffer
  readonly created_at: Date
  readonly expires_at: Date
}

const columns = sql.raw(
  'id, tenant_id, purpose, bytes, sealed_key, sealed_name, created_at, expires_at',
)
const openStates = sql.raw(`('validating', 'in_progress', 'finalizing', 'cancelling')`)
const isInput = sql`EXISTS (SELECT FROM batches WHERE batches.input_file_id = files.id AND batches.state IN ${openStates})`

export async function insertFile(
  tx: Tx,
  owner: Owner,
  file: {
    readonly id: string
    readonly sealedKey: Buffer
    readonly createdAt: Date
    readonly expiresAt: Date
  },
): Promise<void> {
  await sql`
    INSERT INTO files (id, tenant_id, project_id, sealed_key, created_at, expires_at)
    VALUES (${file.id}, ${owner.tenantId}, ${owner.projectId}, ${file.sealedKey}, ${file.createdAt}, ${file.expiresAt})`.execute(
    tx,
  )
}

export async function insertChunk(
  tx: Tx,
  chunk: {
    readonly tenantId: string
    readonly fileId: string
    readonly position: number
    readonly sealedBytes: Buffer
  },
): Promise<void> {
  await sql`
    INSERT INTO file_chunks (tenant_id, file_id, position, sealed_bytes)
    VALUES (${chunk.tenantId}, ${chunk.fileId}, ${chunk.position}, ${chunk.sealedBytes})`.execute(
    tx,
  )
}

/** Makes the file visible. Tells whether it was still there. */
export async function markStored(
  tx: Tx,
  tenantId: string,
  file: {
    readonly id: string
    readonly purpose: FilePurpose
    readonly bytes: number
    readonly sealedName: Buffer
    readonly createdAt: Date
    readonly expiresAt: Date
  },
): Promise<boolean> {
  const result = await sql`
    UPDATE files SET state = 'stored', purpose = ${file.purpose}, bytes = ${file.bytes}, sealed_name = ${file.sealedName},
      created_at = ${file.createdAt}, expires_at = ${file.expiresAt}
    WHERE tenant_id = ${tenantId} AND id = ${file.id} AND state = 'storing'`.execute(tx)
  return result.numAffectedRows === 1n
}

/** Uploads of one project are counted one after the other. */
export async function lockProject(tx: Tx, { tenantId, projectId }: Owner): Promise<void> {
  await sql`SELECT pg_advisory_xact_lock(hashtextextended(${`files:${tenantId}:${projectId}`}, 0))`.execute(
    tx,
  )
}

export async function sumBytes(tx: Tx, { tenantId, projectId }: Owner): Promise<number> {
  const result = await sql<{ bytes: string }>`
    SELECT coalesce(sum(bytes), 0)::text AS bytes FROM files
    WHERE tenant_id = ${tenantId} AND project_id = ${projectId} AND state = 'stored'`.execute(tx)
  return Number(result.rows[0]?.bytes ?? 0)
}

export async function findFile(
  tx: Tx,
  { tenantId, projectId }: Owner,
  id: string,
  now: Date,
): Promise<FileRow | undefined> {
  const result = await sql<FileRow>`
    SELECT ${columns} FROM files
    WHERE tenant_id = ${tenantId} AND project_id = ${projectId} AND id = ${id} AND state = 'stored'
      AND (expires_at > ${now} OR ${isInput})`.execute(tx)
  return result.rows[0]
}

/** One more than asked for tells that there are more. `undefined` when the row to go on from is not there. */
export async function selectFiles(
  tx: Tx,
  { tenantId, projectId }: Owner,
  page: {
    readonly after: string | undefined
    readonly limit: number
    readonly order: 'asc' | 'desc'
    readonly purpose: FilePurpose | undefined
    readonly now: Date
  },
): Promise<readonly FileRow[]> {
  const { after, purpose } = page
  const direction = sql.raw(page.order)
  const beyond = sql.raw(page.order === 'asc' ? '>' : '<')
  const result = await sql<FileRow>`
    SELECT ${columns} FROM files
    WHERE tenant_id = ${tenantId} AND project_id = ${projectId} AND state = 'stored'
      AND (expires_at > ${page.now} OR ${isInput})
      ${purpose === undefined ? sql`` : sql`AND purpose = ${purpose}`}
      ${
        after === undefined
          ? sql``
          : sql`AND (created_at, id) ${beyond} (SELECT created_at, id FROM files WHERE tenant_id = ${tenantId} AND project_id = ${projectId} AND id = ${after})`
      }
    ORDER BY created_at ${direction}, id ${direction} LIMIT ${page.limit + 1}`.execute(tx)
  return result.rows
}

/** Its content goes along. */
export async function deleteFile(
  tx: Tx,
  { tenantId, projectId }: Owner,
  id: string,
): Promise<'deleted' | 'in_use' | 'absent'> {
  // A batch that is being created holds the row; once it is there, the next statement sees it.
  const locked = await sql`
    SELECT id FROM files WHERE tenant_id = ${tenantId} AND project_id = ${projectId} AND id = ${id} AND state = 'stored' FOR UPDATE`.execute(
    tx,
  )
  if (locked.rows.length === 0) return 'absent'
  const used = await sql<{ in_use: boolean }>`
    SELECT ${isInput} AS in_use FROM files WHERE tenant_id = ${tenantId} AND id = ${id}`.execute(tx)
  if (used.rows[0]?.in_use) return 'in_use'
  await sql`DELETE FROM files WHERE tenant_id = ${tenantId} AND id = ${id}`.execute(tx)
  return 'deleted'
}

/** What never became whole. */
export async function deleteUnfinished(tx: Tx, tenantId: string, id: string): Promise<void> {
  await sql`DELETE FROM files WHERE tenant_id = ${tenantId} AND id = ${id} AND state = 'storing'`.execute(
    tx,
  )
}

/** Tells how many went. What a running batch reads stays until that has ended. */
export async function deleteExpiredFiles(tx: Tx, now: Date, rowsMax: number): Promise<number> {
  const result = await sql`
    DELETE FROM files WHERE id IN (
      SELECT id FROM files WHERE expires_at <= ${now} AND NOT ${isInput} ORDER BY expires_at LIMIT ${rowsMax} FOR UPDATE SKIP LOCKED)`.execute(
    tx,
  )
  return Number(result.numAffectedRows ?? 0)
}

export async function findChunk(
  tx: Tx,
  tenantId: string,
  fileId: string,
  position: number,
): Promise<Buffer | undefined> {
  const result = await sql<{ sealed_bytes: Buffer }>`
    SELECT sealed_bytes FROM file_chunks WHERE tenant_id = ${tenantId} AND file_id = ${fileId} AND position = ${position}`.execute(
    tx,
  )
  return result.rows[0]?.sealed_bytes
}
