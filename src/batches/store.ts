/** SQL of batches and their lines. Each statement that a caller's wish reaches names the tenant, although the scope of its transaction does too. */
import { sql, type RawBuilder } from 'kysely'
import type { Sql } from '../platform/postgres/database.ts'
import type { BatchEnd, BatchError, BatchState, BatchUsage } from './batch.ts'
import type { Owner } from './file.ts'

type Tx = Sql<unknown>

export interface BatchRow {
  readonly id: string
  readonly tenant_id: string
  readonly project_id: string
  readonly api_key_id: string
  readonly endpoint: string
  readonly input_file_id: string
  readonly state: BatchState
  readonly ends_as: BatchEnd | null
  readonly sealed_key: Buffer | null
  readonly sealed_metadata: Buffer | null
  readonly output_expires_after_s: number
  readonly errors: readonly BatchError[]
  readonly lines_total: number
  readonly lines_completed: number
  readonly lines_failed: number
  readonly input_tokens: bigint
  readonly cached_input_tokens: bigint
  readonly output_tokens: bigint
  readonly reasoning_tokens: bigint
  readonly output_file_id: string | null
  readonly error_file_id: string | null
  readonly created_at: Date
  readonly expires_at: Date
  readonly in_progress_at: Date | null
  readonly finalizing_at: Date | null
  readonly completed_at: Date | null
  readonly failed_at: Date | null
  readonly expired_at: Date | null
  readonly cancelling_at: Date | null
  readonly cancelled_at: Date | null
}

const openStates = sql.raw(`('validating', 'in_progress', 'finalizing', 'cancelling')`)
/** How long a claim holds without a sign of life. By the database's clock, which all gateways share. */
const claimS = 60
/** In one statement, so that writing it down holds the event loop for some milliseconds only. */
const linesAtOnce = 2_000
/** A trial after a pause has this long to show whether the way is free again, before another one begins. */
const trialMs = 1_000
const claimEnd = sql`now() + make_interval(secs => ${claimS})`

/** Holds the file until the commit, so that it is not deleted under a batch that is being created. */
export async function lockInput(
  tx: Tx,
  { tenantId, projectId }: Owner,
  fileId: string,
  now: Date,
): Promise<{ readonly purpose: string } | undefined> {
  const result = await sql<{ purpose: string }>`
    SELECT purpose FROM files
    WHERE tenant_id = ${tenantId} AND project_id = ${projectId} AND id = ${fileId} AND state = 'stored' AND expires_at > ${now}
    FOR SHARE`.execute(tx)
  return result.rows[0]
}

export async function countOpen(tx: Tx, { tenantId, projectId }: Owner): Promise<number> {
  const result = await sql<{ count: bigint }>`
    SELECT count(*) AS count FROM batches WHERE tenant_id = ${tenantId} AND project_id = ${projectId} AND state IN ${openStates}`.execute(
    tx,
  )
  return Number(result.rows[0]?.count ?? 0)
}

export async function insertBatch(
  tx: Tx,
  owner: Owner,
  batch: {
    readonly id: string
    readonly apiKeyId: string
    readonly endpoint: string
    readonly inputFileId: string
    readonly sealedKey: Buffer
    readonly sealedMetadata: Buffer | undefined
    readonly outputExpiresAfterS: number
    readonly createdAt: Date
    readonly expiresAt: Date
  },
): Promise<BatchRow> {
  const result = await sql<BatchRow>`
    INSERT INTO batches (id, tenant_id, project_id, api_key_id, endpoint, input_file_id, sealed_key, sealed_metadata, output_expires_after_s, created_at, expires_at)
    VALUES (${batch.id}, ${owner.tenantId}, ${owner.projectId}, ${batch.apiKeyId}, ${batch.endpoint}, ${batch.inputFileId}, ${batch.sealedKey},
      ${batch.sealedMetadata ?? null}, ${batch.outputExpiresAfterS}, ${batch.createdAt}, ${batch.expiresAt})
    RETURNING *`.execute(tx)
  return only(result.rows)
}

