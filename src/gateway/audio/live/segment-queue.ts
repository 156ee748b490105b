/**
 * The segments of a session, one after the other, each a request of its own through the pipeline, so that it is held, limited and billed like any
 * other, whatever becomes of the socket.
 */
import type { Fault } from '../../../platform/fault.ts'
import type { GatewayDeps } from '../../deps.ts'
import type { Body } from '../../exchange.ts'
import { perform } from '../../pipeline.ts'
import { answerMessage } from '../../sockets/message.ts'
import type { ClientSocket } from '../../sockets/socket-route.ts'
import { failedEvent, type ServerEvent } from '../../wire/openai/realtime-events.ts'
import { createMinuteMeter } from './minutes.ts'
import { segmentEndpoint, type LiveSegment } from './segment.ts'

/** A minute of sound each, at most. */
const segmentsWaitingMax = 4
const noBody: Body = []

export interface SegmentQueue {
  /** Whether the client shall wait. */
  readonly isFull: boolean
  /** Resolves once all that was added is answered. */
  readonly done: Promise<void>
  add(segment: LiveSegment): void
}

export function createSegmentQueue(
  session: {
    readonly socket: ClientSocket
    readonly path: string
    readonly say: (event: ServerEvent) => void
  },
  deps: GatewayDeps,
): SegmentQueue {
  const { socket, path, say } = session
  const minutes = createMinuteMeter()
  let waiting = 0
  let done = Promise.resolve()

  const run = async (segment: LiveSegment): Promise<void> => {
    const fail = { fail: (fault: Fault) => say(failedEvent(segment.itemId, fault)) }
    await answerMessage({ socket, path, body: noBody, ...fail }, deps, (exchange) => {
      const endpoint = segmentEndpoint({ path, segment, minutes, say: socket.send })
      return perform({ endpoint, exchange, caller: socket.identify() }, deps)
    })
  }

  return {
    get isFull() {
      return waiting >= segmentsWaitingMax
    },
    get done() {
      return done
    },
    add(segment) {
      waiting += 1
      done = done.then(async () => {
        if (!socket.signal.aborted) await run(segment)
        waiting -= 1
      })
    },
  }
}
