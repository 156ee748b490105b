/** The life of one accepted WebSocket: its bounds, its heartbeat, and its end. */
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Clock } from '../../platform/clock.ts'
import { roomToWrite } from '../exchange.ts'
import { createMessageQueue } from './message-queue.ts'
import type { ClientSocket, SocketEnding } from './socket-route.ts'

const pingEveryMs = 20_000
/** OpenAI's own limit, which its clients expect. */
const sessionMsMax = 60 * 60_000
/** From the end of `messages` to that of everything. */
const graceMs = 30_000

const normal = 1000
const goingAway = 1001
const internalError = 1011
const serviceRestart = 1012

const farewells: Readonly<Record<SocketEnding, readonly [code: number, reason: string]>> = {
  'client-left': [normal, ''],
  closed: [normal, ''],
  'stalled-reader': [goingAway, 'Nobody reads what is sent.'],
  draining: [serviceRestart, 'This gateway restarts. Connect again.'],
  'session-limit': [goingAway, 'A session lasts 60 minutes. Connect again.'],
}
const ended = new Error('the session ended')

export interface Session {
  readonly socket: ClientSocket
  /** Takes no more messages; what is under way may end. */
  drain(): void
  /** Closes the socket and resolves when nothing of it is left. */
  finish(how: 'done' | 'failed'): Promise<void>
}

export function openSession(
  client: Pick<ClientSocket, 'caller' | 'requestId' | 'ip' | 'headers' | 'query' | 'identify'>,
  connection: {
    readonly webSocket: WebSocket
    /** What lies beneath it. */
    readonly transport: Duplex
    readonly messageBytesMax: number
    readonly stalledReaderMs: number
  },
  clock: Clock,
): Session {
  const { webSocket, transport } = connection
  const abort = new AbortController()
  const queue = createMessageQueue(connection.messageBytesMax, webSocket)
  const closed = Promise.withResolvers<void>()
  let ending: SocketEnding | undefined

  /** Nothing is worth doing any more. */
  const stop = (why: SocketEnding): void => {
    if (abort.signal.aborted) return
    ending = why
    queue.end()
    queue.discard()
    abort.abort(ended)
  }
  /** Nothing is read any more; what is under way may end. */
  const windDown = (why: SocketEnding): void => {
    if (ending !== undefined) return
    ending = why
    queue.end()
    cancelGrace = clock.after(graceMs, () => {
      stop(why)
      webSocket.close(...farewells[why])
    })
  }

  let isPongDue = false
  const beat = (): void => {
    // While we ourselves read nothing, no pong can arrive.
    if (isPongDue && !queue.isPaused) {
      stop('client-left')
      webSocket.terminate()
      return
    }
    isPongDue = true
    webSocket.ping()
    cancelBeat = clock.after(pingEveryMs, beat)
  }
  let cancelBeat = clock.after(pingEveryMs, beat)
  const cancelLimit = clock.after(sessionMsMax, () => windDown('session-limit'))
  let cancelGrace: (() => void) | undefined

  webSocket.on('pong', () => (isPongDue = false))
  webSocket.on('message', (bytes: Buffer, isBinary) => {
    // A pong may be stuck behind what we are slow to read.
    isPongDue = false
    queue.push(isBinary ? bytes : bytes.toString('utf8'))
  })
  // What breaks the protocol or is too long is answered by `ws` with the right code; it closes then.
  webSocket.on('error', () => {})
  webSocket.on('close', () => {
    stop('client-left')
    for (const cancel of [cancelBeat, cancelLimit, cancelGrace]) cancel?.()
    closed.resolve()
  })

  return {
    socket: {
      ...client,
      signal: abort.signal,
      get ending() {
        return ending
      },
      messages: queue.messages,
      send(text) {
        if (webSocket.readyState !== webSocket.OPEN) return undefined
        webSocket.send(text)
        if (!transport.writableNeedDrain) return undefined
        return roomToWrite(transport, connection.stalledReaderMs, () => {
          stop('stalled-reader')
          webSocket.terminate()
        })
      },
      close(code, reason) {
        stop('closed')
        webSocket.close(code, reason)
      },
    },
    drain: () => windDown('draining'),
    finish(how) {
      if (how === 'failed') webSocket.close(internalError, 'The server had an error.')
      else webSocket.close(...farewells[ending ?? 'closed'])
      return closed.promise
    },
  }
}
