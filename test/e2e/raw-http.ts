/** HTTP as bytes on a socket: for requests that no client library would send. */
import { connect, type Socket } from 'node:net'

export interface RawAnswer {
  /** 0 when the server closed without an answer. */
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
  /** How many responses came on this connection. */
  readonly responses: number
  readonly elapsedMs: number
}

const answerTimeoutMs = 45_000
const answerBytesMax = 4 * 1024 * 1024
const quietAfterAnswerMs = 300

/** Sends the bytes and collects what comes back until the server closes, or is quiet after a whole answer. */
export function sendRaw(url: string, bytes: string | Buffer): Promise<RawAnswer> {
  return exchangeRaw(url, (socket) => {
    socket.write(bytes)
  })
}

/** Like `sendRaw`, with a sender that decides itself when to write what. */
export function exchangeRaw(url: string, send: (socket: Socket) => void): Promise<RawAnswer> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const startedMs = performance.now()
    const chunks: Buffer[] = []
    let bytes = 0
    const socket = connect(Number(port), hostname, () => send(socket))
    const finish = (): void => {
      clearTimeout(limit)
      clearTimeout(quiet)
      socket.destroy()
      resolve(parseAnswer(Buffer.concat(chunks).toString('utf8'), performance.now() - startedMs))
    }
    const limit = setTimeout(() => {
      socket.destroy()
      reject(new Error(`no end of the answer within ${answerTimeoutMs} ms`))
    }, answerTimeoutMs)
    let quiet: NodeJS.Timeout | undefined
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      chunks.push(chunk)
      clearTimeout(quiet)
      if (bytes > answerBytesMax) finish()
      else if (isWhole(Buffer.concat(chunks).toString('utf8')))
        quiet = setTimeout(finish, quietAfterAnswerMs)
    })
    socket.on('close', finish)
    // A server that refuses closes while we still write; what it said before counts.
    socket.on('error', () => {})
  })
}

export function post(path: string, headers: Readonly<Record<string, string>>): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `POST ${path} HTTP/1.1\r\nhost: localhost\r\n${lines.join('')}\r\n`
}

function isWhole(text: string): boolean {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return false
  const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, end))?.[1]
  if (length !== undefined) return Buffer.byteLength(text.slice(end + 4)) >= Number(length)
  return text.endsWith('0\r\n\r\n')
}

function parseAnswer(text: string, elapsedMs: number): RawAnswer {
  const end = text.indexOf('\r\n\r\n')
  const head = end < 0 ? text : text.slice(0, end)
  const headers = new Map(
    head
      .split('\r\n')
      .slice(1)
      .map((line) => {
        const colon = line.indexOf(':')
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
      }),
  )
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0),
    headers,
    body: end < 0 ? '' : text.slice(end + 4),
    responses: [...text.matchAll(/HTTP\/1\.1 \d{3} /g)].length,
    elapsedMs,
  }
}
