/** An exchange without a client: a line of a batch asks, and its answer is kept. */
import { Fault } from '../../platform/fault.ts'
import { newId } from '../../platform/ids.ts'
import type { Clock } from '../../platform/clock.ts'
import type { Body, Exchange } from '../exchange.ts'

export interface LineAnswer {
  readonly status: number
  readonly body: string
}

export interface LineExchange extends Exchange, Disposable {
  readonly answer: LineAnswer | undefined
  /** The request began with an earlier run. */
  readonly isFurtherLeg: boolean
  /** It took too long, and was ended. */
  readonly isLate: boolean
}

/** No answer of a model is nearly as long, unless it is pictures. */
const answerBytesMax = 32 * 1024 * 1024
const ended = new Error('the exchange ended')

export function openLineExchange(options: {
  readonly headers: Readonly<Record<string, string>>
  readonly body: Body
  readonly timeoutMs: number
  /** Aborted when the gateway ends. */
  readonly signal: AbortSignal
  readonly clock: Clock
}): LineExchange {
  const { clock } = options
  const abort = new AbortController()
  const onAbort = (): void => abort.abort(ended)
  if (options.signal.aborted) onAbort()
  options.signal.addEventListener('abort', onAbort)
  let isFurtherLeg = false
  let isLate = false
  const cancelTimer = clock.after(options.timeoutMs, () => {
    isLate = true
    abort.abort(ended)
  })
  let requestId = newId('req')
  let answer: LineAnswer | undefined

  return {
    get requestId() {
      return requestId
    },
    headers: options.headers,
    query: new URLSearchParams(),
    ip: '',
    startedMs: clock.monotonicMs(),
    signal: abort.signal,
    clientLeft: false,
    streamStarted: false,
    adoptRequestId(earlier) {
      requestId = earlier
      isFurtherLeg = true
    },
    addHeaders: () => {},
    abort: onAbort,
    readBody: () => Promise.resolve(options.body),
    bodyPieces: () => {
      throw noStream()
    },
    send(status, _headers, body) {
      const text = typeof body === 'string' ? body : body.toString('utf8')
      if (text.length > answerBytesMax) return Promise.reject(tooLarge())
      answer = { status, body: text }
      return Promise.resolve()
    },
    startStream() {
      throw noStream()
    },
    write() {
      throw noStream()
    },
    endStream: () => {},
    get isFurtherLeg() {
      return isFurtherLeg
    },
    get isLate() {
      return isLate
    },
    get answer() {
      return answer
    },
    [Symbol.dispose]() {
      cancelTimer()
      options.signal.removeEventListener('abort', onAbort)
    },
  }
}

function noStream(): Fault {
  return new Fault({
    code: 'client.unsupported_value',
    public: 'A batch has no streams. Leave stream out.',
    param: 'stream',
  })
}

function tooLarge(): Fault {
  return new Fault({
    code: 'upstream.invalid_response',
    public: `The answer is larger than ${answerBytesMax / 1024 / 1024} MiB, and cannot be kept.`,
  })
}
