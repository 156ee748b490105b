/** What a request is charged for: usage, the prices pinned at admission, and how it ended. Types only. */
import type { TokenUsage } from '../engines/engine.ts'
import type { LimitCharge, LimitTake } from '../limits/authority.ts'

export type Outcome =
  | 'completed'
  | 'client_left'
  | 'upstream_failed'
  | 'guardrail_stopped'
  | 'crashed'
  | 'voided'

/** All that any surface of the API is billed for. Tokens are always there; the rest where a surface has it. */
export interface BillableUsage extends TokenUsage {
  readonly units?: UsageUnits | undefined
}

/** Whole numbers of at least 0. `undefined` means none. */
export interface UsageUnits {
  /** Part of `inputTokens` that the platform's own instructions took, beside those cached. */
  readonly systemTokens?: number | undefined
  /** Charged by the started minute. */
  readonly audioMs?: number | undefined
  readonly characters?: number | undefined
  readonly images?: number | undefined
  readonly rerankTokens?: number | undefined
}

/** Nano-units of `currency` for one unit of each class, fixed for the whole request at admission. */
export interface PinnedPrice {
  /** Names the rows that it came from: `<price list>@<effective from>`. */
  readonly version: string
  readonly currency: string
  readonly inputNanos: bigint
  readonly cachedInputNanos: bigint
  readonly outputNanos: bigint
  readonly reasoningNanos: bigint
  readonly units?: UnitPrices | undefined
  /** Hundredths of a percent off the whole: 5000 is half, as for batches. `undefined` is none. At most 10000. */
  readonly discountBasisPoints?: number | undefined
}

/** `undefined`: the unit has no price, and a surface that needs it is not offered. */
export interface UnitPrices {
  /** `undefined`: that of input. */
  readonly systemTokenNanos?: bigint | undefined
  readonly audioMinuteNanos?: bigint | undefined
  readonly characterNanos?: bigint | undefined
  readonly imageNanos?: bigint | undefined
  readonly rerankTokenNanos?: bigint | undefined
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
  /** The amount held: never exceeded by the charges of all legs together. */
  readonly heldNanos: bigint
  readonly startedAtMs: number
  /** The life of the gateway process whose leases it takes from. */
  readonly lifeId: string
  /** The counters that it has taken from. */
  readonly takes: readonly LimitTake[]
  /** What earlier legs of this request were charged; 0 for the first. Usage is that of the request, earlier legs included. */
  readonly alreadyChargedNanos: bigint
}

export interface SettledRequest {
  readonly outcome: Outcome
  readonly usage: BillableUsage
  readonly usageSuspect: boolean
  readonly amountNanos: bigint
  /** What the usage costs beyond what could be charged: the hold, or what budgets had reserved. */
  readonly waivedNanos: bigint
  /** What is spent of each counter. */
  readonly charges: readonly LimitCharge[]
  /** The engine's own figures are counted apart (`Hold.noteEngine`), and must be equal to the usage. */
  readonly engineCounted: boolean
  readonly replicaId: string | undefined
  readonly timeToFirstTokenMs: number | undefined
  readonly durationMs: number
  readonly settledAtMs: number
}
