/** What clients of OpenAI's API take for granted of HTTP, errors, headers and lists, at the edge of a gateway whose engine does as the test says. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { sql } from 'kysely'
import OpenAI from 'openai'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import {
  gatewayForTests,
  type GatewayForTests,
  type PostOptions,
} from '../../test/gateway-for-tests.ts'
import { toWav } from './audio/wav-writer.ts'
import { sockets } from './routes.ts'

const bodyBytesMax = 1024 * 1024
const page = 'https://app.example'
/** What no caller may ever read. */
const engineKey = 'sk-upstream-0123456789'
const rant = `Traceback (most recent call last): File "/srv/engine/main.py" on gpu-17.internal (10.1.2.3) with ${engineKey}`
const secrets = ['Traceback', '/srv/engine', 'gpu-17', '10.1.2.3', engineKey, '127.0.0.1', 'node:']

type Behaviour = (response: ServerResponse, request: IncomingMessage) => void
let behave: Behaviour
let gateway: GatewayForTests
let engine: { readonly url: string; close(): void }
/** How often the engine was asked. */
let asked = 0

const usage = {
  prompt_tokens: 7,
  completion_tokens: 2,
  prompt_tokens_details: { cached_tokens: 3 },
}
const choices = [
  { index: 0, message: { role: 'assistant', content: 'Hello you' }, finish_reason: 'stop' },
]
const json = (response: ServerResponse, status: number, body: unknown): void =>
  void response
    .writeHead(status, { 'content-type': 'application/json', server: 'gpu-17.internal' })
    .end(JSON.stringify(body))
