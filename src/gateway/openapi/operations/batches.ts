import { z } from 'zod'
import { batchStates } from '../../../batches/batch.ts'
import { batchQuery, schema as request } from '../../wire/openai/batches.ts'
import { count, listOf, seconds } from '../answers.ts'
import { creationFaults } from '../errors.ts'
import type { NamedSchema, OperationDoc } from '../operation.ts'

const moment = seconds.nullable()

const batch: NamedSchema = {
  name: 'Batch',
  schema: z.object({
    id: z.string(),
    object: z.literal('batch'),
    endpoint: z.string(),
    errors: z
      .object({
        object: z.literal('list'),
        data: z
          .array(
            z.object({
              code: z.string(),
              message: z.string(),
              line: z.number().int().min(1).nullable(),
              param: z.string().nullable(),
            }),
          )
          .min(1),
      })
      .nullable(),
    input_file_id: z.string(),
    completion_window: z.literal('24h'),
    status: z.enum(batchStates),
    output_file_id: z.string().nullable(),
    error_file_id: z.string().nullable(),
    created_at: seconds,
    in_progress_at: moment,
    expires_at: moment,
    finalizing_at: moment,
    completed_at: moment,
    failed_at: moment,
    expired_at: moment,
    cancelling_at: moment,
    cancelled_at: moment,
    request_counts: z.object({ total: count, completed: count, failed: count }),
    usage: z.object({
      input_tokens: count,
      input_tokens_details: z.object({ cached_tokens: count }),
      output_tokens: count,
      output_tokens_details: z.object({ reasoning_tokens: count }),
      total_tokens: count,
    }),
    metadata: z.record(z.string(), z.string()).nullable(),
  }),
}
const batchId = { batch_id: 'Of a batch of this project.' }
const one = [{ content: [{ type: 'application/json', ...batch } as const] }]

export const createBatchDoc: OperationDoc = {
  id: 'createBatch',
  summary: 'Run many requests within 24 hours, at half the price',
  description:
    'The input is a file of JSON Lines, each with `custom_id`, `method`, `url` and `body`. Results are kept for 7 days.',
  tag: 'Batches',
  headerParameters: ['idempotency-key'],
  request: {
    type: 'application/json',
    name: 'BatchRequest',
    schema: request,
    examples: {
      'Chats of a file': {
        input_file_id: 'file-4Q0Jm9d2sVbX7TzYkLwPaR',
        endpoint: '/v1/chat/completions',
        completion_window: '24h',
        metadata: { job: 'nightly' },
      },
    },
  },
  answers: one.map((answer) => ({ ...answer, headers: ['idempotency-replayed'] as const })),
  faults: [...creationFaults, 'limits.rate_exceeded', 'platform.database_unavailable'],
}

export const listBatchesDoc: OperationDoc = {
  id: 'listBatches',
  summary: 'List the batches of this project',
  tag: 'Batches',
  query: batchQuery,
  answers: [
    { content: [{ type: 'application/json', name: 'BatchList', schema: listOf(batch.schema) }] },
  ],
  faults: ['client.not_found', 'platform.database_unavailable'],
}

export const retrieveBatchDoc: OperationDoc = {
  id: 'retrieveBatch',
  summary: 'Look at one batch',
  tag: 'Batches',
  pathParameters: batchId,
  answers: one,
  faults: ['client.not_found', 'platform.database_unavailable'],
}

export const cancelBatchDoc: OperationDoc = {
  id: 'cancelBatch',
  summary: 'Stop a batch, and keep what is done',
  tag: 'Batches',
  pathParameters: batchId,
  answers: one,
  faults: ['client.not_found', 'client.conflict', 'platform.database_unavailable'],
}
