/** One HTTP exchange with a client: the request as it arrived, before it is trusted, and the way to answer it. */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { Fault } from '../platform/fault.ts'

/** How a body arrives. */
export type BodyType = 'json' | 'multipart'
/** Its bytes in the pieces in which they came: joining the pieces of a long one would cost as much as parsing it. */
export type Body = readonly Buffer[]

export interface Exchange {
  /** The client knows the request by it; all legs of one request share it. */
  readonly requestId: string
  readonly headers: IncomingHttpHeaders
  readonly query: URLSearchParams
  readonly ip: string
  /** Monotonic milliseconds at arrival. */
  readonly startedMs: number
  /** Aborted when the client leaves, stops reading, or the request has taken too long. */
  readonly signal: AbortSignal
  /** Whether the client itself ended the exchange early. */
  readonly clientLeft: boolean
  /** Becomes a further leg of an earlier request. */
  adoptRequestId(requestId: string): void
  /** Adds headers to the answer, whatever it will be; its own win over these. */
  addHeaders(headers: Readonly<Record<string, string>>): void
  /** Ends whatever still works for this exchange. */
  abort(): void
  /** Reads the whole body once, within the limits. */
  readBody(type: BodyType): Promise<Body>
  /** Gives a body that is too large to be held piece by piece, up to a limit of its own, at the reader's pace. Throws at once for another type. */
  bodyPieces(type: BodyType, bytesMax: number): AsyncIterable<Buffer>
  /** Sends a whole answer. Resolves when it was handed to the socket. */
  send(
    status: number,
    headers: Readonly<Record<string, string>>,
    body: string | Buffer,
  ): Promise<void>
  /** Sends the head of a stream. */
  startStream(headers: Readonly<Record<string, string>>): void
  readonly streamStarted: boolean
  /** Writes one piece of a stream; resolves once the client has room for more. */
  write(piece: string | Uint8Array): Promise<void> | undefined
  /** `cut`: without a proper end, for content that cannot say itself that it is not whole. */
  endStream(how?: 'cut'): void
}

export interface ExchangeLimits {
  readonly bodyBytesMax: number
  /** How long a client may take to send its body. */
  readonly bodyTimeoutMs: number
  /** How long a client may stop reading before its stream is given up. */
  readonly stalledReaderMs: number
  readonly totalTimeoutMs: number
}

const inflate = promisify(gunzip)
const discardMs = 5_000
const lastChunk = '0\r\n\r\n'
/** More than this is not kept for the end of a turn. */
const unsentCharactersMax = 16 * 1024
const lineEnd = Buffer.from('\r\n')
/** One reason for all: making a DOMException with a stack for each abort costs more than authenticating does. */
const ended = new Error('the exchange ended')

export function openExchange(options: {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly requestId: string
  readonly ip: string
  readonly startedMs: number
  /** Whole milliseconds since then. */
  readonly elapsedMs: () => number
  readonly commonHeaders: Readonly<Record<string, string>>
  readonly limits: ExchangeLimits
}): Exchange & { close(): void } {
  const { request, response, limits } = options
  const abort = new AbortController()
  let clientLeft = false
  let streamStarted = false
  /** HTTP/1.1 streams are sent in chunks that are framed here; HTTP/1.0 knows none. */
  let framesChunks = false
  const onClose = (): void => {
    if (response.writableFinished) return
    clientLeft = true
    abort.abort(ended)
  }
  response.on('close', onClose)
  const totalTimer = setTimeout(() => abort.abort(ended), limits.totalTimeoutMs)

  let requestId = options.requestId
  let added: Readonly<Record<string, string>> = {}
  const head = (headers: Readonly<Record<string, string>>): Record<string, string> => ({
    ...options.commonHeaders,
    'x-request-id': requestId,
    // The same for Anthropic's clients.
    'request-id': requestId,
    'openai-processing-ms': String(options.elapsedMs()),
    ...added,
    ...headers,
  })

  /** What a stream has said since the last turn of the event loop, to leave in one write. */
  let unsent = ''
  /** Of a stream, the socket: Node's own `write` would cork it for each piece, at a third of the whole cost of an event. */
  let outlet: Writable = response
  /** Had no room for more when it was last written to. */
  let isFull = false
  const flush = (): void => {
    const text = unsent
    unsent = ''
    if (text === '' || response.destroyed) return
    isFull = !(framesChunks ? writeChunk(outlet, text) : outlet.write(text))
  }

  return {
    get requestId() {
      return requestId
    },
    headers: request.headers,
    get query() {
      return new URLSearchParams(request.url?.split('?')[1])
    },
    ip: options.ip,
    startedMs: options.startedMs,
    signal: abort.signal,
    get clientLeft() {
      return clientLeft
    },
    get streamStarted() {
      return streamStarted
    },
    adoptRequestId(earlier) {
      requestId = earlier
    },
    addHeaders(headers) {
      added = { ...added, ...headers }
    },
    abort: () => abort.abort(ended),
    readBody: (type) => readBody(request, type, limits),
    bodyPieces: (type, bytesMax) =>
      bodyPieces(request, type, { ...limits, bodyBytesMax: bytesMax }),
    send(status, headers, body) {
      if (response.destroyed || response.headersSent) return Promise.resolve()
      const unread = !request.complete
      response.writeHead(status, {
        ...head(headers),
        'content-length': String(Buffer.byteLength(body)),
      })
      // A string leaves in one write with its head; a buffer would take two.
      response.end(body)
      if (unread) discardBody(request)
      return Promise.resolve()
    },
    startStream(headers) {
      streamStarted = true
      outlet = response.socket ?? response
      framesChunks = request.httpVersionMinor > 0
      response.writeHead(200, {
        ...head(headers),
        ...(framesChunks ? { 'transfer-encoding': 'chunked' } : {}),
      })
      response.flushHeaders()
      // Node would make three writes of each event: size, text, line end.
      if (framesChunks) response.chunkedEncoding = false
    },
    write(piece) {
      if (response.destroyed) return undefined
      if (typeof piece === 'string') {
        if (unsent === '') atEndOfTurn(flush)
        unsent += piece
        if (unsent.length >= unsentCharactersMax) flush()
      } else {
        flush()
        isFull = !outlet.write(framesChunks ? toBinaryChunk(piece) : piece)
      }
      isFull &&= outlet.writableNeedDrain
      if (!isFull) return undefined
      return roomToWrite(outlet, limits.stalledReaderMs, () => {
        clientLeft = true
        abort.abort(ended)
        response.destroy()
      })
    },
    endStream(how) {
      if (how === 'cut') {
        // It is the server that leaves.
        response.off('close', onClose)
        response.destroy()
        return
      }
      const rest = framesChunks ? (unsent && toChunk(unsent)) + lastChunk : unsent
      unsent = ''
      response.end(rest)
    },
    close() {
      clearTimeout(totalTimer)
      response.off('close', onClose)
    },
  }
}