const chunk = (content: string, finish: string | null = null): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: finish }] })}\n\n`
const beginStream = (response: ServerResponse): ServerResponse =>
  response.writeHead(200, { 'content-type': 'text/event-stream' })
const well: Behaviour = (response) => json(response, 200, { choices, usage })

beforeAll(async () => {
  const server = createServer((request, response) => {
    request.resume()
    request.on('end', () => {
      asked += 1
      behave(response, request)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  engine = {
    // Listening on TCP, so the address is not a path.
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
  const of = { baseUrl: engine.url, engineKey }
  gateway = await gatewayForTests({
    gateway: { corsOrigins: [page], bodyBytesMax },
    // The last one is for the test of a gateway that is full.
    gateways: [{}, {}, { gateway: { openRequestsMax: 1 } }],
    models: [
      { id: 'org/chat:7b', category: 'chat', ...of },
      { id: 'embed', category: 'embedding', ...of },
      { id: 'rerank', category: 'rerank', engineKind: 'vllm', ...of },
      { id: 'judge', category: 'moderation', ...of },
      { id: 'hear', category: 'audio', capabilities: ['transcription'], ...of },
      { id: 'gone', category: 'chat', baseUrl: 'http://127.0.0.1:9' },
    ],
  })
}, 120_000)

afterAll(async () => {
  await gateway?.close()
  engine?.close()
})

beforeEach(() => {
  behave = well
  asked = 0
})

const messages = [{ role: 'user', content: 'hello' }]
const chatBody = { model: 'org/chat:7b', messages, max_tokens: 8 }
const chat = (fields: object = {}, options: PostOptions = {}): Promise<Response> =>
  gateway.post('/v1/chat/completions', { ...chatBody, ...fields }, options)

function request(
  method: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(`${gateway.url}${path}`, { method, headers })
}
const own = (): Record<string, string> => ({ authorization: `Bearer ${gateway.key}` })

/** Sends pieces over one connection; resolves with all that came once `until` has been seen in it. */
function raw(pieces: readonly string[], until: RegExp): Promise<string> {
  const { port } = new URL(gateway.url)
  return new Promise((resolve, reject) => {
    const rest = [...pieces]
    let text = ''
    const socket = connect(Number(port), '127.0.0.1', () => socket.write(rest.shift() ?? ''))
    const timer = setTimeout(() => socket.destroy(new Error(`only came: ${text}`)), 5_000)
    socket.setEncoding('utf8').on('error', reject)
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(text)
    })
    socket.on('data', (data: string) => {
      text += data
      if (until.test(text)) socket.destroy()
      else if (text.endsWith('}') || text.includes('100 Continue')) socket.write(rest.shift() ?? '')
    })
  })
}

function post(body: string, headers: Readonly<Record<string, string>> = {}): string {
  const all = {
    host: 'x',
    authorization: `Bearer ${gateway.key}`,
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(body)),
    ...headers,
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `POST /v1/chat/completions HTTP/1.1\r\n${lines.join('')}\r\n${body}`
}

const form = 'multipart/form-data'
const refusals: readonly (readonly [string, number, () => Promise<Response>])[] = [
  ['an address that nobody knows', 404, () => request('POST', '/v1/nothing', own())],
  ['the address of no API', 404, () => request('GET', '/')],
  ['a file that nobody has', 404, () => request('GET', '/v1/files/file-x', own())],
  ['a model that nobody has', 404, () => request('GET', '/v1/models/no/such', own())],
  ['GET where POST is meant', 405, () => request('GET', '/v1/chat/completions', own())],
  ['PUT', 405, () => request('PUT', '/v1/embeddings', own())],
  ['PATCH of a file', 405, () => request('PATCH', '/v1/files/file-x', own())],
  ['a path that is no UTF-8', 400, () => request('GET', '/v1/models/%zz', own())],
  ['no key', 401, () => request('GET', '/v1/models')],
  ['a body that is too large', 413, () => chat({ user: 'x'.repeat(bodyBytesMax) })],
  ['a field of a wrong type', 400, () => chat({ temperature: 'hot' })],
  ['a body without a model', 400, () => chat({ model: undefined })],
  ['a form where JSON is meant', 415, () => send(new URLSearchParams('a=b'))],
  ['JSON where a form is meant', 415, () => gateway.post('/v1/audio/transcriptions', {})],
  ['JSON where a file is meant', 415, () => gateway.post('/v1/files', {})],
  ['a file that is no form', 415, () => send(new URLSearchParams('a=b'), {}, '/v1/files')],
  ['a file of no type', 415, () => request('POST', '/v1/files', own())],
  ['a form without a boundary', 400, () => send('', { 'content-type': form }, '/v1/files')],
  ['a socket that was not asked for', 426, () => request('GET', '/v1/realtime', own())],
  ['POST where a socket is meant', 405, () => request('POST', '/v1/realtime', own())],
  ['no JSON', 400, () => send('{"model":', { 'content-type': 'application/json' })],
]
function send(
  body: string | URLSearchParams,
  headers: Record<string, string> = {},
  path = '/v1/chat/completions',
): Promise<Response> {
  return fetch(`${gateway.url}${path}`, { method: 'POST', headers: { ...own(), ...headers }, body })
}

test.each(refusals)(
  '%s is refused with %i, an error body in JSON and an id',
  async (_, status, ask) => {
    const response = await ask()
    expect(response.status).toBe(status)
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8')
    expect(response.headers.get('x-request-id')).toMatch(/^req_\w+$/)
    expect(response.headers.get('openai-version')).toBe('2020-10-01')
    expect(response.headers.get('openai-processing-ms')).toMatch(/^\d+$/)
    expect(await response.json()).toEqual({
      error: {
        message: expect.any(String),
        type: 'invalid_request_error',
        param: expect.toBeOneOf([expect.any(String), null]),
        code: expect.toBeOneOf([expect.any(String), null]),
      },
    })
    if (status === 405) expect(response.headers.get('allow')).toMatch(/^(GET|POST|DELETE)(, |$)/)
    expect(asked).toBe(0)
  },
)

test.each(sockets.map(({ path }) => path))(
  '%s without an upgrade says that a WebSocket is spoken there, and keeps the connection',
  async (path) => {
    const ask = `GET ${path}?model=x HTTP/1.1\r\nhost: x\r\n`
    const offer = 'connection: upgrade, http2-settings\r\nupgrade: h2c\r\n'
    const answers = await raw([`${ask}\r\n`, `${ask}${offer}\r\n`], /\}HTTP.*\}$/s)
    const both = answers.split(/(?<=\})(?=HTTP)/)
    expect(both).toHaveLength(2)
    for (const answer of both) {
      expect(answer).toMatch(/^HTTP\/1.1 426 Upgrade Required\r\n/)
      expect(answer).toMatch(/\r\nupgrade: websocket\r\n/)
      expect(answer).toMatch(/\r\nconnection: upgrade\r\n/)
      expect(answer).toMatch(/"code":"upgrade_required"/)
    }
    const put = await request('PUT', path, own())
    expect(put.status).toBe(405)
    expect(put.headers.get('allow')?.split(', ')).toContain('GET')
    await put.arrayBuffer()
  },
)

test('what is no HTTP, or has too large a head, is refused in JSON with an id', async () => {
  for (const [bytes, status] of [
    ['EHLO example\r\n\r\n', '400 Bad Request'],
    [post('', { 'x-big': 'x'.repeat(20_000) }), '431 Request Header Fields Too Large'],
  ] as const) {
    const answer = await raw([bytes], /\}$/)
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status}\r\n`))
    expect(answer).toMatch(/\r\nx-request-id: req_\w+\r\n/)
    expect(answer).toMatch(/\{"error":\{"message":".*","type":"invalid_request_error","param":null/)
  }
})