/** Without a project: of any of the tenant's. */
export async function findBatch(
  tx: Tx,
  owner: { readonly tenantId: string; readonly projectId?: string | undefined },
  batchId: string,
  lock = false,
): Promise<BatchRow | undefined> {
  const result = await sql<BatchRow>`
    SELECT * FROM batches WHERE tenant_id = ${owner.tenantId} ${ofProject(owner.projectId)} AND id = ${batchId} ${lock ? sql`FOR UPDATE` : sql``}`.execute(
    tx,
  )
  return result.rows[0]
}

/** The newest first; one more than asked for tells that there are more. */
export async function selectBatches(
  tx: Tx,
  owner: { readonly tenantId: string; readonly projectId?: string | undefined },
  page: { readonly after?: string | undefined; readonly limit: number },
): Promise<readonly BatchRow[]> {
  const { tenantId, projectId } = owner
  const result = await sql<BatchRow>`
    SELECT * FROM batches
    WHERE tenant_id = ${tenantId} ${ofProject(projectId)}
      ${
        page.after === undefined
          ? sql``
          : sql`AND (created_at, id) < (SELECT created_at, id FROM batches WHERE tenant_id = ${tenantId} ${ofProject(projectId)} AND id = ${page.after})`
      }
    ORDER BY created_at DESC, id DESC LIMIT ${page.limit + 1}`.execute(tx)
  return result.rows
}

function ofProject(projectId: string | undefined): RawBuilder<unknown> {
  return projectId === undefined ? sql`` : sql`AND project_id = ${projectId}`
}

export async function markCancelling(
  tx: Tx,
  tenantId: string,
  batchId: string,
  now: Date,
): Promise<BatchRow> {
  const result = await sql<BatchRow>`
    UPDATE batches SET state = 'cancelling', ends_as = 'cancelled', cancelling_at = ${now}, claimed_by = NULL, claimed_until = NULL
    WHERE tenant_id = ${tenantId} AND id = ${batchId} RETURNING *`.execute(tx)
  return only(result.rows)
}

// What follows is the work of gateways, on all tenants' batches.

/** Lines whose gateway gave no sign of life are free again; a claim on a batch as a whole simply runs out. */
export async function releaseLostLines(tx: Tx): Promise<number> {
  const result = await sql`
    UPDATE batch_lines SET state = 'waiting', claimed_by = NULL, claimed_until = NULL
    WHERE state = 'running' AND claimed_until < now()`.execute(tx)
  return Number(result.numAffectedRows ?? 0)
}

/** No line of these begins any more. */
export async function expireBatches(tx: Tx, now: Date): Promise<void> {
  await sql`
    UPDATE batches SET state = 'finalizing', ends_as = 'expired', finalizing_at = ${now}, claimed_by = NULL, claimed_until = NULL
    WHERE state IN ('validating', 'in_progress') AND expires_at <= ${now}`.execute(tx)
}

/** A batch whose input is to be checked, or whose output is to be written, because none of its lines is under way any more. */
export async function claimBatch(tx: Tx, worker: string): Promise<BatchRow | undefined> {
  const result = await sql<BatchRow>`
    UPDATE batches SET claimed_by = ${worker}, claimed_until = ${claimEnd}
    WHERE id = (
      SELECT id FROM batches b
      WHERE (claimed_until IS NULL OR claimed_until < now())
        AND (state = 'validating' OR (state IN ('finalizing', 'cancelling')
          AND NOT EXISTS (SELECT FROM batch_lines l WHERE l.batch_id = b.id AND l.state = 'running')))
      ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING *`.execute(tx)
  return result.rows[0]
}

