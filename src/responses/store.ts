/** SQL of kept responses. Each statement names the tenant, although the scope of its transaction does too. */
import { sql } from 'kysely'
import type { Sql } from '../platform/postgres/database.ts'

type Tx = Sql<unknown>

export interface Place {
  readonly tenantId: string
  readonly projectId: string
}

export interface ResponseRow {
  readonly id: string
  readonly previous_id: string | null
  readonly bytes: bigint
  readonly sealed_key: Buffer
  readonly created_at: Date
}

const columns = ['id', 'previous_id', 'bytes', 'sealed_key', 'created_at']
const columnsOf = (table: string) => sql.raw(columns.map((name) => `${table}.${name}`).join(', '))

export async function readTotal(tx: Tx, { tenantId, projectId }: Place): Promise<number> {
  const result = await sql<{ bytes: bigint }>`
    SELECT bytes FROM stored_response_totals WHERE tenant_id = ${tenantId} AND project_id = ${projectId}`.execute(
    tx,
  )
  return Number(result.rows[0]?.bytes ?? 0)
}

/** Returns what the project's responses take from now on. */
export async function addToTotal(
  tx: Tx,
  { tenantId, projectId }: Place,
  bytes: number,
): Promise<number> {
  const result = await sql<{ bytes: bigint }>`
    INSERT INTO stored_response_totals AS total (tenant_id, project_id, bytes) VALUES (${tenantId}, ${projectId}, ${bytes})
    ON CONFLICT (tenant_id, project_id) DO UPDATE SET bytes = total.bytes + excluded.bytes
    RETURNING bytes`.execute(tx)
  return Number(result.rows[0]?.bytes ?? 0)
}

export async function insertResponse(
  tx: Tx,
  { tenantId, projectId }: Place,
  response: {
    readonly id: string
    readonly previousId: string | undefined
    readonly bytes: number
    readonly sealedKey: Buffer
    readonly createdAt: Date
  },
): Promise<void> {
  await sql`
    INSERT INTO stored_responses (id, tenant_id, project_id, previous_id, bytes, sealed_key, created_at)
    VALUES (${response.id}, ${tenantId}, ${projectId}, ${response.previousId ?? null}, ${response.bytes}, ${response.sealedKey},
      ${response.createdAt})`.execute(tx)
}

export async function insertChunk(
  tx: Tx,
  chunk: {
    readonly tenantId: string
    readonly responseId: string
    readonly position: number
    readonly sealedBytes: Buffer
  },
): Promise<void> {
  await sql`
    INSERT INTO stored_response_chunks (tenant_id, response_id, position, sealed_bytes)
    VALUES (${chunk.tenantId}, ${chunk.responseId}, ${chunk.position}, ${chunk.sealedBytes})`.execute(
    tx,
  )
}

export async function findResponse(
  tx: Tx,
  { tenantId, projectId }: Place,
  id: string,
  since: Date,
): Promise<ResponseRow | undefined> {
  const result = await sql<ResponseRow>`
    SELECT ${columnsOf('stored_responses')} FROM stored_responses
    WHERE tenant_id = ${tenantId} AND project_id = ${projectId} AND id = ${id} AND created_at > ${since}`.execute(
    tx,
  )
  return result.rows[0]
}

/** The response and those before it, newest first, as far as they are there. */
export async function selectConversation(
  tx: Tx,
  { tenantId, projectId }: Place,
  id: string,
  bounds: { readonly since: Date; readonly rowsMax: number },
): Promise<readonly ResponseRow[]> {
  const isTheirs = (table: string) =>
    sql`${sql.raw(table)}.tenant_id = ${tenantId} AND ${sql.raw(table)}.project_id = ${projectId} AND ${sql.raw(table)}.created_at > ${bounds.since}`
  const result = await sql<ResponseRow>`
    WITH RECURSIVE conversation AS (
      SELECT ${columnsOf('stored_responses')}, 1 AS place FROM stored_responses WHERE id = ${id} AND ${isTheirs('stored_responses')}
      UNION ALL
      SELECT ${columnsOf('earlier')}, place + 1 FROM conversation JOIN stored_responses AS earlier
        ON earlier.id = conversation.previous_id AND ${isTheirs('earlier')} WHERE place < ${bounds.rowsMax}
    )
    SELECT ${columnsOf('conversation')} FROM conversation ORDER BY place`.execute(tx)
  return result.rows
}

export interface ChunkRow {
  readonly response_id: string
  readonly position: number
  readonly sealed_bytes: Buffer
}

export async function selectChunks(
  tx: Tx,
  tenantId: string,
  responseIds: readonly string[],
): Promise<readonly ChunkRow[]> {
  const result = await sql<ChunkRow>`
    SELECT response_id, position, sealed_bytes FROM stored_response_chunks
    WHERE tenant_id = ${tenantId} AND response_id = ANY(${[...responseIds]}::text[]) ORDER BY response_id, position`.execute(
    tx,
  )
  return result.rows
}

/** Its content goes along. Tells whether it was there. */
export async function deleteResponse(
  tx: Tx,
  place: Place,
  id: string,
  since: Date,
): Promise<boolean> {
  const { tenantId, projectId } = place
  const gone = await sql<{ bytes: bigint }>`
    DELETE FROM stored_responses
    WHERE tenant_id = ${tenantId} AND project_id = ${projectId} AND id = ${id} AND created_at > ${since}
    RETURNING bytes`.execute(tx)
  const [row] = gone.rows
  if (!row) return false
  await sql`
    UPDATE stored_response_totals SET bytes = bytes - ${row.bytes} WHERE tenant_id = ${tenantId} AND project_id = ${projectId}`.execute(
    tx,
  )
  return true
}

/**
 * Deletes what is older than its tenant keeps responses, and all of tenants that keep none. Tells how many went. One at a time: two that change the same totals
 * could wait for each other in a circle.
 */
export async function deleteOutdated(tx: Tx, now: Date, rowsMax: number): Promise<number> {
  const lock = await sql<{ mine: boolean }>`
    SELECT pg_try_advisory_xact_lock(hashtextextended('stored_responses:sweep', 0)) AS mine`.execute(
    tx,
  )
  if (!lock.rows[0]?.mine) return 0
  const result = await sql<{ count: number }>`
    WITH outdated AS (
      SELECT response.id FROM tenants
      CROSS JOIN LATERAL (
        SELECT id FROM stored_responses
        WHERE tenant_id = tenants.id
          AND created_at <= coalesce(${now}::timestamptz - make_interval(hours => 24 * tenants.responses_kept_days), 'infinity')
        ORDER BY created_at LIMIT ${rowsMax}
      ) AS response
      WHERE tenants.id IN (SELECT tenant_id FROM stored_response_totals WHERE bytes > 0)
      LIMIT ${rowsMax}
    ), gone AS (
      DELETE FROM stored_responses WHERE id IN (SELECT id FROM outdated) RETURNING tenant_id, project_id, bytes
    ), less AS (
      UPDATE stored_response_totals AS total SET bytes = total.bytes - part.bytes
      FROM (SELECT tenant_id, project_id, sum(bytes) AS bytes FROM gone GROUP BY tenant_id, project_id) AS part
      WHERE total.tenant_id = part.tenant_id AND total.project_id = part.project_id
    )
    SELECT count(*)::int AS count FROM gone`.execute(tx)
  return result.rows[0]?.count ?? 0
}
