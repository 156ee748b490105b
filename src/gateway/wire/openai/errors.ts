/** The one table from fault codes to OpenAI's error body. */
import type { Fault, FaultCode } from '../../../platform/fault.ts'

/** How a client's dialect tells of a failure. Nothing else builds an error response. */
export interface ErrorDialect {
  status(fault: Fault): number
  body(fault: Fault, requestId: string): unknown
  /** The last event of a stream that failed after its head had gone. */
  event(fault: Fault, requestId: string): string
}

export interface WireError {
  readonly error: {
    readonly message: string
    readonly type: string
    readonly param: string | null
    readonly code: string | null
    /** The limit that refused, where one did. */
    readonly limit?: Fault['details']
  }
}

type ErrorKind = readonly [type: string, code: string | null]

/** Types and codes that OpenAI's SDKs and their users know; ours where OpenAI has none. */
const kinds: Readonly<Record<FaultCode, ErrorKind>> = {
  'client.invalid_request': ['invalid_request_error', null],
  'client.invalid_json': ['invalid_request_error', 'invalid_json'],
  'client.unsupported_value': ['invalid_request_error', 'unsupported_value'],
  'client.context_length_exceeded': ['invalid_request_error', 'context_length_exceeded'],
  'client.body_too_large': ['invalid_request_error', 'request_too_large'],
  'client.unsupported_media_type': ['invalid_request_error', 'unsupported_media_type'],
  'client.method_not_allowed': ['invalid_request_error', 'method_not_allowed'],
  'client.route_not_found': ['invalid_request_error', 'unknown_url'],
  'client.not_found': ['invalid_request_error', 'not_found'],
  'client.conflict': ['invalid_request_error', 'conflict'],
  'client.request_timeout': ['invalid_request_error', 'request_timeout'],
  'client.upgrade_required': ['invalid_request_error', 'upgrade_required'],
  'client.gone': ['invalid_request_error', 'client_closed_request'],
  'client.misdirected_host': ['invalid_request_error', 'misdirected_request'],
  'auth.missing_key': ['invalid_request_error', 'missing_api_key'],
  'auth.invalid_key': ['invalid_request_error', 'invalid_api_key'],
  'auth.ip_not_allowed': ['invalid_request_error', 'ip_not_allowed'],
  'auth.permission_denied': ['invalid_request_error', 'permission_denied'],
  'catalog.model_not_found': ['invalid_request_error', 'model_not_found'],
  'catalog.price_missing': ['api_error', 'price_missing'],
  'catalog.capability_missing': ['invalid_request_error', 'capability_missing'],
  'catalog.residency_denied': ['invalid_request_error', 'residency_denied'],
  'capacity.no_replica': ['api_error', 'model_not_ready'],
  'capacity.overloaded': ['api_error', 'overloaded'],
  'capacity.draining': ['api_error', 'draining'],
  'capacity.engine_rate_limited': ['rate_limit_error', 'rate_limit_exceeded'],
  'limits.rate_exceeded': ['rate_limit_error', 'rate_limit_exceeded'],
  'limits.quota_exhausted': ['insufficient_quota', 'insufficient_quota'],
  'limits.payment_required': ['insufficient_quota', 'insufficient_quota'],
  'limits.unavailable': ['api_error', 'limits_unavailable'],
  'idempotency.key_reused': ['invalid_request_error', 'idempotency_key_reused'],
  'idempotency.in_progress': ['invalid_request_error', 'idempotency_in_progress'],
  'idempotency.exhausted': ['invalid_request_error', 'idempotency_exhausted'],
  'idempotency.unavailable': ['api_error', 'idempotency_unavailable'],
  'billing.journal_full': ['api_error', 'journal_full'],
  'billing.journal_failed': ['api_error', 'journal_failed'],
  'upstream.unreachable': ['api_error', 'engine_unreachable'],
  'upstream.timeout': ['api_error', 'engine_timeout'],
  'upstream.invalid_response': ['api_error', 'engine_invalid_response'],
  'upstream.truncated': ['api_error', 'engine_truncated'],
  'upstream.rejected': ['invalid_request_error', 'engine_rejected'],
  'upstream.failed': ['api_error', 'engine_failed'],
  'guardrail.blocked': ['invalid_request_error', 'content_filter'],
  'platform.database_unavailable': ['api_error', 'database_unavailable'],
  'platform.snapshot_stale': ['api_error', 'snapshot_stale'],
  'platform.bug': ['api_error', 'internal_error'],
}

export function toWireError(fault: Fault): WireError {
  const [type, code] = kinds[fault.code]
  const error = { message: fault.public, type, param: fault.param ?? null, code }
  if (!fault.details) return { error }
  return {
    error: fault.code.startsWith('limits.')
      ? { ...error, limit: fault.details }
      : { ...error, ...fault.details },
  }
}

export const openAiErrors: ErrorDialect = {
  status: (fault) => fault.status,
  body: toWireError,
  event: (fault) => `data: ${JSON.stringify(toWireError(fault))}\n\n`,
}

const repeated: ReadonlySet<number> = new Set([402, 409, 429, 503])
const money: ReadonlySet<FaultCode> = new Set(['limits.quota_exhausted', 'limits.payment_required'])

export function errorHeaders(fault: Fault): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': 'application/json; charset=utf-8' }
  if (fault.status === 401) headers['www-authenticate'] = 'Bearer'
  if (fault.retryAfterMs !== undefined) {
    headers['retry-after'] = String(Math.max(1, Math.ceil(fault.retryAfterMs / 1_000)))
    headers['retry-after-ms'] = String(Math.ceil(fault.retryAfterMs))
  }
  // SDKs repeat every 409, 429 and 503 by themselves. What waiting does not cure stays, and money comes back too late for a program to wait.
  const stays = fault.retryAfterMs === undefined && repeated.has(fault.status)
  if (stays || money.has(fault.code)) headers['x-should-retry'] = 'false'
  return headers
}
