/** A bare TCP server that plays bytes as it is told, and says what it was asked. It knows as much HTTP as that takes. */
import { createServer, type Socket } from 'node:net'

export interface Script {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Each arrives as a piece of its own. */
  readonly pieces: readonly Uint8Array[]
  /** `whole` ends as HTTP does, `cut` closes the connection before that, `held` leaves it open. */
  readonly ending: 'whole' | 'cut' | 'held'
  /** The head waits for it. */
  readonly after?: Promise<void>
}

export interface SeenRequest {
  readonly method: string
  readonly path: string
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** Resolves when the client has closed the connection. */
  readonly closed: Promise<void>
}

export interface ByteServer {
  readonly origin: string
  /** What every request gets from now on. */
  play(script: Script): void
  readonly requests: readonly SeenRequest[]
  close(): Promise<void>
}

/** `beside`: JSON by path, for requests that are not the one that is played for. */
export async function startByteServer(
  beside: Readonly<Record<string, string>> = {},
): Promise<ByteServer> {
  let script: Script | undefined
  const requests: SeenRequest[] = []
  const sockets = new Set<Socket>()

  const answer = async (socket: Socket, seen: SeenRequest): Promise<void> => {
    const fixed = beside[seen.path]
    if (fixed !== undefined) {
      const head = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(fixed)}\r\n\r\n`
      socket.write(head + fixed)
      return
    }
    requests.push(seen)
    if (!script) return
    const { status, headers, pieces, ending, after } = script
    await after
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    const head = `HTTP/1.1 ${status} Played\r\ntransfer-encoding: chunked\r\n${lines.join('')}\r\n`
    const chunks = pieces
      .filter((piece) => piece.length > 0)
      .flatMap((piece) => [
        Buffer.from(`${piece.length.toString(16)}\r\n`),
        piece,
        Buffer.from('\r\n'),
      ])
    const last = Buffer.from(ending === 'whole' ? '0\r\n\r\n' : '')
    socket.write(Buffer.concat([Buffer.from(head), ...chunks, last]))
    if (ending === 'cut') socket.end()
  }
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.setNoDelay()
    const closed = new Promise<void>((resolve) => {
      socket.once('close', () => {
        sockets.delete(socket)
        resolve()
      })
    })
    socket.on('error', () => socket.destroy())
    let bytes: Buffer = Buffer.alloc(0)
    socket.on('data', (piece: Buffer) => {
      bytes = Buffer.concat([bytes, piece])
      const found = takeRequest(bytes)
      if (!found) return
      bytes = Buffer.from(bytes.subarray(found.length))
      void answer(socket, { ...found.request, closed })
    })
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    origin: `http://127.0.0.1:${port}`,
    play(next) {
      script = next
    },
    requests,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function takeRequest(
  bytes: Buffer,
): { readonly request: Omit<SeenRequest, 'closed'>; readonly length: number } | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const [first = '', ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    }),
  )
  const [method = '', path = ''] = first.split(' ')
  const length = headEnd + 4 + Number(headers['content-length'] ?? 0)
  if (bytes.length < length) return undefined
  const body = bytes.toString('utf8', headEnd + 4, length)
  return { request: { method, path, headers, body }, length }
}
