/**
 * The control API's listener and the one runner of its operations: token → actor → permission → transaction in the caller's scope →
 * handle → audit entry → answer kept for repetitions → commit. An operation is data (operation.ts); what holds for all of them is here, once.
 */
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'
import { z } from 'zod'
import { appendEntry, type AuditEntry } from '../audit/audit.ts'
import { receiptKeysPath } from '../billing/receipt.ts'
import type { AnswerBook, KeyedOperation } from '../idempotency/answers.ts'
import { purgeIdempotency } from '../idempotency/idempotency.ts'
import { parseIdempotencyKey, replayedHeader } from '../idempotency/key.ts'
import { findAccessToken, getTenant, rightsOf } from '../identity/identity.ts'
import { Fault, toFault } from '../platform/fault.ts'
import { parseBoundedJson } from '../platform/http/json-limits.ts'
import { newId } from '../platform/ids.ts'
import type { Logger } from '../platform/log.ts'
import {
  platformScope,
  type Database,
  type Scope,
  type Sql,
} from '../platform/postgres/database.ts'
import type { ControlDeps } from './deps.ts'
import { registerDocumentation } from './documentation.ts'
import type { Actor, AuditLine, Operation, OperationContext } from './operation.ts'
import { operations } from './operations.ts'

export interface ControlOptions {
  readonly database: Database
  readonly deps: ControlDeps
  /** Answers of changes that carry an idempotency key. */
  readonly answers: AnswerBook
  readonly peppers: ReadonlyMap<number, Buffer>
  readonly log: Logger
  /** Host names that requests may carry, besides loopback; anything else is a page of somebody else's that found us. */
  readonly hostNames: readonly string[]
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer } | undefined
  /** Differences in the books that are open; `undefined` while nobody has looked. For the metric. */
  readonly openFindings?: (() => number | undefined) | undefined
}

const bodyBytesMax = 1024 * 1024
const resourceLengthMax = 200
/** What is older than a day goes within the hour. */
const purgeMs = 3_600_000
const inProgressRetryMs = 1_000
/** For operations that take no body: a field would be a misunderstanding. */
const emptyBody = z.strictObject({})
export const apiPrefix = '/api/v1'

export function createControl(options: ControlOptions): FastifyInstance {
  const app = fastify({
    bodyLimit: bodyBytesMax,
    requestTimeout: 30_000,
    keepAliveTimeout: 65_000,
    http: { headersTimeout: 10_000, maxHeaderSize: 16 * 1024 },
    ...(options.tls
      ? {
          https: {
            ...options.tls,
            minVersion: 'TLSv1.3' as const,
            headersTimeout: 10_000,
            maxHeaderSize: 16 * 1024,
          },
        }
      : {}),
    routerOptions: { maxParamLength: 1_000, ignoreTrailingSlash: true },
    genReqId: () => newId('req'),
  })
  const metrics = createMetrics(options.openFindings)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    try {
      done(null, body.length === 0 ? undefined : parseBoundedJson(Buffer.from(body)))
    } catch (error) {
      done(toFault(error))
    }
  })
  app.addHook('onRequest', async (request, reply) => {
    reply.headers({
      'x-request-id': request.id,
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      // An answer is no page; the documentation names what it needs.
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    })
    checkHost(request, options.hostNames)
  })
  app.addHook('onResponse', (request, reply, done) => {
    const { operationId = 'other', isChange = false } = request.routeOptions.config
    metrics.answered(operationId, reply.statusCode, reply.elapsedTime)
    options.log[isChange ? 'info' : 'debug'](
      {
        requestId: request.id,
        operation: operationId,
        status: reply.statusCode,
        durationMs: Math.round(reply.elapsedTime),
      },
      'answered',
    )
    done()
  })
  app.setErrorHandler((error, request, reply) => {
    const fault = fromForeign(error)
    metrics.failed(fault.code)
    const line = {
      requestId: request.id,
      code: fault.code,
      internal: fault.internal,
      route: request.routeOptions.url,
    }
    if (fault.code === 'platform.bug')
      options.log.error({ ...line, error: fault.cause }, 'an operation failed by a bug')
    else options.log.info(line, 'an operation was refused')
    if (fault.retryAfterMs !== undefined)
      reply.header('retry-after', String(Math.ceil(fault.retryAfterMs / 1_000)))
    return reply.code(fault.status).send(toBody(fault))
  })
  app.setNotFoundHandler((request, reply) => {
    const text = `There is no ${request.method} ${request.url.split('?')[0]?.slice(0, 200) ?? ''}. The API is described at /docs.`
    const fault = new Fault({ code: 'client.route_not_found', public: text })
    return reply.code(fault.status).send(toBody(fault))
  })

  for (const operation of operations) {
    app.route({
      method: operation.method,
      url: apiPrefix + operation.path,
      config: { operationId: operation.id, isChange: auditOf(operation) !== undefined },
      handler: (request, reply) => run(operation, { request, reply }, options),
    })
  }
  app.get(receiptKeysPath, (_request, reply) =>
    reply.header('cache-control', 'public, max-age=3600').send(options.deps.receipts.keySet),
  )
  app.get('/health', () => ({ status: 'ok' }))
  app.get('/ready', async () => {
    await options.database.transaction(platformScope, () => Promise.resolve())
    return { status: 'ready' }
  })
  app.get('/metrics', async (_request, reply) =>
    reply.type(metrics.contentType).send(await metrics.render()),
  )
  registerDocumentation(app, operations, apiPrefix)
  purgeNowAndThen(app, options)
  return app
}