test('every answer has an id of its own, with or without a body, whoever asks for what', async () => {
  const answers = await Promise.all([
    chat(),
    request('GET', '/v1/models', own()),
    request('HEAD', '/v1/models', own()),
    request('GET', '/health'),
    request('GET', '/ready'),
    request('GET', '/.well-known/colonnade/receipt-keys.json'),
    request('OPTIONS', '/v1/chat/completions', { origin: page }),
    request('OPTIONS', '/v1/chat/completions', { origin: 'https://elsewhere.example' }),
    request('HEAD', '/nowhere'),
  ])
  const ids = answers.map((response) => response.headers.get('x-request-id'))
  for (const id of ids) expect(id).toMatch(/^req_\w+$/)
  expect(new Set(ids).size).toBe(ids.length)
})

test('a page of an allowed origin may ask without a key first, and may read every header of ours', async () => {
  const preflight = await request('OPTIONS', '/v1/chat/completions', {
    origin: page,
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization, content-type, x-stainless-os',
  })
  expect(preflight.status).toBe(204)
  expect(preflight.headers.get('access-control-allow-origin')).toBe(page)
  expect(preflight.headers.get('access-control-allow-methods')).toContain('POST')
  expect(preflight.headers.get('access-control-allow-methods')).toContain('DELETE')
  expect(preflight.headers.get('access-control-allow-headers')).toContain('x-stainless-os')

  const answers = await Promise.all([
    request('GET', '/v1/models', { ...own(), origin: page }),
    request('GET', '/v1/models', { origin: page }),
    fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        ...own(),
        origin: page,
        'content-type': 'application/json',
        'x-receipt': 'true',
        'idempotency-key': 'page',
      },
      body: JSON.stringify(chatBody),
    }),
  ])
  // What pages may read anyway, what is not ours, and what speaks to proxies and browsers alone.
  const safe =
    /^(cache-control|content-length|content-type|connection|date|keep-alive|transfer-encoding|vary|access-control-.*|x-content-type-options|www-authenticate)$/
  for (const { headers } of answers) {
    expect(headers.get('access-control-allow-origin')).toBe(page)
    const exposed = (headers.get('access-control-expose-headers') ?? '').split(', ')
    const sent = [...headers.keys()].filter((name) => !safe.test(name))
    expect(sent).toContain('x-request-id')
    expect(sent.filter((name) => !exposed.includes(name))).toEqual([])
  }
  const foreign = await request('GET', '/v1/models', { ...own(), origin: 'https://other.example' })
  expect(foreign.headers.get('access-control-allow-origin')).toBeNull()
})

