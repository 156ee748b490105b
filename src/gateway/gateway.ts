/** The data plane's listener: the list of its routes, what holds for all of them, and how a failed call is answered. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import fastify, { type FastifyInstance } from 'fastify'
import { receiptKeysPath } from '../billing/receipt.ts'
import { Fault, toFault } from '../platform/fault.ts'
import { newId } from '../platform/ids.ts'
import { answerClientError } from './client-error.ts'
import type { GatewayDeps } from './deps.ts'
import { openExchange, type Exchange, type ExchangeLimits } from './exchange.ts'
import { clientRequestId, logFault, logNamed } from './fault-log.ts'
import type { Route, RouteParams } from './route.ts'
import { routes, sockets } from './routes.ts'
import { upgradeHeaders, upgradeRequired } from './sockets/handshake.ts'
import { createSocketDoor, findSocket, openResponse, socketAt } from './sockets/upgrade.ts'
import { errorHeaders, openAiErrors } from './wire/openai/errors.ts'

/** An address that no route has. */
const unknown = { path: 'unknown', errors: openAiErrors }

export interface GatewayOptions {
  readonly limits: ExchangeLimits
  /** Origins whose pages may call the API; empty for none, `['*']` for any. */
  readonly corsOrigins: readonly string[]
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer } | undefined
  /** Requests under way at once; more are refused, so that memory has a bound. */
  readonly openRequestsMax: number
}

export interface Gateway {
  readonly app: FastifyInstance
  openRequests(): number
}

const exposedHeaders =
  'x-request-id, request-id, openai-processing-ms, openai-version, retry-after, retry-after-ms, x-should-retry, ' +
  'x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, ' +
  'x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, ' +
  'anthropic-ratelimit-requests-limit, anthropic-ratelimit-requests-remaining, anthropic-ratelimit-requests-reset, ' +
  'anthropic-ratelimit-tokens-limit, anthropic-ratelimit-tokens-remaining, anthropic-ratelimit-tokens-reset, ' +
  'anthropic-ratelimit-input-tokens-limit, anthropic-ratelimit-input-tokens-remaining, anthropic-ratelimit-input-tokens-reset, ' +
  'anthropic-ratelimit-output-tokens-limit, anthropic-ratelimit-output-tokens-remaining, anthropic-ratelimit-output-tokens-reset, ' +
  'x-receipt, idempotency-replayed, x-token-count, x-rerank-method, content-disposition'

