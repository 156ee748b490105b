/** Bodies, headers and connections made to hurt. Each gets a typed 4xx in bounded time, while another client's stream goes on. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { exchangeRaw, post, sendRaw, type RawAnswer } from './raw-http.ts'
import { until } from './until.ts'
import type { WatcherOptions, WatcherReport } from './stream-watcher.ts'

const platform = inject('platform')
const path = '/v1/chat/completions'
const mebibyte = 1024 * 1024

/** The steady engine sends a token each 50 ms; a silence of this length would be seen by a person. */
const silenceMaxMs = 1_000
const answerMaxMs = 5_000
/** Node checks the 10 s limit for headers once a second; the limit for bodies is 30 s. */
const slowHeadersMaxMs = 15_000
const slowBodyMaxMs = 40_000

let watcher: Worker

beforeAll(async () => {
  const workerData: WatcherOptions = {
    url: platform.apiUrl,
    apiKey: platform.apiKey,
    model: platform.steadyModel,
  }
  watcher = new Worker(new URL('./stream-watcher.ts', import.meta.url), { workerData })
  await until('the steady stream flows', 10_000, async () => (await report()).events > 0)
  await report()
})

afterAll(() => watcher.terminate())

async function report(): Promise<WatcherReport> {
  watcher.postMessage('report')
  const [answer]: WatcherReport[] = await once(watcher, 'message')
  if (!answer) throw new Error('the watcher did not answer')
  return answer
}

async function expectUndisturbed(): Promise<void> {
  const { longestSilenceMs, broken } = await report()
  expect(longestSilenceMs, "another client's stream stuttered").toBeLessThan(silenceMaxMs)
  expect(broken, "another client's stream broke").toBe(0)
}

function expectTyped(answer: RawAnswer, statuses: readonly number[], code?: string): void {
  expect(statuses).toContain(answer.status)
  expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
  const body: unknown = JSON.parse(answer.body)
  expect(body).toEqual({
    error: {
      message: expect.any(String),
      type: expect.any(String),
      param: expect.toBeOneOf([expect.any(String), null]),
      code: code ?? expect.toBeOneOf([expect.any(String), null]),
    },
  })
}

const authorised = {
  authorization: `Bearer ${platform.apiKey}`,
  'content-type': 'application/json',
}

function withBody(body: string | Buffer, headers: Readonly<Record<string, string>> = {}): Buffer {
  const bytes = Buffer.from(body)
  const head = post(path, { ...authorised, 'content-length': String(bytes.length), ...headers })
  return Buffer.concat([Buffer.from(head), bytes])
}

function chat(fields: string, model = platform.chatModel): string {
  return `{"model":"${model}","messages":[{"role":"user","content":"hi"}]${fields}}`
}

interface Attack {
  readonly name: string
  readonly bytes: () => string | Buffer
  readonly status: number | readonly number[]
  readonly code?: string
}