declare module 'fastify' {
  interface FastifyContextConfig {
    operationId?: string
    isChange?: boolean
  }
}

type AuditOf = (input: OperationInput, result: unknown) => AuditLine
type OperationInput = Parameters<Operation['handle']>[0]

/** How a change is told in the audit log; `undefined` for what changes nothing. */
function auditOf(operation: Operation): AuditOf | undefined {
  return operation.method === 'GET' || operation.audit === 'none' ? undefined : operation.audit
}

/** One call of one operation. A refused change leaves an audit entry too, for it tells who tried. */
async function run(
  operation: Operation,
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  options: ControlOptions,
): Promise<unknown> {
  const actor = await authenticate(request, options)
  try {
    const { answer, isReplayed } = await perform(operation, request, actor, options)
    if (isReplayed) reply.header(replayedHeader, 'true')
    return answer
  } catch (error) {
    const fault = fromForeign(error)
    if (auditOf(operation) && isRefusal(fault)) {
      const [path = ''] = request.url.split('?')
      const line = { resource: path.slice(0, resourceLengthMax), details: { code: fault.code } }
      // Under the actor's own tenant: what they asked for may be somebody else's, or nothing at all.
      const entry = toEntry(operation, request, actor, line, options.deps)
      const refused = { ...entry, tenantId: actor.tenantId ?? null, outcome: 'refused' as const }
      await options.database.transaction(platformScope, (tx) => appendEntry(tx, refused))
    }
    throw fault
  }
}

async function perform(
  operation: Operation,
  request: FastifyRequest,
  actor: Actor,
  { database, deps, answers }: ControlOptions,
): Promise<{ readonly answer: unknown; readonly isReplayed: boolean }> {
  const tenantId = tenantInPath(request)
  const refusal = refuseAccess(operation, actor, tenantId)
  if (refusal) throw refusal
  const input = {
    params: parse(operation.params, request.params, 'path'),
    query: parse(operation.query, request.query, 'query'),
    body: parse(operation.body ?? emptyBody, request.body ?? {}, 'body'),
  }
  const scope: Scope =
    actor.tenantId === undefined ? platformScope : { kind: 'tenant', tenantId: actor.tenantId }
  const keyed = keyedOperation(operation, request, actor)
  const after: (() => void)[] = []
  const result = await database.transaction(scope, async (tx: Sql<unknown>) => {
    const context: OperationContext<unknown> = {
      actor,
      tx,
      deps,
      afterCommit: (work) => after.push(work),
    }
    // An empty list of a tenant that does not exist would be a lie.
    if (tenantId !== undefined) await getTenant(tx, tenantId)
    const kept = keyed && (await answers.find(tx, keyed))
    if (kept?.outcome === 'replayed') return { answer: kept.answer, isReplayed: true }
    if (kept && kept.outcome !== 'first') throw keyRefusals[kept.outcome]()
    const raw = await operation.handle(input, context)
    const visible = operation.result.parse(raw)
    const line = auditOf(operation)?.(input, visible)
    if (line) await appendEntry(tx, toEntry(operation, request, actor, line, deps))
    if (keyed) await answers.keep(tx, keyed, visible)
    return { answer: visible, isReplayed: false }
  })
  for (const work of after) work()
  return result
}