/**
 * Reads on for a while after an early refusal. To close at once would reset the connection while the client still sends, and the
 * client would never see why.
 */
function discardBody(request: IncomingMessage): void {
  const limit = setTimeout(() => request.destroy(), discardMs)
  request.once('close', () => clearTimeout(limit))
  request.once('error', () => clearTimeout(limit))
  request.resume()
}

/** RFC 9112, section 7.1: size in hexadecimal, text, each with a line end. */
function toChunk(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
}

/**
 * All streams frame their text in the same memory: a string would be flattened twice, once for its size and once for its bytes. What stands
 * before `framesEnd` belongs to sockets that have not taken it yet.
 */
let frames = Buffer.allocUnsafeSlow(16 * 1024)
let framesEnd = 0
/** Four digits of the size, and a line end. */
const sizeBytesMax = 6

/** As a stream's `write`. */
function writeChunk(outlet: Writable, text: string): boolean {
  // UTF-8 takes up to three bytes for each of a string's units.
  const bytesMax = sizeBytesMax + text.length * 3 + lineEnd.length
  // A slow reader's text waits as a string, which keeps no more than itself.
  if (bytesMax > frames.length || outlet.writableLength > 0) return outlet.write(toChunk(text))
  if (framesEnd + bytesMax > frames.length) {
    frames = Buffer.allocUnsafeSlow(frames.length)
    framesEnd = 0
  }
  const textStart = framesEnd + sizeBytesMax
  const textBytes = frames.write(text, textStart)
  const size = `${textBytes.toString(16)}\r\n`
  const start = textStart - size.length
  frames.write(size, start, 'latin1')
  const textEnd = textStart + textBytes
  const end = textEnd + lineEnd.copy(frames, textEnd)
  const hasRoom = outlet.write(frames.subarray(start, end))
  if (outlet.writableLength > 0) framesEnd = end
  return hasRoom
}

function toBinaryChunk(piece: Uint8Array): Buffer {
  const size = Buffer.from(`${piece.byteLength.toString(16)}\r\n`)
  return Buffer.concat([size, piece, lineEnd])
}

/** One timer for all streams that said something in this turn of the event loop, after all that was read has been handled. */
let turnEnds: (() => void)[] = []
function atEndOfTurn(work: () => void): void {
  if (turnEnds.length === 0) setImmediate(endTurn)
  turnEnds.push(work)
}
function endTurn(): void {
  const works = turnEnds
  turnEnds = []
  for (const work of works) work()
}

/** Resolves when the socket drained or closed; a reader that takes nothing for too long is given up. */
export function roomToWrite(
  outlet: Writable,
  stalledReaderMs: number,
  giveUp: () => void,
): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      outlet.off('drain', done)
      outlet.off('close', done)
      resolve()
    }
    const timer = setTimeout(() => {
      giveUp()
      done()
    }, stalledReaderMs)
    outlet.once('drain', done)
    outlet.once('close', done)
  })
}

