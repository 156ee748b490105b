/** What a client's upgrade must bring before a socket is opened for it. */
import type { IncomingHttpHeaders } from 'node:http'
import { Fault } from '../../platform/fault.ts'

/** Browsers cannot set headers on a WebSocket, so OpenAI's clients hand the key over in the list of sub-protocols. */
const keyProtocol = /^openai-insecure-api-key\.(.+)$/
const version = '13'

/** The upgrade's headers with the key where every other request has it. Only without such a header does the sub-protocol count. */
export function credentialsOf(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  if (headers.authorization !== undefined) return headers
  for (const protocol of offeredProtocols(headers)) {
    const key = keyProtocol.exec(protocol)?.[1]
    if (key !== undefined) return { ...headers, authorization: `Bearer ${key}` }
  }
  return headers
}

const secrets = ['authorization', 'x-api-key', 'api-key', 'cookie', 'sec-websocket-protocol']
/** They name one request, and a socket carries many. */
const ofOneRequest = ['idempotency-key', 'x-client-request-id']
const hidden: ReadonlySet<string> = new Set([...secrets, ...ofOneRequest])

export function publicHeaders(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !hidden.has(name)))
}

function offeredProtocols(headers: IncomingHttpHeaders): readonly string[] {
  return (headers['sec-websocket-protocol'] ?? '').split(',').map((protocol) => protocol.trim())
}

/** Throws for a page that may not call the API: browsers ask nobody before they open a WebSocket. */
export function checkOrigin(headers: IncomingHttpHeaders, origins: readonly string[]): void {
  const { origin, host } = headers
  if (origin === undefined || origins.includes('*') || origins.includes(origin)) return
  // Clients that are no browsers name the address that they call.
  if (URL.parse(origin)?.host === (host ?? '').toLowerCase()) return
  throw new Fault({
    code: 'auth.permission_denied',
    public:
      'Pages of this origin may not call the API. Ask your administrator to add the origin to gateway.corsOrigins.',
  })
}

export function checkVersion(headers: IncomingHttpHeaders): void {
  if (headers['sec-websocket-version'] !== version) throw invalidHandshake()
}

/** What an answer must have that says so (RFC 9110, sections 7.8 and 15.5.22). */
export const upgradeHeaders = { upgrade: 'websocket', connection: 'upgrade' }

export function upgradeRequired(): Fault {
  return new Fault({
    code: 'client.upgrade_required',
    public:
      'This address speaks over a WebSocket. Connect to it with wss:// (or ws://), or let your SDK do so.',
  })
}

export function invalidHandshake(): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: `The WebSocket handshake is not valid. Use version ${version} of the protocol (RFC 6455).`,
  })
}
