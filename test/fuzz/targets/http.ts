/** Requests as bytes on a socket, for a gateway that listens: what they ask, and how they are written, is almost right. */
import { connect } from 'node:net'
import { gatewayForTests } from '../../gateway-for-tests.ts'
import { below, pick } from '../../chaos/random.ts'
import { mutateBytes, mutateValue } from '../mutate.ts'
import type { Target } from '../target.ts'
import { corpus } from './corpus.ts'

const answerTimeoutMs = 20_000
const answerBytesMax = 1024 * 1024
const paths = [
  ...Object.keys(corpus),
  '/v1/models',
  '/v1/files',
  '/v1/batches',
  '/v1/estimate',
  '/health',
  '/',
  '/v1',
]

export async function httpTarget(): Promise<Target> {
  const gateway = await gatewayForTests({
    models: [{ id: 'm', category: 'chat' }],
    script: () => ({
      body: {
        choices: [{ index: 0, message: { content: 'Hi' }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 3, completion_tokens: 1 },
      },
    }),
  })
  const port = Number(new URL(gateway.url).port)
  let crash: unknown
  const onCrash = (error: unknown): void => {
    crash = error
  }
  process.on('uncaughtException', onCrash)
  return {
    name: 'http',
    prepare(random) {
      const requests = Array.from({ length: 1 + below(random, 3) }, () =>
        makeRequest(random, gateway.key),
      )
      const bytes = Buffer.concat(requests)
      const mutated = below(random, 5) === 0 ? bytes : mutateBytes(random, bytes)
      return async () => {
        const answer = await send(port, mutated)
        if (crash !== undefined) throw crash
        checkAnswer(answer)
      }
    },
    async close() {
      process.off('uncaughtException', onCrash)
      await gateway.close()
    },
  }
}

function makeRequest(random: () => number, key: string): Buffer {
  const path = paths[below(random, paths.length)] ?? '/'
  const bodies = corpus[path] ?? []
  const seed: unknown = bodies[below(random, Math.max(1, bodies.length))]
  const method = seed === undefined ? pick(random, ['GET', 'DELETE', 'OPTIONS', 'HEAD']) : 'POST'
  const body =
    seed === undefined
      ? ''
      : JSON.stringify(below(random, 2) === 0 ? seed : mutateValue(random, seed))
  const isChunked = body !== undefined && below(random, 4) === 0
  const size = Buffer.byteLength(body ?? '')
  const head = [
    `${method} ${path}${below(random, 4) === 0 ? '?after=x&limit=2' : ''} HTTP/1.${below(random, 10) === 0 ? 0 : 1}`,
    'Host: localhost',
    below(random, 10) === 0 ? 'Authorization: Bearer wrong' : `Authorization: Bearer ${key}`,
    'Content-Type: application/json',
    isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${size}`,
    ...(below(random, 10) === 0 ? ['Expect: 100-continue'] : []),
    ...(below(random, 10) === 0 ? ['Content-Encoding: gzip'] : []),
    ...(below(random, 20) === 0 ? ['Connection: Upgrade', 'Upgrade: websocket'] : []),
  ].join('\r\n')
  const content =
    isChunked && size > 0
      ? `${size.toString(16)}\r\n${body}\r\n0\r\n\r\n`
      : isChunked
        ? '0\r\n\r\n'
        : (body ?? '')
  return Buffer.from(`${head}\r\n\r\n${content}`)
}

/** Sends, closes its own side, and takes what comes until the server closes. Throws when it never does. */
function send(port: number, bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const socket = connect({ port, host: '127.0.0.1' }, () => socket.end(bytes))
    const limit = setTimeout(() => {
      socket.destroy()
      reject(new Error(`the connection was still open after ${answerTimeoutMs} ms`))
    }, answerTimeoutMs)
    const finish = (): void => {
      clearTimeout(limit)
      socket.destroy()
      resolve(Buffer.concat(chunks))
    }
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      size += chunk.length
      if (size > answerBytesMax) finish()
    })
    // A reset is a way to refuse.
    socket.on('error', () => {})
    socket.on('close', finish)
  })
}

/** A refusal without a word is one too; what is said has a status of ours, and bodies of errors are JSON. */
function checkAnswer(answer: Buffer): void {
  if (answer.length === 0) return
  const text = answer.toString('latin1')
  const status = /^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1]
  if (status === undefined) throw new Error('an answer that is no HTTP')
  if (/(^|\n)HTTP\/1\.1 500 /.test(text)) throw new Error('an answer with the status 500')
  if (/<html/i.test(text)) throw new Error('an answer in HTML')
}
