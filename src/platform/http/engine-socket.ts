/**
 * The sockets to engines, made for what they carry: many small pieces in, now and then a long prompt out. A stream of Node's allocates for each piece that
 * it reads, and a long body that is sent needs memory of its own; memory that was just used is several times as fast. So all sockets read into
 * one buffer, and long bodies leave from a few (docs/decisions/0003-data-plane-http.md).
 */
import net from 'node:net'
import { errors, type buildConnector } from 'undici'

/** What libuv reads at once. Safe to share: each piece is copied out before the next read. */
const incoming = Buffer.allocUnsafeSlow(64 * 1024)
const keepAliveProbeMs = 60_000

/** Without TLS. */
export function connectorOf(timeoutMs: number): buildConnector.connector {
  return ({ hostname, port }, done) => {
    const socket = new EngineSocket()
    const timer = setTimeout(
      () => socket.destroy(new errors.ConnectTimeoutError(`no connection in ${timeoutMs} ms`)),
      timeoutMs,
    )
    const refuse = (error: Error): void => {
      clearTimeout(timer)
      done(error, null)
    }
    socket.once('error', refuse)
    socket.once('connect', () => {
      clearTimeout(timer)
      socket.off('error', refuse)
      done(null, socket)
    })
    socket.setNoDelay(true)
    socket.setKeepAlive(true, keepAliveProbeMs)
    socket.connect({ host: hostname, port: Number(port) || 80 })
  }
}

/** Reads as any paused stream does: `readable` says that there is something, `read` gives it. */
class EngineSocket extends net.Socket {
  /** Taken from the kernel, and by nobody else yet. */
  #pieces: Buffer[] = []
  /** Whether the kernel is asked for more by itself. Else Node's own `read` asks it again, or tells of the end. */
  #isReading = false

  constructor() {
    super({
      onread: {
        buffer: incoming,
        // Returns whether to read on.
        callback(this: EngineSocket, length: number) {
          const piece = Buffer.allocUnsafe(length)
          incoming.copy(piece, 0, 0, length)
          this.#pieces.push(piece)
          this.emit('readable')
          this.#isReading = this.#pieces.length === 0
          return this.#isReading
        },
      },
    })
  }

  override read(size?: number): Buffer | null {
    // Nothing is taken by a size of 0: it only starts the reading, or tells of the end, which comes after all pieces.
    const isWaiting = this.#pieces.length > 0
    if (isWaiting) return size === 0 ? null : (this.#pieces.shift() ?? null)
    return this.#isReading ? null : (super.read(size) as null)
  }

  override push(piece: unknown): boolean {
    // With a buffer of its own, Node pushes nothing but the end.
    this.#isReading = false
    return super.push(piece)
  }

  override unshift(piece: Buffer): void {
    if (piece.length > 0) this.#pieces.unshift(piece)
  }

  override _write(chunk: Chunk, encoding: BufferEncoding, done: WriteDone): void {
    super._write(chunk, encoding, (error) => {
      if (!error) reclaim(chunk)
      done(error)
    })
  }

  override _writev(chunks: QueuedChunk[], done: WriteDone): void {
    super._writev?.(chunks, (error) => {
      if (!error) for (const { chunk } of chunks) reclaim(chunk)
      done(error)
    })
  }
}
type Chunk = string | Buffer
type WriteDone = (error?: Error | null) => void
interface QueuedChunk {
  readonly chunk: Chunk
  readonly encoding: BufferEncoding
}

/** Below it, fresh memory is near enough. */
export const longBodyBytes = 64 * 1024
const loanBytes = 1024 * 1024
const loansKept = 8
const free: Buffer[] = []
/** What is on loan, by the part of it that is sent. A body that is never sent takes its loan with it. */
const lent = new WeakMap<Buffer, Buffer>()

/** Memory for a body that is written to an `EngineSocket` once: it is not valid any more when the kernel has taken it. */
export function lend(length: number): Buffer {
  if (length > loanBytes) return Buffer.allocUnsafeSlow(length)
  const loan = free.pop() ?? Buffer.allocUnsafeSlow(loanBytes)
  const body = loan.subarray(0, length)
  lent.set(body, loan)
  return body
}

export function reclaim(chunk: string | Buffer): void {
  if (typeof chunk === 'string') return
  const loan = lent.get(chunk)
  if (loan === undefined) return
  lent.delete(chunk)
  if (free.length < loansKept) free.push(loan)
}
