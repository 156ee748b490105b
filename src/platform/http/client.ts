/**
 * Outgoing HTTP for the data plane: undici's `dispatch` on a keep-alive pool, bridged to an async iterator with back-pressure.
 * `fetch` and web streams cost four times the CPU per request (docs/decisions/0003-data-plane-http.md).
 */
import { Pool, type Dispatcher } from 'undici'
import { Fault } from '../fault.ts'
import { connectorOf } from './engine-socket.ts'

export interface HttpClient {
  /** Resolves with the response's head; the body is read by iterating. Throws `upstream.unreachable`, `upstream.timeout`. */
  open(request: HttpRequest): Promise<HttpResponse>
  close(): Promise<void>
}

export interface HttpRequest {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | Buffer | undefined
  readonly signal: AbortSignal
  readonly firstByteTimeoutMs: number
  /** The longest silence between two pieces of the body. */
  readonly idleTimeoutMs: number
}

export interface HttpResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** Iterate once. Leaving the loop early drains a short rest, and cuts a long one. */
  readonly body: AsyncIterable<Buffer>
}

/** Engines are near; who is far says so. */
const connectTimeoutMsDefault = 1_000
/** Streams occupy a connection each, so the pool must allow as many as a gateway holds. */
const connectionsMax = 8_192
/** Bytes that may wait for a slow reader before the socket is paused. */
const bufferedBytesMax = 256 * 1024
/** What may still come after the reader has left, before the connection is given up. */
const drainMs = 1_000
const drainBytesMax = 64 * 1024

export function createHttpClient(
  origin: string,
  { connectTimeoutMs = connectTimeoutMsDefault }: { readonly connectTimeoutMs?: number } = {},
): HttpClient {
  const isPlain = origin.startsWith('http:')
  const pool = new Pool(origin, {
    connections: connectionsMax,
    pipelining: 1,
    connect: isPlain ? connectorOf(connectTimeoutMs) : { timeout: connectTimeoutMs },
    keepAliveTimeout: 10_000,
    // Time limits are per request, below.
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: 16 * 1024,
  })
  return {
    open: (request) =>
      new Promise((resolve, reject) => {
        const exchange = new Exchange(request, resolve, reject)
        const { method, path, headers, body = null } = request
        pool.dispatch({ method, path, headers: { ...headers }, body }, exchange)
      }),
    close: () => pool.destroy(),
  }
}

/** One request and its response: undici pushes into it, the iterator pulls from it. */
class Exchange implements Dispatcher.DispatchHandler, AsyncIterator<Buffer> {
  readonly #request: HttpRequest
  readonly #resolve: (response: HttpResponse) => void
  readonly #reject: (error: Error) => void
  #controller: Dispatcher.DispatchController | undefined
  #chunks: Buffer[] = []
  #bufferedBytes = 0
  #waiting: ((result: IteratorResult<Buffer>) => void) | undefined
  #waitingFailed: ((error: Error) => void) | undefined
  #ended = false
  #failure: Error | undefined
  /** Runs out after a silence; the limit is longer until the body's first piece (prefill). */
  #timer: NodeJS.Timeout
  #responseStarted = false
  #bodyStarted = false
  /** When the last piece of the body came. */
  #heardMs = 0
  #timedOut = false
  #abandoned = false