const bodyTypes: Readonly<Record<BodyType, { readonly pattern: RegExp; readonly wanted: string }>> =
  {
    json: {
      pattern: /^application\/json\s*(;|$)/i,
      wanted: "Send the body as JSON, with the header 'content-type: application/json'.",
    },
    multipart: {
      pattern: /^multipart\/form-data\s*(;|$)/i,
      wanted: "Send the body as a form, with the header 'content-type: multipart/form-data'.",
    },
  }

async function readBody(
  request: IncomingMessage,
  type: BodyType,
  limits: ExchangeLimits,
): Promise<Body> {
  checkType(request, type)
  const encoding = (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase()
  if (encoding !== 'identity' && encoding !== 'gzip') {
    throw new Fault({
      code: 'client.unsupported_media_type',
      public: "The content encoding is not supported. Send the body as it is, or with 'gzip'.",
    })
  }
  if (Number(request.headers['content-length'] ?? 0) > limits.bodyBytesMax) throw tooLarge(limits)
  const body = await collectBody(request, limits)
  return encoding === 'gzip' ? [await unzip(Buffer.concat(body), limits)] : body
}

function checkType(request: IncomingMessage, type: BodyType): void {
  const { pattern, wanted } = bodyTypes[type]
  if (pattern.test(request.headers['content-type'] ?? '')) return
  throw new Fault({ code: 'client.unsupported_media_type', public: wanted })
}

function bodyPieces(
  request: IncomingMessage,
  type: BodyType,
  limits: ExchangeLimits,
): AsyncIterable<Buffer> {
  checkType(request, type)
  if ((request.headers['content-encoding'] ?? 'identity').trim().toLowerCase() !== 'identity')
    throw new Fault({
      code: 'client.unsupported_media_type',
      public: 'A form with a file is taken without a content encoding.',
    })
  if (Number(request.headers['content-length'] ?? 0) > limits.bodyBytesMax) throw tooLarge(limits)
  return readPieces(request, limits)
}

/** Time is bound between pieces, because a large body may take long to arrive. What stops reading leaves the rest to `send`. */
async function* readPieces(
  request: IncomingMessage,
  limits: ExchangeLimits,
): AsyncGenerator<Buffer> {
  let bytes = 0
  const late = Promise.withResolvers<never>()
  // Nobody may be waiting when it comes.
  late.promise.catch(() => {})
  const timer = setTimeout(() => late.reject(tooSlow(limits)), limits.bodyTimeoutMs)
  const pieces: AsyncIterator<Buffer> = request.iterator({ destroyOnReturn: false })
  try {
    for (;;) {
      const next = await Promise.race([pieces.next(), late.promise])
      if (next.done === true) return
      bytes += next.value.length
      if (bytes > limits.bodyBytesMax) throw tooLarge(limits)
      yield next.value
      timer.refresh()
    }
  } catch (error) {
    if (error instanceof Fault) throw error
    throw new Fault({ code: 'client.gone', public: 'The client closed the request.', cause: error })
  } finally {
    clearTimeout(timer)
  }
}

function tooSlow(limits: ExchangeLimits): Fault {
  return new Fault({
    code: 'client.request_timeout',
    public: `The body did not arrive: nothing came for ${limits.bodyTimeoutMs / 1_000} seconds.`,
  })
}

function collectBody(request: IncomingMessage, limits: ExchangeLimits): Promise<Body> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const finish = (settle: () => void): void => {
      clearTimeout(timer)
      request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose)
      settle()
    }
    const fail = (fault: Fault): void => finish(() => reject(fault))
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length
      if (bytes > limits.bodyBytesMax) fail(tooLarge(limits))
      else chunks.push(chunk)
    }
    const onEnd = (): void => finish(() => resolve(chunks))
    const onClose = (): void =>
      fail(new Fault({ code: 'client.gone', public: 'The client closed the request.' }))
    const timer = setTimeout(
      () =>
        fail(
          new Fault({
            code: 'client.request_timeout',
            public: `The body did not arrive within ${limits.bodyTimeoutMs / 1_000} seconds.`,
          }),
        ),
      limits.bodyTimeoutMs,
    )
    request.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose)
  })
}

async function unzip(bytes: Buffer, limits: ExchangeLimits): Promise<Buffer> {
  try {
    return await inflate(bytes, { maxOutputLength: limits.bodyBytesMax })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE') {
      throw tooLarge(limits)
    }
    throw new Fault({ code: 'client.invalid_request', public: 'The body is not valid gzip.' })
  }
}

function tooLarge(limits: ExchangeLimits): Fault {
  const mebibytes = Math.floor(limits.bodyBytesMax / 1024 / 1024)
  return new Fault({
    code: 'client.body_too_large',
    public: `The body is larger than the limit of ${mebibytes} MiB.`,
  })
}