const spellings: readonly (readonly [string, string, Record<string, string>])[] = [
  ['as documented', '/v1/models', { Authorization: 'Bearer KEY' }],
  ['bearer in lower case', '/v1/models', { authorization: 'bearer KEY' }],
  ['BEARER and two spaces', '/v1/models', { AUTHORIZATION: 'BEARER  KEY' }],
  ["Anthropic's header", '/v1/models', { 'X-Api-Key': 'KEY' }],
  ["Azure's header", '/v1/models', { 'api-key': 'KEY' }],
  ['a slash at the end', '/v1/models/', { authorization: 'Bearer KEY' }],
  ['two slashes', '//v1/models', { authorization: 'Bearer KEY' }],
  ['two slashes within', '/v1//models', { authorization: 'Bearer KEY' }],
  ['a query', '/v1/models?limit=20', { authorization: 'Bearer KEY' }],
]
test.each(spellings)('clients are understood: %s', async (_, path, headers) => {
  const lines = Object.entries(headers).map(
    ([name, value]) => `${name}: ${value.replace('KEY', gateway.key)}\r\n`,
  )
  const answer = await raw([`GET ${path} HTTP/1.1\r\nHost: x\r\n${lines.join('')}\r\n`], /\}$/)
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
})

const good = (): string => post(JSON.stringify(chatBody))
test.each([
  ['a body that is no JSON', () => post('{"model":'), 400],
  ['a wrong key', () => post(JSON.stringify(chatBody), { authorization: 'Bearer x' }), 401],
  ['an unknown model', () => post(JSON.stringify({ ...chatBody, model: 'x' })), 404],
  ['another type', () => post('a=b', { 'content-type': 'text/plain' }), 415],
] as const)('after %s the connection is good for the next request', async (_, bad, status) => {
  const answer = await raw([bad(), good()], /"object":"chat\.completion".*\}$/s)
  expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
  expect(answer).toMatch(/\}HTTP\/1\.1 200 OK\r\n/)
})

test('a client that waits for 100 Continue is told to go on, and other expectations are passed over', async () => {
  const body = JSON.stringify(chatBody)
  const head = post('', {
    'content-length': String(Buffer.byteLength(body)),
    expect: '100-continue',
  })
  expect(await raw([head, body], /chat\.completion.*\}$/s)).toMatch(
    /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n/,
  )
  const odd = await raw([post(body, { expect: 'miracles' })], /chat\.completion.*\}$/s)
  expect(odd).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
})

test('a body may come in chunks, or packed with gzip', async () => {
  const body = JSON.stringify(chatBody)
  const half = body.length >> 1
  const chunks = [body.slice(0, half), body.slice(half)]
    .map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`)
    .join('')
  const bytes = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${gateway.key}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`
  expect(await raw([bytes], /chat\.completion.*\}$/s)).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  const packed = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...own(), 'content-type': 'application/json', 'content-encoding': 'gzip' },
    body: new Uint8Array(gzipSync(body)),
  })
  expect(packed.status).toBe(200)
})

test('an event is sent when the engine says it, unpacked, whatever the client could unpack', async () => {
  const goOn = Promise.withResolvers<void>()
  behave = (response) => {
    beginStream(response).write(chunk('first'))
    void goOn.promise.then(() =>
      response.end(`${chunk('second')}${chunk('', 'stop')}data: [DONE]\n\n`),
    )
  }
  const response = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      ...own(),
      'content-type': 'application/json',
      'accept-encoding': 'gzip, br, deflate',
    },
    body: JSON.stringify({ ...chatBody, stream: true }),
  })
  expect(response.headers.get('content-encoding')).toBeNull()
  let text = ''
  for await (const bytes of response.body ?? []) {
    text += Buffer.from(bytes).toString()
    // Had it been held back, nobody would ever tell the engine to go on.
    if (text.includes('first') && !text.includes('second')) goOn.resolve()
  }
  expect(text).toMatch(/first.*second.*\[DONE\]/s)
})

