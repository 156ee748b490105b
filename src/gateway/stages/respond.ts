/** Writes a stream of parts to the client as server-sent events, at the client's pace. */
import type { StreamPart } from '../../engines/engine.ts'
import type { Clock } from '../../platform/clock.ts'
import { Fault, toFault } from '../../platform/fault.ts'
import type { Exchange } from '../exchange.ts'
import { openAiErrors, type ErrorDialect } from '../wire/openai/errors.ts'

/** Proxies and SDKs give up on silent connections after a minute or so. */
const keepAliveMs = 10_000

const streamHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
}

/**
 * The head waits for the first part, so that an early failure has its true status; after a long silence of an engine that has accepted the
 * work, the head goes out and comments keep the connection open. A failure after the head ends the stream with an error event and
 * without its terminal marker: a cut answer never looks whole.
 */
export async function streamAnswer(options: {
  readonly exchange: Pick<Exchange, 'requestId' | 'signal' | 'startStream' | 'write' | 'endStream'>
  readonly parts: AsyncIterable<StreamPart>
  readonly encode: (part: StreamPart) => string
  readonly keepAlive: string
  /** OpenAI's where it is left out. */
  readonly errors?: ErrorDialect
  readonly clock: Clock
}): Promise<void> {
  const { exchange, encode, clock } = options
  let isStarted = false
  const start = (): void => {
    isStarted = true
    exchange.startStream(streamHeaders)
  }
  let lastWriteMs = clock.monotonicMs()
  const keepAlive = (): void => {
    const silentMs = clock.monotonicMs() - lastWriteMs
    const isSilent = silentMs >= keepAliveMs
    if (isSilent) {
      if (!isStarted) start()
      void exchange.write(options.keepAlive)
      lastWriteMs += silentMs
    }
    // At least 1 ms: what is left may be too small a fraction to move a clock.
    cancel = clock.after(isSilent ? keepAliveMs : Math.max(keepAliveMs - silentMs, 1), keepAlive)
  }
  let cancel = clock.after(keepAliveMs, keepAlive)
  try {
    for await (const part of options.parts) {
      const text = encode(part)
      if (text === '') continue
      if (!isStarted) start()
      lastWriteMs = clock.monotonicMs()
      const room = exchange.write(text)
      if (room) await room
      if (exchange.signal.aborted) throw gone()
    }
    exchange.endStream()
  } catch (error) {
    if (!isStarted) throw error
    const errors = options.errors ?? openAiErrors
    void exchange.write(errors.event(toFault(error), exchange.requestId))
    exchange.endStream()
    throw error
  } finally {
    cancel()
  }
}

function gone(): Fault {
  return new Fault({ code: 'client.gone', public: 'The client closed the request.' })
}