/** Tells whether the claim still holds. */
export async function keepBatchClaim(tx: Tx, worker: string, batchId: string): Promise<boolean> {
  const result = await sql`
    UPDATE batches SET claimed_until = ${claimEnd} WHERE id = ${batchId} AND claimed_by = ${worker} AND state IN ${openStates}`.execute(
    tx,
  )
  return result.numAffectedRows === 1n
}

export async function releaseBatchClaim(tx: Tx, worker: string, batchId: string): Promise<void> {
  await sql`UPDATE batches SET claimed_by = NULL, claimed_until = NULL WHERE id = ${batchId} AND claimed_by = ${worker}`.execute(
    tx,
  )
}

/** Tells whether the batch was still waiting for that, by this worker. */
export async function beginLines(
  tx: Tx,
  worker: string,
  batch: { readonly id: string; readonly tenantId: string },
  lines: {
    readonly numbers: readonly number[]
    readonly starts: readonly number[]
    readonly lengths: readonly number[]
  },
  now: Date,
): Promise<boolean> {
  const begun = await sql`
    UPDATE batches SET state = 'in_progress', in_progress_at = ${now}, lines_total = ${lines.numbers.length}, claimed_by = NULL, claimed_until = NULL
    WHERE id = ${batch.id} AND claimed_by = ${worker} AND state = 'validating'`.execute(tx)
  if (begun.numAffectedRows !== 1n) return false
  for (let from = 0; from < lines.numbers.length; from += linesAtOnce) {
    const [numbers, starts, lengths] = [lines.numbers, lines.starts, lines.lengths].map((column) =>
      column.slice(from, from + linesAtOnce),
    )
    await sql`
      INSERT INTO batch_lines (tenant_id, batch_id, line, byte_start, byte_length)
      SELECT ${batch.tenantId}, ${batch.id}, * FROM unnest(${numbers}::integer[], ${starts}::bigint[], ${lengths}::integer[])`.execute(
      tx,
    )
  }
  return true
}

export async function failBatch(
  tx: Tx,
  worker: string,
  batchId: string,
  errors: readonly BatchError[],
  now: Date,
): Promise<void> {
  await sql`
    UPDATE batches SET state = 'failed', ends_as = 'failed', failed_at = ${now}, errors = ${JSON.stringify(errors)}, sealed_key = NULL,
      claimed_by = NULL, claimed_until = NULL
    WHERE id = ${batchId} AND claimed_by = ${worker} AND state = 'validating'`.execute(tx)
}

/** Ends a batch before its time: what is under way comes to its end, and nothing else begins. */
export async function stopBatch(
  tx: Tx,
  batchId: string,
  error: BatchError,
  now: Date,
): Promise<void> {
  await sql`
    UPDATE batches SET state = 'finalizing', ends_as = 'failed', finalizing_at = ${now}, errors = ${JSON.stringify([error])}
    WHERE id = ${batchId} AND state = 'in_progress'`.execute(tx)
}

export interface ClaimedLineRow {
  readonly line: number
  readonly byte_start: bigint
  readonly byte_length: number
  readonly generation: number
  readonly tries: number
}

/** Of the batch that waits longest for its turn. A batch that was paused is tried with one line. */
export async function claimLines(
  tx: Tx,
  worker: string,
  linesMax: number,
  now: Date,
): Promise<{ readonly batch: BatchRow; readonly lines: readonly ClaimedLineRow[] } | undefined> {
  const chosen = await sql<BatchRow & { readonly pauses: number }>`
    SELECT * FROM batches b
    WHERE state = 'in_progress' AND expires_at > ${now} AND (paused_until IS NULL OR paused_until <= ${now})
      AND EXISTS (SELECT FROM batch_lines l WHERE l.batch_id = b.id AND l.state = 'waiting')
    ORDER BY served_at NULLS FIRST, created_at LIMIT 1 FOR UPDATE`.execute(tx)
  const [batch] = chosen.rows
  if (!batch) return undefined
  const isTrial = batch.pauses > 0
  const claimed = await sql<ClaimedLineRow>`
    UPDATE batch_lines SET state = 'running', claimed_by = ${worker}, claimed_until = ${claimEnd}
    WHERE (batch_id, line) IN (
      SELECT batch_id, line FROM batch_lines WHERE batch_id = ${batch.id} AND state = 'waiting'
      ORDER BY deferrals, line LIMIT ${isTrial ? 1 : linesMax} FOR UPDATE SKIP LOCKED)
    RETURNING line, byte_start, byte_length, generation, tries`.execute(tx)
  const trialEnd = isTrial ? new Date(now.getTime() + trialMs) : null
  await sql`UPDATE batches SET served_at = clock_timestamp(), paused_until = ${trialEnd} WHERE id = ${batch.id}`.execute(
    tx,
  )
  return { batch, lines: claimed.rows.toSorted((a, b) => a.line - b.line) }
}

