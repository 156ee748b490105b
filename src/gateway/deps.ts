/** What the gateway's stages are given. Built in app/wire-gateway.ts; tests build their own. */
import type { Batches } from '../batches/batches.ts'
import type { Files } from '../batches/files.ts'
import type { Billing } from '../billing/billing.ts'
import type { ReceiptSigner } from '../billing/receipt.ts'
import type { Catalogue } from '../catalog/catalogue.ts'
import type { AnswerBook } from '../idempotency/answers.ts'
import type { Idempotency } from '../idempotency/idempotency.ts'
import type { KeyDirectory } from '../identity/key-directory.ts'
import type { Limits } from '../limits/limits.ts'
import type { OutputEstimator } from '../limits/output-estimate.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Seal } from '../platform/seal.ts'
import type { StoredResponses } from '../responses/responses.ts'
import type { LatencyEstimator } from './latency-estimate.ts'
import type { GatewayMetrics } from './metrics.ts'
import type { Replicas } from './replicas.ts'
import type { FieldPolicy } from './wire/openai/field-policy.ts'

export interface GatewayDeps {
  /** Functions, because a snapshot replaces what they return. */
  readonly keys: () => KeyDirectory
  readonly catalogue: () => Catalogue
  readonly replicas: Replicas
  readonly billing: Billing
  readonly limits: Limits
  /** What answers used to be like, in tokens. */
  readonly outputs: OutputEstimator
  /** How many tokens engines counted for a hundred that we estimated. */
  readonly inputs: OutputEstimator
  /** How long answers used to take. */
  readonly latencies: LatencyEstimator
  /** Asked only for requests that carry a key. */
  readonly idempotency: Idempotency
  /** Likewise, of what is created with a key. */
  readonly answers: AnswerBook
  readonly files: Files
  readonly batches: Batches
  readonly responses: StoredResponses
  readonly receipts: ReceiptSigner
  /** The status of a refusal that waiting does not cure: an exhausted budget. */
  readonly quotaStatus: 402 | 429
  /** What becomes of fields of a body that we do not know. */
  readonly fieldPolicy: FieldPolicy
  readonly metrics: GatewayMetrics
  readonly clock: Clock
  readonly log: Logger
  /** Called with each accepted key, so that its last use can be shown. */
  readonly keyUsed: (apiKeyId: string) => void
  readonly isDraining: () => boolean
  /** A tenant's secret salt for prefix caches. */
  readonly cacheSalt: (tenantId: string) => string
  /** Seals what a tenant's clients carry from one request to the next, for that tenant alone. */
  readonly sealFor: (tenantId: string) => Seal
}