test.each([false, true])(
  'a client that leaves before the first word ends the work of the engine within a second, and pays nothing (streamed: %s)',
  async (stream) => {
    const heard = Promise.withResolvers<void>()
    const ended = Promise.withResolvers<number>()
    behave = (response) => {
      response.on('close', () => ended.resolve(performance.now()))
      heard.resolve()
    }
    const key = await gateway.makeKey()
    const leaving = new AbortController()
    const asking = chat({ stream }, { key: key.secret, signal: leaving.signal })
    await heard.promise
    const leftAt = performance.now()
    leaving.abort()
    await expect(asking).rejects.toThrow()
    expect((await ended.promise) - leftAt).toBeLessThan(1_000)
    expect(await gateway.billedOf(key.id, 1)).toMatchObject([
      { outcome: 'voided', amount_nanos: 0n },
    ])
  },
)

test('a client that leaves while its limits are looked up never reaches an engine, and pays nothing', async () => {
  const key = await gateway.makeKey({ rules: [{ measure: 'requests', limit: 10n }] })
  const leaving = new AbortController()
  await gateway.inDatabase(async (tx) => {
    // Nobody gets a lease while this lasts.
    await sql`LOCK TABLE limit_leases IN ACCESS EXCLUSIVE MODE`.execute(tx)
    const asking = chat({}, { key: key.secret, signal: leaving.signal })
    await expect
      .poll(() => sql`SELECT FROM pg_locks WHERE NOT granted`.execute(tx), { timeout: 5_000 })
      .toMatchObject({ rows: [{}] })
    leaving.abort()
    await expect(asking).rejects.toThrow()
  })
  expect(await gateway.billedOf(key.id, 1)).toMatchObject([{ outcome: 'voided', amount_nanos: 0n }])
  expect(asked).toBe(0)
})

test('a whole answer that an engine breaks off is not half paid: its repetition is charged alone', async () => {
  behave = (response) => {
    if (asked === 2) {
      beginStream(response).end(`${chunk('Hello')}${chunk(' you', 'stop')}data: [DONE]\n\n`)
      return
    }
    beginStream(response).write(chunk('Hello').repeat(20), () => response.destroy())
  }
  const key = await gateway.makeKey()
  const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key.secret, maxRetries: 1 })
  const answer = await client.chat.completions.create({
    model: 'org/chat:7b',
    messages: [{ role: 'user', content: 'hello' }],
    // Long enough for the engine to be asked for a stream.
    max_tokens: 100,
  })
  expect(answer.choices[0]?.message.content).toBe('Hello you')
  const bills = await gateway.billedOf(key.id, 2)
  expect(bills.map(({ outcome }) => outcome)).toEqual(['voided', 'completed'])
  expect(bills[0]?.amount_nanos).toBe(0n)
})

test('a gateway that holds as many requests as it can says so at once, and when to come back', async () => {
  const heard = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  behave = (response, incoming) => {
    heard.resolve()
    void goOn.promise.then(() => well(response, incoming))
  }
  const held = chat({}, { gateway: 2 })
  await heard.promise
  const refused = await chat({}, { gateway: 2 })
  expect(refused.status).toBe(503)
  expect(refused.headers.get('retry-after')).toBe('1')
  expect(refused.headers.get('retry-after-ms')).toBe('1000')
  expect(await refused.json()).toMatchObject({ error: { type: 'api_error', code: 'overloaded' } })
  goOn.resolve()
  expect((await held).status).toBe(200)
})

