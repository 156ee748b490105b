/** OpenAI's batches, in and out. */
import { z } from 'zod'
import {
  batchPageRowsMax,
  metadataKeyLengthMax,
  metadataPairsMax,
  metadataValueLengthMax,
  type Batch,
} from '../../../batches/batch.ts'
import type { BatchPage, NewBatch } from '../../../batches/batches.ts'
import { outputLifeMs } from '../../../batches/file.ts'
import { Fault } from '../../../platform/fault.ts'
import { invalidField } from './chat-request.ts'
import { expiresAfter } from './files.ts'

const metadata = z
  .record(z.string().max(metadataKeyLengthMax), z.string().max(metadataValueLengthMax))
  .refine((pairs) => Object.keys(pairs).length <= metadataPairsMax, {
    error: `takes up to ${metadataPairsMax} pairs`,
  })

export const schema = z.object({
  input_file_id: z.string().min(1).max(100),
  endpoint: z.string().max(100),
  completion_window: z.literal('24h', { error: "takes '24h'" }),
  metadata: metadata.nullish(),
  output_expires_after: expiresAfter.nullish(),
})

export function parseBatchRequest(
  value: unknown,
  endpoints: readonly string[],
): Omit<NewBatch, 'apiKeyId'> {
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw invalidField(parsed.error)
  const { endpoint, input_file_id: inputFileId, output_expires_after: outputs } = parsed.data
  if (!endpoints.includes(endpoint))
    throw new Fault({
      code: 'client.unsupported_value',
      public: `'endpoint' takes one of ${endpoints.join(', ')}.`,
      param: 'endpoint',
    })
  return {
    endpoint,
    inputFileId,
    metadata: parsed.data.metadata ?? undefined,
    outputLifeMs: outputs ? outputs.seconds * 1_000 : outputLifeMs,
  }
}

export const batchQuery = z.object({
  after: z.string().max(100).optional(),
  limit: z.coerce.number().int().min(1).max(batchPageRowsMax).default(20),
})

export function parseBatchQuery(query: URLSearchParams): BatchPage {
  const parsed = batchQuery.safeParse(Object.fromEntries(query))
  if (!parsed.success) throw invalidField(parsed.error)
  return parsed.data
}

export function toWireBatch(batch: Batch): Record<string, unknown> {
  const { usage, counts } = batch
  return {
    id: batch.id,
    object: 'batch',
    endpoint: batch.endpoint,
    errors: batch.errors.length === 0 ? null : { object: 'list', data: batch.errors },
    input_file_id: batch.inputFileId,
    completion_window: '24h',
    status: batch.state,
    output_file_id: batch.outputFileId ?? null,
    error_file_id: batch.errorFileId ?? null,
    created_at: toSeconds(batch.createdAtMs),
    in_progress_at: toSeconds(batch.inProgressAtMs),
    expires_at: toSeconds(batch.expiresAtMs),
    finalizing_at: toSeconds(batch.finalizingAtMs),
    completed_at: toSeconds(batch.completedAtMs),
    failed_at: toSeconds(batch.failedAtMs),
    expired_at: toSeconds(batch.expiredAtMs),
    cancelling_at: toSeconds(batch.cancellingAtMs),
    cancelled_at: toSeconds(batch.cancelledAtMs),
    request_counts: counts,
    usage: {
      input_tokens: usage.inputTokens,
      input_tokens_details: { cached_tokens: usage.cachedInputTokens },
      output_tokens: usage.outputTokens,
      output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
      total_tokens: usage.inputTokens + usage.outputTokens,
    },
    metadata: batch.metadata ?? null,
  }
}

export function batchNotFound(): Fault {
  return new Fault({
    code: 'client.not_found',
    public: 'There is no such batch in this project.',
    param: 'batch_id',
  })
}

function toSeconds(ms: number | undefined): number | null {
  return ms === undefined ? null : Math.floor(ms / 1_000)
}