/** Of the lines that it names, for a worker may have lost sight of others. */
export async function keepLineClaims(
  tx: Tx,
  worker: string,
  lines: readonly { readonly batchId: string; readonly line: number }[],
): Promise<void> {
  const batchIds = lines.map(({ batchId }) => batchId)
  const numbers = lines.map(({ line }) => line)
  await sql`
    UPDATE batch_lines SET claimed_until = ${claimEnd}
    WHERE (batch_id, line) IN (SELECT * FROM unnest(${batchIds}::text[], ${numbers}::integer[]))
      AND claimed_by = ${worker} AND state = 'running'`.execute(tx)
}

/** Notes a result, unless the claim was lost. The last one ends the batch. */
export async function finishLine(
  tx: Tx,
  worker: string,
  line: {
    readonly batchId: string
    readonly line: number
    readonly sealedResult: Buffer
    readonly failed: boolean
    readonly usage: BatchUsage
  },
  now: Date,
): Promise<boolean> {
  const { batchId, usage } = line
  const noted = await sql`
    UPDATE batch_lines SET state = 'done', claimed_by = NULL, claimed_until = NULL, failed = ${line.failed}, sealed_result = ${line.sealedResult}
    WHERE batch_id = ${batchId} AND line = ${line.line} AND claimed_by = ${worker} AND state = 'running'`.execute(
    tx,
  )
  if (noted.numAffectedRows !== 1n) return false
  await sql`
    UPDATE batches SET
      lines_completed = lines_completed + ${line.failed ? 0 : 1}, lines_failed = lines_failed + ${line.failed ? 1 : 0},
      input_tokens = input_tokens + ${usage.inputTokens}, cached_input_tokens = cached_input_tokens + ${usage.cachedInputTokens},
      output_tokens = output_tokens + ${usage.outputTokens}, reasoning_tokens = reasoning_tokens + ${usage.reasoningTokens},
      pauses = 0, paused_until = NULL
    WHERE id = ${batchId}`.execute(tx)
  await sql`
    UPDATE batches SET state = 'finalizing', ends_as = 'completed', finalizing_at = ${now}
    WHERE id = ${batchId} AND state = 'in_progress' AND lines_completed + lines_failed = lines_total`.execute(
    tx,
  )
  return true
}

/** Puts a line back. */
export async function deferLine(
  tx: Tx,
  worker: string,
  line: {
    readonly batchId: string
    readonly line: number
    readonly costNothing: boolean
    readonly hasFailed: boolean
  },
): Promise<void> {
  await sql`
    UPDATE batch_lines SET state = 'waiting', claimed_by = NULL, claimed_until = NULL, deferrals = deferrals + 1,
      generation = generation + ${line.costNothing ? 1 : 0}, tries = tries + ${line.hasFailed ? 1 : 0}
    WHERE batch_id = ${line.batchId} AND line = ${line.line} AND claimed_by = ${worker} AND state = 'running'`.execute(
    tx,
  )
}

