/** One request that came as a message: an exchange of its own for it, and what is counted and logged of every request. */
import { toFault, type Fault } from '../../platform/fault.ts'
import { newId } from '../../platform/ids.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Body, Exchange } from '../exchange.ts'
import { logFault } from '../fault-log.ts'
import { openMessageExchange } from './message-exchange.ts'
import type { ClientSocket } from './socket-route.ts'

/** Never rejects: what fails is told to the client by `fail`, unless the answer had begun, whose writer tells it. */
export async function answerMessage(
  message: {
    readonly socket: ClientSocket
    /** As metrics and logs name it. */
    readonly path: string
    /** Of a request that is made of it. */
    readonly body: Body
    fail(fault: Fault, requestId: string): Promise<void> | undefined | void
    /** Called when the answer's writer has ended its stream: from then on the client may ask anew, while the old request still settles. */
    readonly onEnd?: (() => void) | undefined
  },
  deps: GatewayDeps,
  work: (exchange: Exchange) => Promise<void>,
): Promise<void> {
  const { socket, path } = message
  const startedMs = deps.clock.monotonicMs()
  const exchange = openMessageExchange(socket, {
    requestId: newId('req'),
    startedMs,
    body: message.body,
    onEnd: message.onEnd,
  })
  let status = 200
  try {
    await work(exchange)
  } catch (error) {
    const fault = toFault(error)
    status = fault.status
    logFault(fault, { requestId: exchange.requestId, route: path }, deps)
    if (!exchange.streamStarted) await message.fail(fault, exchange.requestId)
  } finally {
    exchange.close()
    deps.metrics.answered(path, status, deps.clock.monotonicMs() - startedMs)
  }
}