export function createGateway(options: GatewayOptions, deps: GatewayDeps): Gateway {
  let openRequests = 0
  const app = createListener(options, (error, request, response) =>
    handle(unknown, request, response, () => Promise.reject(fromFastify(error))),
  )

  /** Runs one call from its first byte to its last, and answers what it throws. */
  const handle = async (
    route: Pick<Route, 'path' | 'errors'>,
    request: IncomingMessage,
    response: ServerResponse,
    work: (exchange: Exchange) => Promise<void>,
  ): Promise<void> => {
    const startedMs = deps.clock.monotonicMs()
    const exchange = openExchange({
      request,
      response,
      requestId: newId('req'),
      ip: request.socket.remoteAddress ?? '',
      startedMs,
      elapsedMs: () => Math.round(deps.clock.monotonicMs() - startedMs),
      commonHeaders: commonHeaders(request, options.corsOrigins),
      limits: options.limits,
    })
    openRequests += 1
    let status: number = 200
    try {
      if (openRequests > options.openRequestsMax) throw overloaded()
      await work(exchange)
      logNamed(exchange, route.path, deps)
    } catch (error) {
      status = await answerFault(toFault(error), exchange, route, deps)
    } finally {
      openRequests -= 1
      exchange.close()
      deps.metrics.answered(route.path, status, deps.clock.monotonicMs() - startedMs)
    }
  }

  for (const route of routes) {
    app.route<{ Params: RouteParams }>({
      method: route.method,
      url: toPattern(route.path),
      handler(request, reply) {
        reply.hijack()
        return handle(route, request.raw, reply.raw, (exchange) =>
          route.handle(exchange, deps, namedParams(route.path, request.params)),
        )
      },
    })
  }
  const door = createSocketDoor(sockets, options, deps)
  app.server.on('upgrade', (request: IncomingMessage, transport: Duplex, head: Buffer) => {
    const route = findSocket(sockets, request)
    if (!route) return void transport.destroy()
    const upgrade = { request, transport, head }
    const response = openResponse(upgrade)
    const named = { path: `socket ${route.path}`, errors: openAiErrors }
    // `handle` answers all that fails.
    return void handle(named, request, response, ({ requestId, ip }) =>
      door.serve(route, upgrade, { requestId, ip, response }),
    )
  })
  app.addHook('preClose', () => door.drain())
  // Of what is answered without an exchange.
  app.addHook('onSend', (_request, reply, _payload, done) => {
    reply.header('x-request-id', newId('req'))
    done()
  })
  app.get(receiptKeysPath, (_request, reply) =>
    reply.header('cache-control', 'public, max-age=3600').send(deps.receipts.keySet),
  )
  app.get('/health', () => ({ status: 'ok' }))
  app.get('/ready', (_request, reply) => {
    const ready = !deps.isDraining()
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'draining' })
  })
  app.options('/*', (request, reply) => {
    reply.hijack()
    const headers = preflightHeaders(request.raw, options.corsOrigins)
    reply.raw.writeHead(204, { 'x-request-id': newId('req'), ...headers }).end()
  })
  app.setNotFoundHandler((request, reply) => {
    reply.hijack()
    const there = routesAt(request.url)
    const isSocket = socketAt(sockets, request.url) !== undefined
    // Whoever only errs in the method is told so in the dialect of the address.
    const { errors } = there[0] ?? unknown
    return handle({ ...unknown, errors }, request.raw, reply.raw, (exchange) => {
      if (isSocket && request.method === 'GET') {
        exchange.addHeaders(upgradeHeaders)
        return Promise.reject(upgradeRequired())
      }
      const ofRoutes = there.map((route) => route.method)
      const methods = [...new Set(isSocket ? [...ofRoutes, 'GET' as const] : ofRoutes)]
      if (methods.length > 0) exchange.addHeaders({ allow: methods.join(', ') })
      return Promise.reject(unknownRoute(request.method, methods))
    })
  })
  app.setErrorHandler((error, request, reply) => {
    reply.hijack()
    return handle(unknown, request.raw, reply.raw, () => Promise.reject(fromFastify(error)))
  })
  return { app, openRequests: () => openRequests }
}

function createListener(
  options: GatewayOptions,
  refuse: (error: unknown, request: IncomingMessage, response: ServerResponse) => Promise<void>,
): FastifyInstance {
  // Some clients offer HTTP/2 with every request; that is no reason to leave HTTP/1.1.
  const shouldUpgradeCallback = (request: IncomingMessage): boolean =>
    findSocket(sockets, request) !== undefined
  const app = fastify({
    // Time limits against slow and idle clients; Node checks them every second instead of every thirty.
    // A file of 100 MB may come over a slow line; how long a body may stay silent is bound in exchange.ts.
    requestTimeout: 900_000,
    connectionTimeout: 0,
    keepAliveTimeout: 65_000,
    http: {
      headersTimeout: 10_000,
      connectionsCheckingInterval: 1_000,
      maxHeaderSize: 16 * 1024,
      shouldUpgradeCallback,
    },
    ...(options.tls
      ? {
          https: {
            ...options.tls,
            minVersion: 'TLSv1.3' as const,
            headersTimeout: 10_000,
            maxHeaderSize: 16 * 1024,
            shouldUpgradeCallback,
          },
        }
      : {}),
    routerOptions: {
      ignoreTrailingSlash: true,
      ignoreDuplicateSlashes: true,
      maxParamLength: 1_000,
    },
    frameworkErrors(error, request, reply) {
      reply.hijack()
      // It answers all that fails.
      void refuse(error, request.raw, reply.raw)
    },
    clientErrorHandler: answerClientError,
  })
  // Node itself would answer 417 without a body; what we do not know of expectations, RFC 9110 lets us pass over.
  app.server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) =>
    app.server.emit('request', request, response),
  )
  // The pipeline reads bodies itself, after the key is known.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  return app
}

