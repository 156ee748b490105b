/**
 * Opens WebSockets: only for a GET of an address in the list, with a key that holds, from a page that may. Everything else is answered in plain HTTP
 * before the protocol changes, as any other request is.
 */
import { ServerResponse, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type WebSocket } from 'ws'
import { Fault } from '../../platform/fault.ts'
import type { GatewayDeps } from '../deps.ts'
import type { ExchangeLimits } from '../exchange.ts'
import { authenticate } from '../stages/authenticate.ts'
import {
  checkOrigin,
  checkVersion,
  credentialsOf,
  invalidHandshake,
  publicHeaders,
} from './handshake.ts'
import { openSession, type Session } from './session.ts'
import type { SocketRoute } from './socket-route.ts'

/** At one gateway. All together count as open requests. */
const socketsPerTenantMax = 512
const protocolsDefault = ['realtime']
const bounds = {
  /** How long a client may take to answer our goodbye, in milliseconds. */
  closeTimeout: 5_000,
  /** Pieces of one message. */
  maxFragments: 1_024,
}
const pathOrigin = 'http://gateway'

export interface Upgrade {
  readonly request: IncomingMessage
  readonly transport: Duplex
  /** What the client sent after its headers. */
  readonly head: Buffer
}

export interface SocketDoor {
  /** Throws a fault before the protocol changes; resolves at the end of the session. */
  serve(route: SocketRoute, upgrade: Upgrade, call: SocketCall): Promise<void>
  /** Takes no more messages from anybody. */
  drain(): void
}

/** The plain request that becomes a socket. */
interface SocketCall {
  readonly requestId: string
  readonly ip: string
  /** Answers as long as the protocol has not changed. */
  readonly response: ServerResponse
}

/** The route that an upgrade asks for. `undefined` for all requests that stay plain HTTP, such as an offer of HTTP/2. */
export function findSocket(
  routes: readonly SocketRoute[],
  request: IncomingMessage,
): SocketRoute | undefined {
  const isUpgrade = request.method === 'GET' && /^websocket$/i.test(request.headers.upgrade ?? '')
  return isUpgrade ? socketAt(routes, request.url ?? '') : undefined
}

export function socketAt(routes: readonly SocketRoute[], url: string): SocketRoute | undefined {
  const path = url.split('?')[0]?.replaceAll(/\/+/g, '/').replace(/\/$/, '')
  return routes.find((route) => route.path === path)
}

export function createSocketDoor(
  routes: readonly SocketRoute[],
  options: { readonly limits: ExchangeLimits; readonly corsOrigins: readonly string[] },
  deps: GatewayDeps,
): SocketDoor {
  const { limits } = options
  const sessions = new Set<Session>()
  const perTenant = new Map<string, number>()
  const servers = new Map(routes.map((route) => [route, createServer(route, limits)]))

  const enter = (tenantId: string): (() => void) => {
    const count = (perTenant.get(tenantId) ?? 0) + 1
    if (count > socketsPerTenantMax) throw tooMany()
    perTenant.set(tenantId, count)
    return () => {
      const left = (perTenant.get(tenantId) ?? 1) - 1
      if (left === 0) perTenant.delete(tenantId)
      else perTenant.set(tenantId, left)
    }
  }

  return {
    async serve(route, upgrade, { requestId, ip, response }) {
      const { request, transport } = upgrade
      if (deps.isDraining()) throw draining()
      checkOrigin(request.headers, options.corsOrigins)
      checkVersion(request.headers)
      const headers = credentialsOf(request.headers)
      const identify = () => authenticate({ headers, ip }, deps)
      const caller = identify()
      const leave = enter(caller.tenantId)
      try {
        const webSocket = accept(servers.get(route), upgrade, { requestId, response })
        const messageBytesMax = route.messageBytesMax ?? limits.bodyBytesMax
        const session = openSession(
          {
            caller,
            identify,
            requestId,
            ip,
            headers: publicHeaders(request.headers),
            query: new URL(request.url ?? '', pathOrigin).searchParams,
          },
          { webSocket, transport, messageBytesMax, stalledReaderMs: limits.stalledReaderMs },
          deps.clock,
        )
        sessions.add(session)
        try {
          await route.open(session.socket, deps)
          await session.finish('done')
        } catch (error) {
          await session.finish('failed')
          throw error
        } finally {
          sessions.delete(session)
        }
      } finally {
        leave()
      }
    },
    drain() {
      for (const session of sessions) session.drain()
    },
  }
}

/** A way to answer an upgrade in plain HTTP; the connection ends with the answer. */
export function openResponse({ request, transport }: Upgrade): ServerResponse {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  // Node hands over the connection without a listener, and a client may reset it at any time.
  transport.on('error', () => {})
  // The transport of an upgrade is the connection itself.
  response.assignSocket(request.socket)
  response.on('finish', () => transport.end())
  return response
}

function createServer(route: SocketRoute, limits: ExchangeLimits): WebSocketServer {
  const known = route.protocols ?? protocolsDefault
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    // Small messages gain little by it, and a few bytes can become very many.
    perMessageDeflate: false,
    maxPayload: route.messageBytesMax ?? limits.bodyBytesMax,
    ...bounds,
    // Never one that has a key in it.
    handleProtocols: (offered) => known.find((protocol) => offered.has(protocol)) ?? false,
  })
  // Thrown within `handleUpgrade`: in place of an answer in HTML.
  server.on('wsClientError', () => {
    throw invalidHandshake()
  })
  return server
}

/** Changes the protocol. Nothing of it waits, so what it throws can still be answered. */
function accept(
  server: WebSocketServer | undefined,
  { request, transport, head }: Upgrade,
  { requestId, response }: Pick<SocketCall, 'requestId' | 'response'>,
): WebSocket {
  let accepted: WebSocket | undefined
  const addHeaders = (headers: string[]): void => {
    headers.push(`x-request-id: ${requestId}`)
    response.detachSocket(request.socket)
    response.destroy()
  }
  server?.once('headers', addHeaders)
  try {
    server?.handleUpgrade(request, transport, head, (webSocket) => {
      accepted = webSocket
    })
  } finally {
    server?.off('headers', addHeaders)
  }
  if (accepted) return accepted
  throw new Fault({ code: 'client.gone', public: 'The client closed the request.' })
}

function draining(): Fault {
  const text = 'This gateway is shutting down. Try again at once.'
  return new Fault({ code: 'capacity.draining', public: text, retryAfterMs: 1_000 })
}

function tooMany(): Fault {
  return new Fault({
    code: 'limits.rate_exceeded',
    public: `Your tenant has ${socketsPerTenantMax} sockets open here, which is the limit. Close some, or use plain requests.`,
    retryAfterMs: 10_000,
  })
}