const attacks: readonly Attack[] = [
  {
    name: '100,000 nested arrays',
    bytes: () => withBody(chat(`,"metadata":${'['.repeat(100_000)}${']'.repeat(100_000)}`)),
    status: 400,
    code: 'invalid_json',
  },
  {
    name: '5 million opening brackets',
    bytes: () => withBody('['.repeat(5_000_000)),
    status: 400,
    code: 'invalid_json',
  },
  {
    name: '__proto__ as a key',
    bytes: () => withBody(chat(',"__proto__":{"isAdmin":true}')),
    status: 400,
    code: 'invalid_json',
  },
  {
    name: '__proto__ as an escaped key',
    bytes: () => withBody(chat(',"\\u005f_proto__":{"isAdmin":true}')),
    status: 400,
    code: 'invalid_json',
  },
  {
    name: 'the same key twice',
    bytes: () => withBody(chat(`,"model":"${platform.steadyModel}"`)),
    status: 400,
    code: 'invalid_json',
  },
  {
    name: 'a gzip bomb',
    bytes: () => withBody(gzipSync(Buffer.alloc(64 * mebibyte)), { 'content-encoding': 'gzip' }),
    status: 413,
    code: 'request_too_large',
  },
  {
    name: 'a brotli bomb',
    bytes: () =>
      withBody(brotliCompressSync(Buffer.alloc(8 * mebibyte)), { 'content-encoding': 'br' }),
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    name: 'gzip within gzip',
    bytes: () => withBody(gzipSync(gzipSync(chat(''))), { 'content-encoding': 'gzip, gzip' }),
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    name: 'gzip that is none',
    bytes: () => withBody(chat(''), { 'content-encoding': 'gzip' }),
    status: 400,
  },
  {
    name: 'a header of 64 KiB',
    bytes: () => withBody(chat(''), { 'x-big': 'a'.repeat(64 * 1024) }),
    status: 431,
  },
  {
    name: 'a key of 12 KiB',
    bytes: () => withBody(chat(''), { authorization: `Bearer ${'k'.repeat(12 * 1024)}` }),
    status: 401,
  },
  {
    name: '2,500 headers',
    bytes: () =>
      withBody(
        chat(''),
        Object.fromEntries(Array.from({ length: 2_500 }, (_, index) => [`x-${index}`, '1'])),
      ),
    status: [400, 431],
  },
  {
    name: 'a body of 40 MB',
    bytes: () => withBody(chat(`,"user":"${'a'.repeat(40_000_000)}"`)),
    status: 413,
    code: 'request_too_large',
  },
  {
    name: 'a body of 40 MB in chunks, unannounced',
    bytes: () => {
      const chunk = `100000\r\n${'a'.repeat(0x10_00_00)}\r\n`
      return `${post(path, { ...authorised, 'transfer-encoding': 'chunked' })}${chunk.repeat(40)}0\r\n\r\n`
    },
    status: 413,
    code: 'request_too_large',
  },
  {
    name: 'a length and chunks at once (smuggling)',
    bytes: () =>
      `${post(path, { ...authorised, 'content-length': '4', 'transfer-encoding': 'chunked' })}0\r\n\r\nGET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n`,
    status: 400,
  },
  {
    name: 'two lengths',
    bytes: () =>
      `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 20\r\n\r\n{}`,
    status: 400,
  },
  {
    name: 'a folded header',
    bytes: () => `POST ${path} HTTP/1.1\r\nhost: localhost\r\nx-a: 1\r\n 2\r\n\r\n`,
    status: 400,
  },
  {
    name: 'a header name with a space',
    bytes: () => `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length : 2\r\n\r\n{}`,
    status: 400,
  },
  {
    name: 'a NUL in a header',
    bytes: () => withBody(chat(''), { 'x-client-request-id': 'a\0b' }),
    status: 400,
  },
  { name: 'no HTTP at all', bytes: () => 'EHLO example.org\r\n\r\n', status: 400 },
  {
    name: 'a text that is not UTF-8',
    bytes: () =>
      withBody(
        Buffer.concat([
          Buffer.from(chat('').slice(0, -4)),
          Buffer.from([0xff, 0xfe, 0x80]),
          Buffer.from('"}]}'),
        ]),
      ),
    status: 400,
    code: 'invalid_json',
  },
  { name: 'half a JSON text', bytes: () => withBody(chat('').slice(0, -5)), status: 400 },
  { name: 'an empty body', bytes: () => withBody(''), status: 400 },
  { name: 'null', bytes: () => withBody('null'), status: 400 },
  { name: 'an array', bytes: () => withBody('[]'), status: 400 },
  {
    name: 'a form',
    bytes: () => withBody('model=x', { 'content-type': 'application/x-www-form-urlencoded' }),
    status: 415,
  },
  {
    name: 'an unknown model',
    bytes: () => withBody(chat('', 'no/such:model')),
    status: 404,
    code: 'model_not_found',
  },
  ...[
    '"max_completion_tokens":1e308',
    '"max_completion_tokens":-1',
    '"max_completion_tokens":1.5',
    '"temperature":1e9',
    '"top_p":-0.1',
    '"n":1000000000',
    '"n":0',
    '"top_logprobs":100000',
    '"presence_penalty":1e999',
    '"seed":"x"',
    `"stop":${JSON.stringify(Array(1_000).fill('x'))}`,
  ].map((field): Attack => ({
    name: field.slice(0, 40),
    bytes: () => withBody(chat(`,${field}`)),
    status: 400,
  })),
  {
    name: 'a million messages',
    bytes: () =>
      withBody(`{"model":"${platform.chatModel}","messages":[${'{},'.repeat(1_000_000)}{}]}`),
    status: 400,
  },
  {
    name: 'a word of 10 million letters',
    bytes: () => withBody(chat('').replace('"hi"', `"${'a'.repeat(10_000_000)}"`)),
    status: 400,
    code: 'context_length_exceeded',
  },
]

test.each(attacks)('$name', async ({ bytes, status, code }) => {
  const prepared = bytes()
  await report()
  const answer = await sendRaw(platform.apiUrl, prepared)
  expectTyped(answer, typeof status === 'number' ? [status] : status, code)
  expect(answer.responses, 'one request has one response').toBe(1)
  expect(answer.elapsedMs).toBeLessThan(answerMaxMs)
  await expectUndisturbed()
})

test.each([
  { name: 'a lone surrogate', content: '\\ud800' },
  { name: 'NUL', content: 'a\\u0000b' },
  { name: 'terminal escapes', content: '\\u001b[2J\\u001b]0;x\\u0007' },
])('$name in a message is served or refused, and never a fault of ours', async ({ content }) => {
  const body = chat(',"max_completion_tokens":4').replace('"hi"', `"${content}"`)
  const answer = await sendRaw(platform.apiUrl, withBody(body))
  expect([200, 400]).toContain(answer.status)
  expect(() => JSON.parse(answer.body)).not.toThrow()
  await expectUndisturbed()
})

test('200 clients that never finish their headers, and one that trickles its body, are closed', async () => {
  const idle = Array.from({ length: 200 }, () =>
    exchangeRaw(platform.apiUrl, (socket) => {
      socket.write('GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx-a: ')
    }),
  )
  const trickling = exchangeRaw(platform.apiUrl, (socket) => {
    socket.write(post(path, { ...authorised, 'content-length': '1000000' }))
    trickle(socket)
  })
  for (const answer of await Promise.all(idle)) {
    expect([0, 400, 408]).toContain(answer.status)
    expect(answer.elapsedMs).toBeLessThan(slowHeadersMaxMs)
  }
  const answer = await trickling
  expectTyped(answer, [408], 'request_timeout')
  expect(answer.elapsedMs).toBeLessThan(slowBodyMaxMs)
  await expectUndisturbed()
}, 60_000)

function trickle(socket: Socket): void {
  const timer = setInterval(() => socket.write(' '), 500)
  socket.on('close', () => clearInterval(timer))
}

test('after all of that, an honest request is answered', async () => {
  const answer = await sendRaw(
    platform.apiUrl,
    withBody(chat(',"max_completion_tokens":4', platform.steadyModel)),
  )
  expect(answer.status).toBe(200)
})
