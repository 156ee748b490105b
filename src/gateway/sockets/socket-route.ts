/** A public WebSocket address as data, and what its code is given for each client that connects. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Principal } from '../../identity/principal.ts'
import type { GatewayDeps } from '../deps.ts'
import type { SocketDoc } from '../openapi/operation.ts'

export interface SocketRoute {
  /** As in `Route`, without parameters. */
  readonly path: string
  /** The sub-protocols that may be agreed on; `realtime`, which OpenAI's browser clients offer, where it is left out. */
  readonly protocols?: readonly string[]
  /** Longer messages end the session; the bound of an HTTP body where it is left out. */
  readonly messageBytesMax?: number
  /** What the published description says of it. */
  readonly doc?: SocketDoc
  /**
   * Speaks with one client. The socket is closed when it resolves; when it rejects, with code 1011. It must end soon after `messages` do, and at
   * once when `signal` is aborted.
   */
  open(socket: ClientSocket, deps: GatewayDeps): Promise<void>
}

/** Why a session ends. `stalled-reader`: the client takes nothing of what is sent; `closed`: we said goodbye. */
export type SocketEnding =
  | 'client-left'
  | 'stalled-reader'
  | 'closed'
  | 'draining'
  | 'session-limit'

export interface ClientSocket {
  /** Whose key opened the socket. */
  readonly caller: Principal
  /** Of the upgrade; each request on the socket gets an id of its own. */
  readonly requestId: string
  readonly ip: string
  /** Of the upgrade, without anything secret, and without what names one single request. */
  readonly headers: IncomingHttpHeaders
  readonly query: URLSearchParams
  /** Aborted when the client has left or does not read, and when the time after `messages` has ended is used up. */
  readonly signal: AbortSignal
  /** `undefined` while the session goes on. */
  readonly ending: SocketEnding | undefined
  /**
   * What the client says: text frames as strings, binary frames as bytes. For one reader; who does not read makes the client wait. Ends when the client
   * leaves, at the session's limit, and when the gateway drains: what is under way then may still be answered.
   */
  readonly messages: AsyncIterable<string | Buffer>
  /** The caller as its key says now. Throws an `auth.*` fault once the key is revoked: ask before each piece of billable work. */
  identify(): Principal
  /** Sends one text message. What it returns, if anything, resolves once the client has room for more. */
  send(text: string): Promise<void> | undefined
  /** Says goodbye with a code of RFC 6455, and a reason of at most 123 bytes. */
  close(code: number, reason: string): void
}