test('a client of OpenAI that repeats what failed pays for the one answer that it got', async () => {
  behave = (response) => (asked < 3 ? json(response, 503, {}) : well(response, response.req))
  const ids: (string | null)[] = []
  const client = new OpenAI({
    baseURL: `${gateway.url}/v1`,
    apiKey: gateway.key,
    maxRetries: 2,
    async fetch(url, init) {
      const response = await fetch(url, init)
      ids.push(response.headers.get('x-request-id'))
      return response
    },
  })
  const answer = await client.chat.completions.create({
    model: 'org/chat:7b',
    messages: [{ role: 'user', content: 'hello' }],
    max_tokens: 8,
  })
  expect(answer.usage?.completion_tokens).toBe(2)
  const bills = await Promise.all(ids.map((id) => gateway.billed(id)))
  expect(bills.map(({ outcome }) => outcome)).toEqual(['voided', 'voided', 'completed'])
  expect(bills.map(({ amount_nanos: nanos }) => nanos > 0n)).toEqual([false, false, true])
}, 15_000)

const standing = (response: Response, name: string): (string | null)[] =>
  ['limit', 'remaining', 'reset'].map((what) => response.headers.get(`x-ratelimit-${what}-${name}`))
/** As Go and OpenAI write durations. */
const duration = /^(\d+h)?(\d+m)?(\d+s|\d+ms)$/

test('limits stand in the headers of every answer, streamed, whole or refused, and mean the same on each gateway', async () => {
  const { secret: key } = await gateway.makeKey({
    rules: [
      { measure: 'requests', window: 'hour', limit: 4n },
      { measure: 'tokens', window: 'day', limit: 1_000n },
    ],
  })
  behave = (response) =>
    void beginStream(response).end(
      `${chunk('Hi')}${chunk('', 'stop')}data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`,
    )
  const remaining: number[] = []
  for (const [index, gatewayIndex] of [0, 1, 0, 1, 0, 1].entries()) {
    const response = await chat({ stream: index % 2 === 0 }, { key, gateway: gatewayIndex })
    await response.text()
    expect(response.status).toBe(index < 4 ? 200 : 429)
    const [limit, left, reset] = standing(response, 'requests')
    expect(limit).toBe('4')
    expect(reset).toMatch(duration)
    remaining.push(Number(left))
    const tokens = standing(response, 'tokens')
    expect(tokens).toEqual([
      '1000',
      expect.stringMatching(/^\d+$/),
      expect.stringMatching(duration),
    ])
  }
  // A gateway hears what others spent when it next needs a lease: what it says may be late, never rises, and is exact where it refuses.
  expect(remaining).toEqual(remaining.toSorted((one, other) => other - one))
  expect([remaining[0], ...remaining.slice(4)]).toEqual([3, 0, 0])
})

interface ModelList {
  readonly data: readonly Readonly<Record<string, unknown>>[]
  readonly [field: string]: unknown
}
const listFor = async (key: string): Promise<ModelList> =>
  // The shape is what the test looks at.
  (await (
    await request('GET', '/v1/models', { authorization: `Bearer ${key}` })
  ).json()) as ModelList

test('models are listed for the key that asks, in a shape that clients of OpenAI and of Anthropic read', async () => {
  const list = await listFor(await gateway.keyFor(['org/chat:7b', 'embed']))
  expect(list).toMatchObject({ object: 'list', has_more: false })
  expect(new Set(list.data.map((model) => model['id']))).toEqual(new Set(['embed', 'org/chat:7b']))
  expect([list['first_id'], list['last_id']]).toEqual([list.data[0]?.['id'], list.data[1]?.['id']])
  for (const model of list.data) {
    expect(model).toMatchObject({ object: 'model', type: 'model', owned_by: expect.any(String) })
    expect(model['display_name']).toBe(model['id'])
    expect(Number.isSafeInteger(model['created'])).toBe(true)
    expect(Math.floor(Date.parse(String(model['created_at'])) / 1_000)).toBe(model['created'])
  }
})

test.each(['org/chat:7b', 'org%2Fchat%3A7b', 'org%2fchat:7b', 'org/chat%3A7b', 'org/chat:7b/'])(
  'a model is found by its name as %s',
  async (path) => {
    const response = await request('GET', `/v1/models/${path}`, own())
    expect(await response.json()).toMatchObject({ id: 'org/chat:7b', object: 'model' })
  },
)

