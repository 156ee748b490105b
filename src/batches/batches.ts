/** Front door of batches for those who ask for them and about them. The work is done by whoever holds `queue.ts`. */
import { assert } from '../platform/assert.ts'
import type { Clock } from '../platform/clock.ts'
import { Fault } from '../platform/fault.ts'
import { randomBase62 } from '../platform/ids.ts'
import type { Database, Sql } from '../platform/postgres/database.ts'
import type { Seal } from '../platform/seal.ts'
import { newContentKey } from '../platform/sealed-content.ts'
import {
  batchKeyContext,
  cancelOutcome,
  completionWindowMs,
  metadataContext,
  openBatchesMax,
  type Batch,
} from './batch.ts'
import type { CreationKey } from './creation-key.ts'
import type { Owner } from './file.ts'
import { scopeOf } from './files.ts'
import * as store from './store.ts'

export interface NewBatch {
  readonly apiKeyId: string
  readonly endpoint: string
  readonly inputFileId: string
  readonly metadata: Readonly<Record<string, string>> | undefined
  readonly outputLifeMs: number
}

export interface BatchPage {
  readonly after?: string | undefined
  readonly limit: number
}

export interface Batches {
  /** What a batch may ask for, such as `/v1/chat/completions`. */
  readonly endpoints: readonly string[]
  /** A repetition gets the batch that is there, as it stands now. */
  create(owner: Owner, batch: NewBatch, key?: CreationKey): Promise<Batch>
  find(owner: Owner, batchId: string): Promise<Batch | undefined>
  list(owner: Owner, page: BatchPage): Promise<{ batches: readonly Batch[]; hasMore: boolean }>
  /** `undefined` when there is none. Throws `client.conflict` for one that has ended otherwise. */
  cancel(owner: Owner, batchId: string): Promise<Batch | undefined>
}

export function openBatches(options: {
  readonly database: Database
  readonly seal: Seal
  readonly clock: Clock
  readonly endpoints: readonly string[]
}): Batches {
  const { database, seal, clock, endpoints } = options
  const now = (): Date => new Date(clock.nowMs())
  const inScope = <Result>(owner: Owner, work: (tx: Sql<unknown>) => Promise<Result>) =>
    database.transaction<unknown, Result>(scopeOf(owner), work)

  return {
    endpoints,
    async create(owner, batch, key) {
      assert(endpoints.includes(batch.endpoint), 'a batch asks for one of the endpoints')
      const id = `batch_${randomBase62(24)}`
      const createdAt = now()
      const sealedMetadata =
        batch.metadata &&
        seal.seal(Buffer.from(JSON.stringify(batch.metadata)), metadataContext(id))
      return inScope(owner, async (tx) => {
        const earlier = await key?.find(tx, (earlierId) => store.findBatch(tx, owner, earlierId))
        if (earlier) return toBatch(earlier, seal)
        const input = await store.lockInput(tx, owner, batch.inputFileId, createdAt)
        if (!input) throw noInput()
        if (input.purpose !== 'batch') throw wrongPurpose()
        if ((await store.countOpen(tx, owner)) >= openBatchesMax) throw tooMany()
        const row = await store.insertBatch(tx, owner, {
          id,
          apiKeyId: batch.apiKeyId,
          endpoint: batch.endpoint,
          inputFileId: batch.inputFileId,
          sealedKey: newContentKey(seal, batchKeyContext(id)).sealedKey,
          sealedMetadata,
          outputExpiresAfterS: Math.round(batch.outputLifeMs / 1_000),
          createdAt,
          expiresAt: new Date(createdAt.getTime() + completionWindowMs),
        })
        await key?.keep(tx, id)
        return toBatch(row, seal)
      })
    },
    async find(owner, batchId) {
      const row = await inScope(owner, (tx) => store.findBatch(tx, owner, batchId))
      return row && toBatch(row, seal)
    },
    async list(owner, page) {
      const rows = await inScope(owner, (tx) => store.selectBatches(tx, owner, page))
      return {
        batches: rows.slice(0, page.limit).map((row) => toBatch(row, seal)),
        hasMore: rows.length > page.limit,
      }
    },
    cancel: (owner, batchId) =>
      inScope(owner, (tx) => cancelBatch(tx, owner, batchId, { now: now(), seal })),
  }
}

