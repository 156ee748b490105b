/**
 * A fault is a failure with two messages: one that the caller may read, one for the operator.
 * Its code is `<owner>.<reason>`, where the owner tells who must act: `client`, `auth`, `limits`, `idempotency`, `billing`,
 * `capacity`, `upstream`, `platform`. Every code is described in docs/failure-modes.md, and a test compares the two.
 */
export const faultCodes = {
  // code: HTTP status
  'client.invalid_request': 400,
  'client.invalid_json': 400,
  'client.unsupported_value': 400,
  'client.context_length_exceeded': 400,
  'client.body_too_large': 413,
  'client.unsupported_media_type': 415,
  'client.method_not_allowed': 405,
  'client.route_not_found': 404,
  'client.not_found': 404,
  'client.conflict': 409,
  'client.request_timeout': 408,
  'client.upgrade_required': 426,
  'client.gone': 499,
  'client.misdirected_host': 421,
  'auth.missing_key': 401,
  'auth.invalid_key': 401,
  'auth.ip_not_allowed': 403,
  'auth.permission_denied': 403,
  'catalog.model_not_found': 404,
  'catalog.price_missing': 503,
  'catalog.capability_missing': 400,
  'catalog.residency_denied': 403,
  'capacity.no_replica': 503,
  'capacity.overloaded': 503,
  'capacity.draining': 503,
  'capacity.engine_rate_limited': 429,
  'limits.rate_exceeded': 429,
  'limits.quota_exhausted': 429,
  'limits.payment_required': 402,
  'limits.unavailable': 503,
  'idempotency.key_reused': 422,
  'idempotency.in_progress': 409,
  'idempotency.exhausted': 409,
  'idempotency.unavailable': 503,
  'billing.journal_full': 503,
  'billing.journal_failed': 503,
  'upstream.unreachable': 502,
  'upstream.timeout': 504,
  'upstream.invalid_response': 502,
  'upstream.truncated': 502,
  'upstream.rejected': 400,
  'upstream.failed': 502,
  'guardrail.blocked': 400,
  'platform.database_unavailable': 503,
  'platform.snapshot_stale': 503,
  'platform.bug': 500,
} as const

export type FaultCode = keyof typeof faultCodes

export interface FaultInit {
  readonly code: FaultCode
  /** What the caller reads. It names what to do, and never a host, a path, a secret or a byte of a prompt. */
  readonly public: string
  /** What the operator reads in the log. `undefined` means that the public message says it all. */
  readonly internal?: string | undefined
  /** The request field that is wrong, in the wire's spelling (`messages[0].role`). */
  readonly param?: string | undefined
  readonly cause?: unknown
  /** Milliseconds after which the same call may work; `undefined` when waiting does not help. */
  readonly retryAfterMs?: number | undefined
  /** Facts for the caller's program, as they stand in the answer's JSON beside the message. */
  readonly details?: Readonly<Record<string, string | number | null>> | undefined
}

export class Fault extends Error {
  override readonly name = 'Fault'
  readonly code: FaultCode
  readonly public: string
  readonly internal: string | undefined
  readonly param: string | undefined
  readonly retryAfterMs: number | undefined
  readonly details: Readonly<Record<string, string | number | null>> | undefined

  constructor(init: FaultInit) {
    super(
      `${init.code}: ${init.internal ?? init.public}`,
      init.cause === undefined ? {} : { cause: init.cause },
    )
    this.code = init.code
    this.public = init.public
    this.internal = init.internal
    this.param = init.param
    this.retryAfterMs = init.retryAfterMs
    this.details = init.details
  }

  get status(): number {
    return faultCodes[this.code]
  }
}

/** Returns the fault itself, or wraps anything else as `platform.bug` with a public message that reveals nothing. */
export function toFault(error: unknown): Fault {
  if (error instanceof Fault) return error
  // Leaving a scope failed after the work in it had: the former says what is wrong here.
  if (error instanceof SuppressedError) return toFault(error.error)
  return new Fault({
    code: 'platform.bug',
    public: 'The server had an error while processing your request. It has been recorded.',
    internal: error instanceof Error ? `${error.name}: ${error.message}` : 'non-error thrown',
    cause: error,
  })
}