  constructor(
    request: HttpRequest,
    resolve: (response: HttpResponse) => void,
    reject: (error: Error) => void,
  ) {
    this.#request = request
    this.#resolve = resolve
    this.#reject = reject
    this.#timer = setTimeout(this.#onSilence, request.firstByteTimeoutMs)
    request.signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#request.signal.aborted) this.#onAbort()
    else if (this.#failure) controller.abort(this.#failure)
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200) return
    this.#responseStarted = true
    this.#timer.refresh()
    this.#resolve({ status, headers, body: { [Symbol.asyncIterator]: () => this } })
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#abandoned) {
      this.#bufferedBytes += chunk.length
      if (this.#bufferedBytes > drainBytesMax) this.#onAbort()
      return
    }
    this.#touch()
    const waiting = this.#waiting
    if (waiting) {
      this.#waiting = undefined
      waiting({ done: false, value: chunk })
      return
    }
    this.#chunks.push(chunk)
    this.#bufferedBytes += chunk.length
    if (this.#bufferedBytes > bufferedBytesMax) controller.pause()
  }

  onResponseEnd(): void {
    this.#finish()
    this.#ended = true
    this.#waiting?.({ done: true, value: undefined })
    this.#waiting = undefined
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    this.#fail(error)
  }

  next(): Promise<IteratorResult<Buffer>> {
    const chunk = this.#chunks.shift()
    if (chunk) {
      this.#bufferedBytes -= chunk.length
      if (this.#controller?.paused && this.#bufferedBytes === 0) {
        this.#heardMs = performance.now()
        this.#controller.resume()
      }
      return Promise.resolve({ done: false, value: chunk })
    }
    if (this.#failure) return Promise.reject(this.#failure)
    if (this.#ended) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => {
      this.#waiting = resolve
      this.#waitingFailed = reject
    })
  }

  /** A reader that has what it needs leaves the rest: a short one is drained, so that the connection can be used again. */
  return(): Promise<IteratorResult<Buffer>> {
    if (!this.#ended && !this.#failure) {
      this.#abandoned = true
      this.#chunks = []
      if (this.#controller?.paused) this.#controller.resume()
      clearTimeout(this.#timer)
      this.#timer = setTimeout(this.#onAbort, drainMs)
    }
    return Promise.resolve({ done: true, value: undefined })
  }

  /** The first piece of the body ends the wait for the engine's prefill; from then on silence is an outage. */
  #touch(): void {
    // Moving the timer for each piece would cost more than looking at it when it runs out.
    this.#heardMs = performance.now()
    if (this.#bodyStarted) return
    this.#bodyStarted = true
    clearTimeout(this.#timer)
    this.#timer = setTimeout(this.#onSilence, this.#request.idleTimeoutMs)
  }

  readonly #onSilence = (): void => {
    // A reader that does not read is not the engine's silence.
    if (this.#controller?.paused) {
      this.#timer.refresh()
      return
    }
    const silentMs = this.#bodyStarted ? performance.now() - this.#heardMs : Infinity
    const leftMs = this.#request.idleTimeoutMs - silentMs
    if (leftMs >= 1) {
      this.#timer = setTimeout(this.#onSilence, leftMs)
      return
    }
    this.#timedOut = true
    this.#abort(new Error('the engine was silent for too long'))
  }

  readonly #onAbort = (): void => {
    this.#abort(new Error('aborted'))
  }

  #abort(reason: Error): void {
    if (this.#ended) return
    this.#fail(reason)
    this.#controller?.abort(reason)
  }

  #fail(error: Error): void {
    if (this.#failure || this.#ended) return
    this.#finish()
    this.#failure = this.#translate(error)
    this.#reject(this.#failure)
    this.#waitingFailed?.(this.#failure)
    this.#waiting = undefined
  }

  #finish(): void {
    clearTimeout(this.#timer)
    this.#request.signal.removeEventListener('abort', this.#onAbort)
  }

  #translate(error: Error): Fault {
    if (this.#request.signal.aborted) {
      return new Fault({ code: 'client.gone', public: 'The client closed the request.' })
    }
    if (this.#timedOut) {
      return new Fault({
        code: 'upstream.timeout',
        public: 'The model server did not answer in time. Try again.',
        internal: error.message,
        retryAfterMs: 1_000,
      })
    }
    const code = 'code' in error ? String(error.code) : error.name
    if (this.#responseStarted) {
      return new Fault({
        code: 'upstream.truncated',
        public: 'The model server broke off its answer. Try again.',
        internal: `${code}: ${error.message}`,
        cause: error,
      })
    }
    return new Fault({
      code: 'upstream.unreachable',
      public: 'The connection to the model server failed. Try again.',
      internal: `${code}: ${error.message}`,
      cause: error,
      retryAfterMs: 1_000,
    })
  }
}