/** A read changes nothing, so it is repeated as it is. */
function keyedOperation(
  operation: Operation,
  request: FastifyRequest,
  actor: Actor,
): KeyedOperation | undefined {
  const key = operation.method === 'GET' ? undefined : parseIdempotencyKey(request.headers)
  if (key === undefined) return undefined
  return {
    actor: actor.tokenId,
    tenantId: actor.tenantId,
    key,
    request: [operation.id, request.url, request.body ?? null],
  }
}

const keyRefusals = {
  reused: () =>
    new Fault({
      code: 'idempotency.key_reused',
      public:
        'This Idempotency-Key was used for another operation, or with another body, within the last 24 hours.',
      param: 'Idempotency-Key',
    }),
  in_progress: () =>
    new Fault({
      code: 'idempotency.in_progress',
      public: 'The operation with this Idempotency-Key is under way. Try again shortly.',
      param: 'Idempotency-Key',
      retryAfterMs: inProgressRetryMs,
    }),
}

/** Any number of control processes may do this. */
function purgeNowAndThen(app: FastifyInstance, { database, deps, log }: ControlOptions): void {
  const purge = (): void => {
    cancel = deps.clock.after(purgeMs, purge)
    purgeIdempotency(database).catch((error: unknown) =>
      log.debug({ error }, 'expired idempotency keys stay for another hour'),
    )
  }
  let cancel = deps.clock.after(purgeMs, purge)
  app.addHook('onClose', () => cancel())
}

function toEntry(
  operation: Operation,
  request: FastifyRequest,
  actor: Actor,
  line: AuditLine,
  deps: ControlDeps,
): AuditEntry {
  return {
    occurredAtMs: deps.clock.nowMs(),
    tenantId: line.tenantId ?? tenantInPath(request) ?? actor.tenantId ?? null,
    actor: actor.tokenId,
    role: actor.role,
    ip: actor.ip,
    action: operation.id,
    resource: line.resource,
    outcome: 'done',
    requestId: request.id,
    details: line.details,
  }
}

/** What the caller may not or cannot have, as against what failed here. */
function isRefusal(fault: Fault): boolean {
  return fault.status < 500
}

function tenantInPath(request: FastifyRequest): string | undefined {
  const { tenantId } = isRecord(request.params) ? request.params : {}
  return typeof tenantId === 'string' ? tenantId : undefined
}

async function authenticate(request: FastifyRequest, options: ControlOptions): Promise<Actor> {
  const secret = /^bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1]
  if (secret === undefined) {
    const text =
      "Send an access token in the header 'Authorization: Bearer …'. The local one is in DATA/secrets/admin-token."
    throw new Fault({ code: 'auth.missing_key', public: text })
  }
  const nowMs = options.deps.clock.nowMs()
  const token = await options.database.transaction(platformScope, (tx) =>
    findAccessToken(tx, secret, options.peppers, nowMs),
  )
  if (!token)
    throw new Fault({ code: 'auth.invalid_key', public: 'This access token is not valid.' })
  return {
    tokenId: token.id,
    role: token.role,
    tenantId: token.tenant_id ?? undefined,
    ip: request.ip,
  }
}

