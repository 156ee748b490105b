/** A batch: the noun, its states and its bounds. Pure. */

export const batchStates = [
  'validating',
  'in_progress',
  'finalizing',
  'completed',
  'failed',
  'expired',
  'cancelling',
  'cancelled',
] as const
export type BatchState = (typeof batchStates)[number]

export type BatchEnd = 'completed' | 'failed' | 'expired' | 'cancelled'

/** What is wrong with a batch as a whole, or with a line of its input. Never quotes either. */
export interface BatchError {
  readonly code: string
  readonly message: string
  /** Counted from 1. */
  readonly line: number | null
  readonly param: string | null
}

export interface BatchUsage {
  readonly inputTokens: number
  readonly cachedInputTokens: number
  readonly outputTokens: number
  readonly reasoningTokens: number
}

export interface Batch {
  readonly id: string
  readonly tenantId: string
  readonly projectId: string
  readonly apiKeyId: string
  readonly endpoint: string
  readonly inputFileId: string
  readonly state: BatchState
  readonly metadata: Readonly<Record<string, string>> | undefined
  readonly errors: readonly BatchError[]
  readonly counts: { readonly total: number; readonly completed: number; readonly failed: number }
  readonly usage: BatchUsage
  readonly outputFileId: string | undefined
  readonly errorFileId: string | undefined
  readonly createdAtMs: number
  readonly expiresAtMs: number
  readonly inProgressAtMs: number | undefined
  readonly finalizingAtMs: number | undefined
  readonly completedAtMs: number | undefined
  readonly failedAtMs: number | undefined
  readonly expiredAtMs: number | undefined
  readonly cancellingAtMs: number | undefined
  readonly cancelledAtMs: number | undefined
}

/** `completion_window: "24h"`, the only one. */
export const completionWindowMs = 24 * 3_600_000
export const linesMax = 50_000
export const errorsMax = 100
/** Under way in one project. */
export const openBatchesMax = 100
export const batchPageRowsMax = 100
export const metadataPairsMax = 16
export const metadataKeyLengthMax = 64
export const metadataValueLengthMax = 512
/** A line whose engine failed is run again, up to this many runs in all. */
export const triesMax = 3

export const batchKeyContext = (batchId: string): string => `batches|sealed_key|${batchId}`
export const metadataContext = (batchId: string): string => `batches|sealed_metadata|${batchId}`
export const resultContext = (batchId: string, line: number): string =>
  `batch_lines|sealed_result|${batchId}|${line}`

/** What a cancellation does to a batch in a state. */
export function cancelOutcome(state: BatchState): 'cancel' | 'already' | 'refused' {
  if (state === 'validating' || state === 'in_progress') return 'cancel'
  return state === 'cancelling' || state === 'cancelled' ? 'already' : 'refused'
}