async function answerFault(
  fault: Fault,
  exchange: Exchange,
  route: Pick<Route, 'path' | 'errors'>,
  deps: GatewayDeps,
): Promise<number> {
  const { requestId } = exchange
  logFault(
    fault,
    { requestId, clientRequestId: clientRequestId(exchange.headers), route: route.path },
    deps,
  )
  const status = route.errors.status(fault)
  if (!exchange.streamStarted) {
    const body = JSON.stringify(route.errors.body(fault, requestId))
    await exchange.send(status, errorHeaders(fault), body)
  }
  return status
}

function commonHeaders(
  request: IncomingMessage,
  origins: readonly string[],
): Record<string, string> {
  return {
    'openai-version': '2020-10-01',
    'x-content-type-options': 'nosniff',
    ...corsHeaders(request, origins),
  }
}

function corsHeaders(request: IncomingMessage, origins: readonly string[]): Record<string, string> {
  const origin = request.headers.origin
  if (origin === undefined || origins.length === 0) return {}
  if (!origins.includes('*') && !origins.includes(origin)) return {}
  return {
    'access-control-allow-origin': origins.includes('*') ? '*' : origin,
    'access-control-expose-headers': exposedHeaders,
    vary: 'origin',
  }
}

function preflightHeaders(
  request: IncomingMessage,
  origins: readonly string[],
): Record<string, string> {
  const cors = corsHeaders(request, origins)
  if (Object.keys(cors).length === 0) return {}
  return {
    ...cors,
    'access-control-allow-methods': 'GET, POST, DELETE, OPTIONS',
    'access-control-allow-headers':
      request.headers['access-control-request-headers'] ?? 'authorization, content-type',
    'access-control-max-age': '600',
  }
}

/** The routes of an address, whatever their methods. */
function routesAt(url: string): readonly Route[] {
  const path = (url.split('?')[0] ?? '').replace(/\/+/g, '/').replace(/\/$/, '')
  return routes.filter((route) => toExpression(route.path).test(path))
}

function unknownRoute(method: string, methods: readonly Route['method'][]): Fault {
  if (methods.length > 0) {
    return new Fault({
      code: 'client.method_not_allowed',
      public: `This address takes ${methods.join(' and ')}, not ${method}.`,
    })
  }
  const known = [...new Set(routes.map((route) => route.path))].join(', ')
  return new Fault({
    code: 'client.route_not_found',
    public: `Unknown address. The API's base URL ends in /v1; the routes are ${known}.`,
  })
}

/** `/v1/files/{id}` as Fastify writes it. */
function toPattern(path: string): string {
  return path.replace(/\{\w+\*\}/, '*').replaceAll(/\{(\w+)\}/g, ':$1')
}

function namedParams(path: string, params: RouteParams): RouteParams {
  const name = /\{(\w+)\*\}/.exec(path)?.[1]
  return name === undefined ? params : { ...params, [name]: params['*'] ?? '' }
}

function toExpression(path: string): RegExp {
  return new RegExp(`^${path.replace(/\{\w+\*\}/, '.+').replaceAll(/\{\w+\}/g, '[^/]+')}$`)
}

function fromFastify(error: unknown): Fault {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (!code.startsWith('FST_ERR_')) return toFault(error)
  return new Fault({
    code: 'client.invalid_request',
    public: 'The request is not valid.',
    internal: code,
  })
}

function overloaded(): Fault {
  const text = 'The gateway holds as many requests as it can. Try again shortly.'
  return new Fault({ code: 'capacity.overloaded', public: text, retryAfterMs: 1_000 })
}