/** Another tenant's resources answer like ones that do not exist. */
function refuseAccess(
  operation: Operation,
  actor: Actor,
  tenantId: string | undefined,
): Fault | undefined {
  const foreign =
    actor.tenantId !== undefined && tenantId !== undefined && tenantId !== actor.tenantId
  if (foreign) return new Fault({ code: 'client.not_found', public: 'There is no such tenant.' })
  // Without a tenant in the path, an operation acts on the whole platform.
  const forPlatform = tenantId === undefined
  const allowed = rightsOf(actor.tenantId ?? null, actor.role).includes(operation.permission)
  if (allowed && !(forPlatform && actor.tenantId !== undefined)) return undefined
  return new Fault({
    code: 'auth.permission_denied',
    public: `The role '${actor.role}' may not do this; it needs '${operation.permission}'${forPlatform ? ' on the platform' : ''}.`,
  })
}

function parse(schema: Operation['params'], value: unknown, where: string): unknown {
  if (!schema) return {}
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const param = issue?.path.join('.') ?? ''
  const extra =
    issue?.code === 'unrecognized_keys' ? issue.keys.join(', ').slice(0, 200) : undefined
  throw new Fault({
    code: 'client.invalid_request',
    public:
      extra === undefined
        ? `${param === '' ? `The ${where}` : `'${param}'`}: ${issue?.message ?? 'invalid'}.`
        : `Unknown field in the ${where}: ${extra}.`,
    param: extra ?? (param === '' ? undefined : param),
  })
}

function checkHost(request: FastifyRequest, allowed: readonly string[]): void {
  const host = request.hostname.replace(/^\[|\]$/g, '').toLowerCase()
  if (['localhost', '127.0.0.1', '::1', ...allowed].includes(host)) return
  const text =
    'This host name is not one of the control API. Add it to control.hostNames in the configuration.'
  throw new Fault({ code: 'client.misdirected_host', public: text })
}

/** Failures of the HTTP layer, and of the database where the input is to blame, as faults of ours. */
function fromForeign(error: unknown): Fault {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new Fault({ code: 'client.body_too_large', public: 'The body is larger than 1 MiB.' })
  }
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return new Fault({
      code: 'client.unsupported_media_type',
      public: 'Send the body as application/json.',
    })
  }
  if (code.startsWith('FST_ERR_'))
    return new Fault({
      code: 'client.invalid_request',
      public: 'The request is not valid.',
      internal: code,
    })
  // SQLSTATE 22021 and 22P05: PostgreSQL's text holds no NUL character.
  if (code === '22021' || code === '22P05')
    return new Fault({
      code: 'client.invalid_request',
      public: 'A text holds the character U+0000, which cannot be stored.',
    })
  return toFault(error)
}

function toBody(fault: Fault): unknown {
  return {
    error: {
      message: fault.public,
      type: fault.code.split('.')[0],
      param: fault.param ?? null,
      code: fault.code,
    },
  }
}

function createMetrics(openFindings: (() => number | undefined) | undefined) {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry, prefix: 'colonnade_control_' })
  const requests = new Counter({
    name: 'colonnade_control_requests_total',
    help: 'Answered calls.',
    labelNames: ['operation', 'status'],
    registers,
  })
  const errors = new Counter({
    name: 'colonnade_errors_total',
    help: 'Faults, by code (docs/failure-modes.md).',
    labelNames: ['code'],
    registers,
  })
  const durations = new Histogram({
    name: 'colonnade_control_request_duration_seconds',
    help: 'Duration of calls.',
    labelNames: ['operation'],
    registers,
  })
  void new Gauge({
    name: 'colonnade_reconciliation_findings',
    help: 'Open differences between journals, ledger and engines. Anything but 0 is an alarm.',
    registers,
    collect() {
      // While nobody has looked, neither 0 nor an alarm.
      this.set(openFindings?.() ?? Number.NaN)
    },
  })
  return {
    answered(operation: string, status: number, ms: number) {
      requests.inc({ operation, status })
      durations.observe({ operation }, ms / 1_000)
    },
    failed: (code: string) => errors.inc({ code }),
    render: () => registry.metrics(),
    contentType: registry.contentType,
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