test('a model that the key may not use is as unknown as one that does not exist, everywhere', async () => {
  const key = await gateway.keyFor(['embed'])
  const ask = async (model: string): Promise<unknown> => {
    const told = await gateway.post('/v1/chat/completions', { ...chatBody, model }, key)
    const path = `/v1/models/${encodeURIComponent(model)}`
    const shown = await request('GET', path, { authorization: `Bearer ${key}` })
    expect([told.status, shown.status]).toEqual([404, 404])
    return [await told.json(), await shown.json()]
  }
  expect(await ask('org/chat:7b')).toEqual(await ask('never/was:1b'))
})

test('a stream and a whole answer of the same words have the same usage, with all its details', async () => {
  behave = (response, { headers }) => {
    expect(headers.authorization).toBe(`Bearer ${engineKey}`)
    beginStream(response).end(
      `${chunk('Hello')}${chunk(' you')}${chunk('', 'stop')}data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`,
    )
  }
  const streamed = await (
    await chat({ stream: true, stream_options: { include_usage: true }, max_tokens: 100 })
  ).text()
  const last = streamed.split('\n\n').at(-3)?.replace('data: ', '') ?? ''
  behave = well
  const whole = (await (await chat()).json()) as { usage: unknown }
  expect(JSON.parse(last)).toMatchObject({ choices: [], usage: whole.usage })
  expect(whole.usage).toEqual({
    prompt_tokens: 7,
    completion_tokens: 2,
    total_tokens: 9,
    prompt_tokens_details: { cached_tokens: 3, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: 0,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  })
})

const silence = new Blob([new Uint8Array(toWav(Buffer.alloc(16_000), 8_000))])
function transcribe(): Promise<Response> {
  const form = new FormData()
  form.set('model', 'hear')
  form.set('file', silence, 'a.wav')
  const url = `${gateway.url}/v1/audio/transcriptions`
  return fetch(url, { method: 'POST', headers: own(), body: form })
}
const asks: Readonly<Record<string, () => Promise<Response>>> = {
  'chat completions': () => chat(),
  'streamed chat completions': () => chat({ stream: true }),
  completions: () => gateway.post('/v1/completions', { model: 'org/chat:7b', prompt: 'a' }),
  messages: () => gateway.post('/v1/messages', chatBody),
  'streamed messages': () => gateway.post('/v1/messages', { ...chatBody, stream: true }),
  responses: () => gateway.post('/v1/responses', { model: 'org/chat:7b', input: 'a' }),
  'streamed responses': () =>
    gateway.post('/v1/responses', { model: 'org/chat:7b', input: 'a', stream: true }),
  embeddings: () => gateway.post('/v1/embeddings', { model: 'embed', input: 'a' }),
  rerank: () => gateway.post('/v2/rerank', { model: 'rerank', query: 'a', documents: ['b'] }),
  moderations: () => gateway.post('/v1/moderations', { model: 'judge', input: 'a' }),
  transcriptions: transcribe,
}
const error = { message: rant, type: rant, code: engineKey, param: '/srv/engine' }
const failures: Readonly<Record<string, Behaviour>> = {
  ...Object.fromEntries(
    [400, 401, 402, 403, 404, 405, 409, 413, 422, 429, 500, 501, 502, 503, 529].map(
      (status): [string, Behaviour] => [
        `answers ${status} with a rant`,
        (response) => json(response, status, { error, detail: rant }),
      ],
    ),
  ),
  'says the prompt is too long': (response) =>
    json(response, 400, { error: { ...error, code: 'context_length_exceeded' } }),
  'answers HTML': (response) =>
    void response.writeHead(200, { 'content-type': 'text/html' }).end(`<html>${rant}</html>`),
  'answers 200 with an error': (response) => json(response, 200, { error }),
  'sends us elsewhere': (response) =>
    void response.writeHead(302, { location: 'http://gpu-17.internal/' }).end(rant),
  'hangs up': (response) => void response.destroy(),
  'breaks off': (response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '999' })
    response.write(`{"error":"${rant}"`, () => response.destroy())
  },
  'fails at the first event': (response) =>
    void beginStream(response).end(`data: ${JSON.stringify({ error })}\n\n`),
  'fails amid a stream': (response) =>
    void beginStream(response).end(
      `${chunk('Hi')}event: error\ndata: ${JSON.stringify({ error })}\n\n`,
    ),
}

