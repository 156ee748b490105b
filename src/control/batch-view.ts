/** A batch as the control API shows it: what it is, how far it is, and never what stands in it. */
import { z } from 'zod'
import { batchStates, type Batch } from '../batches/batch.ts'
import { Fault } from '../platform/fault.ts'

const moment = z.string().nullable()

export const batchView = z.object({
  id: z.string(),
  tenantId: z.string(),
  projectId: z.string(),
  apiKeyId: z.string(),
  endpoint: z.string(),
  inputFileId: z.string(),
  outputFileId: z.string().nullable(),
  errorFileId: z.string().nullable(),
  state: z.enum(batchStates),
  lines: z.object({ total: z.number(), completed: z.number(), failed: z.number() }),
  usage: z.object({
    inputTokens: z.number(),
    cachedInputTokens: z.number(),
    outputTokens: z.number(),
    reasoningTokens: z.number(),
  }),
  errors: z.array(
    z.object({
      code: z.string(),
      message: z.string(),
      line: z.number().nullable(),
      param: z.string().nullable(),
    }),
  ),
  createdAt: z.string(),
  expiresAt: z.string(),
  inProgressAt: moment,
  finalizingAt: moment,
  endedAt: moment,
})

export function viewBatch(batch: Batch): z.infer<typeof batchView> {
  const { completedAtMs, failedAtMs, expiredAtMs, cancelledAtMs } = batch
  return {
    id: batch.id,
    tenantId: batch.tenantId,
    projectId: batch.projectId,
    apiKeyId: batch.apiKeyId,
    endpoint: batch.endpoint,
    inputFileId: batch.inputFileId,
    outputFileId: batch.outputFileId ?? null,
    errorFileId: batch.errorFileId ?? null,
    state: batch.state,
    lines: batch.counts,
    usage: batch.usage,
    errors: [...batch.errors],
    createdAt: new Date(batch.createdAtMs).toISOString(),
    expiresAt: new Date(batch.expiresAtMs).toISOString(),
    inProgressAt: toMoment(batch.inProgressAtMs),
    finalizingAt: toMoment(batch.finalizingAtMs),
    endedAt: toMoment(completedAtMs ?? failedAtMs ?? expiredAtMs ?? cancelledAtMs),
  }
}

function toMoment(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString()
}

export function batchNotFound(): Fault {
  return new Fault({ code: 'client.not_found', public: 'There is no such batch.' })
}