/** Puts back a line that never began. */
export async function returnLine(
  tx: Tx,
  worker: string,
  line: { readonly batchId: string; readonly line: number },
): Promise<void> {
  await sql`
    UPDATE batch_lines SET state = 'waiting', claimed_by = NULL, claimed_until = NULL
    WHERE batch_id = ${line.batchId} AND line = ${line.line} AND claimed_by = ${worker} AND state = 'running'`.execute(
    tx,
  )
}

/** Nothing of the batch begins before. Several lines that meet the same wall count as one pause. */
export async function pauseBatch(
  tx: Tx,
  batchId: string,
  pause: { readonly msMin: number; readonly msMax: number },
  now: Date,
): Promise<void> {
  await sql`
    UPDATE batches SET pauses = pauses + 1,
      paused_until = ${now}::timestamptz + make_interval(secs => least(${pause.msMin}::double precision * power(2, least(pauses, 10)), ${pause.msMax}::double precision) / 1000)
    WHERE id = ${batchId} AND state = 'in_progress' AND (paused_until IS NULL OR paused_until <= ${new Date(now.getTime() + trialMs)})`.execute(
    tx,
  )
}

export interface LineRow {
  readonly line: number
  readonly byte_start: bigint
  readonly byte_length: number
  readonly state: 'waiting' | 'running' | 'done'
  readonly failed: boolean
  readonly sealed_result: Buffer | null
}

/** The next lines, as many as have this many bytes of results together, and one at least. */
export async function selectLines(
  tx: Tx,
  batchId: string,
  after: number,
  bounds: { readonly rows: number; readonly bytes: number },
): Promise<readonly LineRow[]> {
  const result = await sql<LineRow>`
    SELECT line, byte_start, byte_length, state, failed, sealed_result FROM (
      SELECT *, sum(result_bytes) OVER (ORDER BY line) - result_bytes AS bytes_before FROM (
        SELECT *, coalesce(octet_length(sealed_result), 0) AS result_bytes FROM batch_lines
        WHERE batch_id = ${batchId} AND line > ${after} ORDER BY line LIMIT ${bounds.rows}) AS next) AS page
    WHERE bytes_before <= ${bounds.bytes} ORDER BY line`.execute(tx)
  return result.rows
}

/** Its results go, and their key. Tells whether the claim still held. */
export async function endBatch(
  tx: Tx,
  worker: string,
  batch: {
    readonly id: string
    readonly endsAs: BatchEnd
    readonly outputFileId: string | undefined
    readonly errorFileId: string | undefined
  },
  now: Date,
): Promise<boolean> {
  const endedAt = sql.raw(`${batch.endsAs}_at`)
  const ended = await sql`
    UPDATE batches SET state = ${batch.endsAs}, ${endedAt} = ${now}, finalizing_at = coalesce(finalizing_at, ${now}),
      lines_failed = lines_total - lines_completed, sealed_key = NULL, output_file_id = ${batch.outputFileId ?? null},
      error_file_id = ${batch.errorFileId ?? null}, claimed_by = NULL, claimed_until = NULL, paused_until = NULL
    WHERE id = ${batch.id} AND claimed_by = ${worker} AND state IN ('finalizing', 'cancelling')`.execute(
    tx,
  )
  if (ended.numAffectedRows !== 1n) return false
  await sql`DELETE FROM batch_lines WHERE batch_id = ${batch.id}`.execute(tx)
  return true
}

/** Of all gateways: for the metric. */
export async function countWaiting(tx: Tx): Promise<number> {
  const result = await sql<{ count: string }>`
    SELECT coalesce(sum(lines_total - lines_completed - lines_failed), 0)::text AS count FROM batches WHERE state = 'in_progress'`.execute(
    tx,
  )
  return Number(result.rows[0]?.count ?? 0)
}

function only<Row>(rows: readonly Row[]): Row {
  const [row] = rows
  if (!row) throw new Error('the statement returns one row')
  return row
}
