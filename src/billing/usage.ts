/** What a request is charged for: token usage, the prices pinned at admission, and how it ended. Types only. */
import type { TokenUsage } from '../engines/engine.ts'

export type Outcome =
  | 'completed'
  | 'client_left'
  | 'upstream_failed'
  | 'guardrail_stopped'
  | 'crashed'
  | 'voided'

/** Nano-units of `currency` for one token of each class, fixed for the whole request at admission. */
export interface PinnedPrice {
  /** Names the rows that it came from: `<price list>@<effective from>`. */
  readonly version: string
  readonly currency: string
  readonly inputNanos: bigint
  readonly cachedInputNanos: bigint
  readonly outputNanos: bigint
  readonly reasoningNanos: bigint
}

/** Known at admission; durable in the journal before the first byte goes upstream. */
export interface OpenedRequest {
  readonly requestId: string
  readonly leg: number
  readonly tenantId: string
  readonly projectId: string
  readonly apiKeyId: string
  readonly modelId: string
  readonly endpoint: string
  readonly streamed: boolean
  readonly price: PinnedPrice
  /** Our own estimate of the prompt, billed when nobody can tell the true count any more. */
  readonly estimatedInputTokens: number
  /** The most that this request may ever produce; the hold covers it. */
  readonly maxOutputTokens: number
  /** The amount held: never exceeded by the charge. */
  readonly heldNanos: bigint
  readonly startedAtMs: number
}

export interface SettledRequest {
  readonly outcome: Outcome
  readonly usage: TokenUsage
  readonly usageSuspect: boolean
  readonly amountNanos: bigint
  readonly replicaId: string | undefined
  readonly timeToFirstTokenMs: number | undefined
  readonly durationMs: number
  readonly settledAtMs: number
}