/** For operators, who see no metadata: that is the caller's. */
export async function listTenantBatches(
  tx: Sql<unknown>,
  tenantId: string,
  page: BatchPage,
): Promise<{ rows: readonly Batch[]; hasMore: boolean }> {
  const rows = await store.selectBatches(tx, { tenantId }, page)
  return {
    rows: rows.slice(0, page.limit).map((row) => toBatch(row)),
    hasMore: rows.length > page.limit,
  }
}

export async function findTenantBatch(
  tx: Sql<unknown>,
  tenantId: string,
  batchId: string,
): Promise<Batch | undefined> {
  const row = await store.findBatch(tx, { tenantId }, batchId)
  return row && toBatch(row)
}

/** What is under way comes to its end and is delivered; nothing else begins. May be called twice. Without a project: of any of the tenant's. */
export async function cancelBatch(
  tx: Sql<unknown>,
  owner: { readonly tenantId: string; readonly projectId?: string | undefined },
  batchId: string,
  { now, seal }: { readonly now: Date; readonly seal?: Seal | undefined },
): Promise<Batch | undefined> {
  const row = await store.findBatch(tx, owner, batchId, true)
  if (!row) return undefined
  const outcome = cancelOutcome(row.state)
  if (outcome === 'already') return toBatch(row, seal)
  if (outcome === 'refused')
    throw new Fault({
      code: 'client.conflict',
      public: `A batch with the status '${row.state}' cannot be cancelled.`,
    })
  return toBatch(await store.markCancelling(tx, owner.tenantId, batchId, now), seal)
}

function toBatch(row: store.BatchRow, seal?: Seal): Batch {
  const metadata =
    seal && row.sealed_metadata && seal.open(row.sealed_metadata, metadataContext(row.id))
  const ms = (moment: Date | null): number | undefined => moment?.getTime()
  return {
    id: row.id,
    tenantId: row.tenant_id,
    projectId: row.project_id,
    apiKeyId: row.api_key_id,
    endpoint: row.endpoint,
    inputFileId: row.input_file_id,
    state: row.state,
    // Written by `create`.
    metadata: metadata ? (JSON.parse(metadata.toString('utf8')) as Batch['metadata']) : undefined,
    errors: row.errors,
    counts: {
      total: row.lines_total,
      completed: row.lines_completed,
      failed: row.lines_failed,
    },
    usage: {
      inputTokens: Number(row.input_tokens),
      cachedInputTokens: Number(row.cached_input_tokens),
      outputTokens: Number(row.output_tokens),
      reasoningTokens: Number(row.reasoning_tokens),
    },
    outputFileId: row.output_file_id ?? undefined,
    errorFileId: row.error_file_id ?? undefined,
    createdAtMs: row.created_at.getTime(),
    expiresAtMs: row.expires_at.getTime(),
    inProgressAtMs: ms(row.in_progress_at),
    finalizingAtMs: ms(row.finalizing_at),
    completedAtMs: ms(row.completed_at),
    failedAtMs: ms(row.failed_at),
    expiredAtMs: ms(row.expired_at),
    cancellingAtMs: ms(row.cancelling_at),
    cancelledAtMs: ms(row.cancelled_at),
  }
}

function noInput(): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: 'There is no such file in this project. Upload it with the purpose batch.',
    param: 'input_file_id',
  })
}

function wrongPurpose(): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: 'A batch reads files that were uploaded with the purpose batch.',
    param: 'input_file_id',
  })
}

function tooMany(): Fault {
  return new Fault({
    code: 'limits.rate_exceeded',
    public: `This project has ${openBatchesMax} batches under way, which is the most. Try again when one has ended.`,
    retryAfterMs: 60_000,
  })
}
