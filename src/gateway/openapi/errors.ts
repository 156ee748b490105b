/** What may go wrong with a request, by status, and how each dialect says it. All of it follows from the table of fault codes. */
import { z } from 'zod'
import { Fault, faultCodes, type FaultCode } from '../../platform/fault.ts'
import { toWireError, type ErrorDialect } from '../wire/openai/errors.ts'
import type { NamedSchema, OperationDoc } from './operation.ts'

/** A client that has left reads no answer; control alone looks at names of hosts. */
const unseen: ReadonlySet<FaultCode> = new Set(['client.gone', 'client.misdirected_host'])
const codes = (Object.keys(faultCodes) as FaultCode[]).filter((code) => !unseen.has(code))
const ownedBy = (...owners: readonly string[]): readonly FaultCode[] =>
  codes.filter((code) => owners.some((owner) => code.startsWith(`${owner}.`)))

const always: readonly FaultCode[] = [
  'client.invalid_request',
  'capacity.overloaded',
  'platform.bug',
]
const keyed: readonly FaultCode[] = [...ownedBy('auth'), 'platform.snapshot_stale']
const withBody: readonly FaultCode[] = [
  'client.invalid_json',
  'client.unsupported_value',
  'client.body_too_large',
  'client.unsupported_media_type',
  'client.request_timeout',
]
/** Of everything that names a model. */
export const modelFaults: readonly FaultCode[] = [
  'client.context_length_exceeded',
  ...ownedBy('catalog'),
]
/** Of what is created once for each idempotency key. */
export const creationFaults: readonly FaultCode[] = [
  'idempotency.key_reused',
  'idempotency.in_progress',
  'idempotency.exhausted',
]
const billed: readonly FaultCode[] = [
  ...modelFaults,
  ...ownedBy('capacity', 'limits', 'idempotency', 'billing', 'upstream', 'guardrail'),
  'platform.database_unavailable',
]

/** Which codes each status may carry. */
export function faultsByStatus(
  doc: Pick<OperationDoc, 'isPublic' | 'isBilled' | 'request' | 'faults'>,
  dialect: Pick<ErrorDialect, 'status'>,
): ReadonlyMap<number, readonly FaultCode[]> {
  const possible = new Set<FaultCode>([
    ...always,
    ...(doc.isPublic ? [] : keyed),
    ...(doc.request ? withBody : []),
    ...(doc.isBilled ? billed : []),
    ...(doc.faults ?? []),
  ])
  return Map.groupBy(possible, (code) => dialect.status(new Fault({ code, public: '' })))
}

const kinds = codes.map((code) => toWireError(new Fault({ code, public: '' })).error)
const types = [...new Set(kinds.map(({ type }) => type))]

/** A limit that refused a request, or ended an answer. */
export const limitFacts = z
  .record(z.string(), z.union([z.string(), z.number(), z.null()]))
  .describe(
    'Which limit: `rule`, `scope`, `measure`, `window`, `limit`, `needed`, `remaining`, `resets_at`, `clears_in_ms` and more. Amounts are strings.',
  )

export const errorFields = {
  message: z.string().describe('What is wrong, and what to do.'),
  type: z.enum(types),
  param: z.string().nullable().describe('The field that is wrong.'),
  code: z
    .string()
    .nullable()
    .describe('For programs; each is described in `docs/failure-modes.md`.'),
  limit: limitFacts.optional(),
  capability: z.string().optional().describe('What the model, or the platform, cannot do.'),
}

export const openAiError: NamedSchema = {
  name: 'Error',
  schema: z.object({ error: z.object(errorFields) }),
}

export const anthropicError: NamedSchema = {
  name: 'AnthropicError',
  schema: z.object({
    type: z.literal('error'),
    error: z.object({
      type: z.enum([
        'invalid_request_error',
        'authentication_error',
        'billing_error',
        'permission_error',
        'not_found_error',
        'conflict_error',
        'request_too_large',
        'rate_limit_error',
        'timeout_error',
        'overloaded_error',
        'api_error',
      ]),
      message: z.string(),
      details: z.object({
        error_code: z.string(),
        param: z.string().optional(),
        capability: z.string().optional(),
      }),
      limit: limitFacts.optional(),
    }),
    request_id: z.string(),
  }),
}

/** Cohere's clients read `message`, all others `error`. */
export const rerankError: NamedSchema = {
  name: 'RerankError',
  schema: z.object({
    id: z.string(),
    message: z.string(),
    error: z.object(errorFields),
  }),
}