test.each(Object.keys(asks))(
  'whatever an engine says when it fails, callers of %s read no word of it',
  async (name) => {
    for (const [how, behaviour] of Object.entries(failures)) {
      behave = behaviour
      const response = await asks[name]?.()
      if (!response) throw new Error('it is one of them')
      const text = await response.text()
      const told = `${JSON.stringify([...response.headers])}${text}`
      for (const secret of secrets) expect(told, `an engine that ${how}`).not.toContain(secret)
      expect(text, `an engine that ${how}`).not.toMatch(/<html/i)
      expect(text, `an engine that ${how}`).toContain('"error"')
      // A stream that has begun says it in an event; everything else has a true status.
      const isAmid = how === 'fails amid a stream'
      expect(response.status >= 400 || isAmid, `${how}: ${response.status} ${text}`).toBe(true)
    }
  },
)

test('a prompt that an engine finds too long is refused with the length that there is', async () => {
  behave = (response) => json(response, 400, { error: { code: 'context_length_exceeded' } })
  const response = await chat({ stream: true })
  expect(response.status).toBe(400)
  expect(await response.json()).toMatchObject({
    error: {
      code: 'context_length_exceeded',
      message: expect.stringMatching(/context window is 1000 tokens/),
    },
  })
})

test('an engine that cannot be reached is not named either', async () => {
  const response = await gateway.post('/v1/chat/completions', { ...chatBody, model: 'gone' })
  const text = await response.text()
  expect(response.status).toBe(502)
  for (const secret of secrets) expect(text).not.toContain(secret)
})

test.each([
  '1e999',
  '-1e999',
  '1.5',
  '-3',
  '1e308',
  '9007199254740993',
  '"7"',
  'null',
  'true',
  '{}',
])(
  'whatever number an engine gives (%s), clients get whole ones where they expect them, and never null',
  async (number) => {
    behave = (response) => {
      const details = `"prompt_tokens_details":{"cached_tokens":${number}},"completion_tokens_details":{"reasoning_tokens":${number}}`
      const logprob = `{"token":"a","logprob":${/^-?[\d.e]+$/.test(number) ? number : -1},"bytes":[97],"top_logprobs":[]}`
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(
          `{"created":${number},"choices":[{"index":0,"message":{"content":"Hello"},"logprobs":{"content":[${logprob}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":${number},"completion_tokens":${number},"total_tokens":${number},${details}}}`,
        )
    }
    const nowSeconds = Math.floor(Date.now() / 1_000)
    const answers = [
      await chat({ logprobs: true }),
      await gateway.post('/v1/messages', chatBody),
      await gateway.post('/v1/responses', {
        model: 'org/chat:7b',
        input: 'a',
        max_output_tokens: 16,
      }),
    ]
    for (const response of answers) {
      expect(response.status).toBe(200)
      const whole: unknown = await response.json()
      for (const [path, value] of numbersOf(whole)) {
        const isWhole = Number.isSafeInteger(value) && Number(value) >= 0
        if (!/logprob|temperature|top_p/.test(path))
          expect(isWhole, `${path}: ${String(value)}`).toBe(true)
        else expect(Number.isFinite(value), `${path}: ${String(value)}`).toBe(true)
        if (/created/.test(path)) expect(Math.abs(Number(value) - nowSeconds)).toBeLessThan(60)
      }
    }
  },
)

/** Numbers, and whatever stands where a number is expected, by their paths. */
function numbersOf(value: unknown, path = ''): [string, unknown][] {
  const isFigure = /(tokens|logprob|created|index)$/.test(path)
  if (typeof value === 'number' || (isFigure && !Array.isArray(value))) return [[path, value]]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) => numbersOf(inner, `${path}.${key}`))
}
