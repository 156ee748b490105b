/** The exchange of one message on a socket. It has no head: what would be headers is not sent, and each write is one message. */
import type { Body, Exchange } from '../exchange.ts'
import { assert } from '../../platform/assert.ts'
import type { ClientSocket } from './socket-route.ts'

const ended = new Error('the exchange ended')

export function openMessageExchange(
  socket: ClientSocket,
  given: {
    readonly requestId: string
    readonly startedMs: number
    readonly body: Body
    /** Called when the client has been told all. */
    readonly onEnd?: (() => void) | undefined
  },
): Exchange & { close(): void } {
  const abort = new AbortController()
  const stop = (): void => abort.abort(ended)
  socket.signal.addEventListener('abort', stop, { once: true })
  if (socket.signal.aborted) stop()
  let requestId = given.requestId
  let streamStarted = false

  const write = (piece: string | Uint8Array): Promise<void> | undefined => {
    assert(typeof piece === 'string', 'answers on sockets are text')
    streamStarted = true
    return socket.send(piece)
  }
  return {
    get requestId() {
      return requestId
    },
    headers: socket.headers,
    query: socket.query,
    ip: socket.ip,
    startedMs: given.startedMs,
    signal: abort.signal,
    get clientLeft() {
      return socket.ending === 'client-left' || socket.ending === 'stalled-reader'
    },
    get streamStarted() {
      return streamStarted
    },
    adoptRequestId(earlier) {
      requestId = earlier
    },
    addHeaders() {},
    abort: stop,
    readBody: () => Promise.resolve(given.body),
    bodyPieces() {
      throw new Error('a message comes whole')
    },
    async send(_status, _headers, body) {
      await write(body.toString())
    },
    startStream() {
      streamStarted = true
    },
    write,
    endStream: () => given.onEnd?.(),
    close() {
      socket.signal.removeEventListener('abort', stop)
    },
  }
}
