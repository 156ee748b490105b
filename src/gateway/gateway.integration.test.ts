/** The whole data plane in one process, over real PostgreSQL, the real journal and an engine that misbehaves when asked to. */
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startMockEngine, type MockEngine } from '../../bench/mock-engine.ts'
import { gatewayForTests, until, type GatewayForTests } from '../../test/gateway-for-tests.ts'
import { revokeApiKey } from '../identity/identity.ts'

const served = [
  'mock',
  'mock-die-midstream',
  'mock-no-done',
  'mock-usage-missing',
  'mock-usage-negative',
  'mock-usage-huge',
  'mock-decreasing-usage',
  'mock-garbage',
  'mock-html',
  'mock-429',
  'mock-503',
  'mock-huge-event',
  'mock-tools',
  'mock-reasoning',
  'hidden',
]
let engine: MockEngine
let gateway: GatewayForTests
let key: string
/** Newest last, of the model that no mock stands in for. */
const salts: unknown[] = []

beforeAll(async () => {
  engine = await startMockEngine({ tokens: 16 })
  const baseUrl = engine.url
  gateway = await gatewayForTests({
    priceListId: 'standard',
    models: [
      ...served.map((id) => ({ id, category: 'chat', baseUrl }) as const),
      { id: 'unpriced', category: 'chat', baseUrl, prices: {} },
      { id: 'nowhere', category: 'chat', engineKind: null },
    ],
    script({ body }) {
      salts.push(body['cache_salt'])
      const message = { role: 'assistant', content: 'a' }
      const usage = { prompt_tokens: 1, completion_tokens: 1 }
      return { body: { choices: [{ index: 0, message, finish_reason: 'stop' }], usage } }
    },
  })
  const allowedModels = [...served.filter((id) => id !== 'hidden'), 'unpriced', 'nowhere']
  key = await gateway.keyFor(allowedModels)
}, 120_000)

afterAll(async () => {
  await gateway?.close()
  await engine?.close()
})

interface Answer {
  readonly status: number
  readonly text: string
  readonly headers: Headers
  readonly requestId: string
}

async function chat(
  body: Record<string, unknown>,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return post(
    JSON.stringify({ model: 'mock', messages: [{ role: 'user', content: 'hello' }], ...body }),
    headers,
  )
}

async function post(body: string | Buffer, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await gateway.post('/v1/chat/completions', body, { key, headers })
  return {
    status: response.status,
    text: await response.text(),
    headers: response.headers,
    requestId: response.headers.get('x-request-id') ?? '',
  }
}

const errorOf = (
  answer: Answer,
): { message: string; type: string; param: string | null; code: string | null } =>
  (
    JSON.parse(answer.text) as {
      error: { message: string; type: string; param: string | null; code: string | null }
    }
  ).error

test('a whole answer is billed what the engine counted, and its bill is durable before its last byte', async () => {
  const answer = await chat({ max_tokens: 10 })
  expect(answer.status).toBe(200)
  const { usage } = JSON.parse(answer.text) as {
    usage: { prompt_tokens: number; completion_tokens: number }
  }
  const event = await gateway.billed(answer.requestId)
  expect(event).toMatchObject({ outcome: 'completed', usage_suspect: false })
  expect([Number(event.input_tokens), Number(event.output_tokens)]).toEqual([
    usage.prompt_tokens,
    usage.completion_tokens,
  ])
  expect(event.amount_nanos).toBe(
    BigInt(usage.prompt_tokens) * 900n + BigInt(usage.completion_tokens) * 4_000n,
  )
})

test('a stream ends with one finish, the usage that was asked for, and [DONE]', async () => {
  const answer = await chat({
    stream: true,
    max_tokens: 5,
    stream_options: { include_usage: true },
  })
  expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  const events = answer.text.trim().split('\n\n')
  expect(events.at(-1)).toBe('data: [DONE]')
  expect(events.filter((event) => event.includes('"finish_reason":"'))).toHaveLength(1)
  expect(await gateway.billed(answer.requestId)).toMatchObject({
    outcome: 'completed',
    output_tokens: 5n,
  })
})

const streamFailures = [
  { model: 'mock-die-midstream', why: 'the connection breaks' },
  { model: 'mock-no-done', why: 'the engine closes without an end' },
  { model: 'mock-garbage', why: 'an event is garbage' },
  { model: 'mock-huge-event', why: 'an event is enormous' },
]
for (const { model, why } of streamFailures) {
  test(`when ${why}, the stream ends with an error and without [DONE], and what was emitted is billed`, async () => {
    const answer = await chat({ model, stream: true, max_tokens: 16 })
    if (answer.status === 200) {
      expect(answer.text).toContain('"error":{')
      expect(answer.text).not.toContain('[DONE]')
      const sent = answer.text
        .split('\n\n')
        .filter((event) => /"content":"[^"]+"/.test(event)).length
      const event = await gateway.billed(answer.requestId)
      expect(event.outcome).toBe('upstream_failed')
      expect(Number(event.output_tokens)).toBe(sent)
    } else {
      expect(answer.status).toBe(502)
      expect(await gateway.billed(answer.requestId)).toMatchObject({
        outcome: 'voided',
        amount_nanos: 0n,
      })
    }
  })
}

for (const model of [
  'mock-usage-missing',
  'mock-usage-negative',
  'mock-usage-huge',
  'mock-decreasing-usage',
]) {
  test(`an engine that lies about usage (${model}) is billed by our own count, and marked`, async () => {
    const answer = await chat({ model, stream: true, max_tokens: 7 })
    expect(answer.text).toContain('[DONE]')
    const event = await gateway.billed(answer.requestId)
    expect(event).toMatchObject({ outcome: 'completed', output_tokens: 7n, usage_suspect: true })
    expect(event.amount_nanos).toBeGreaterThan(0n)
  })
}

const refusals = [
  {
    name: 'no key',
    given: () => chat({}, { authorization: '' }),
    status: 401,
    code: 'missing_api_key',
  },
  {
    name: 'a wrong key',
    given: () => chat({}, { authorization: 'Bearer cln_k_live_nope' }),
    status: 401,
    code: 'invalid_api_key',
  },
  {
    name: 'SQL in the key',
    given: () => chat({}, { authorization: `Bearer ' OR 1=1 --` }),
    status: 401,
    code: 'invalid_api_key',
  },
  {
    name: 'an unknown model',
    given: () => chat({ model: 'gpt-9' }),
    status: 404,
    code: 'model_not_found',
  },
  {
    name: 'a model that the key may not use',
    given: () => chat({ model: 'hidden' }),
    status: 404,
    code: 'model_not_found',
  },
  {
    name: 'a model without a price',
    given: () => chat({ model: 'unpriced' }),
    status: 503,
    code: 'price_missing',
  },
  {
    name: 'a model without an engine',
    given: () => chat({ model: 'nowhere' }),
    status: 503,
    code: 'model_not_ready',
  },
  {
    name: 'more output than the context holds',
    given: () => chat({ max_tokens: 5_000 }),
    status: 400,
    code: 'context_length_exceeded',
  },
  {
    name: 'an engine at its limit',
    given: () => chat({ model: 'mock-429' }),
    status: 429,
    code: 'rate_limit_exceeded',
  },
  {
    name: 'a busy engine',
    given: () => chat({ model: 'mock-503' }),
    status: 503,
    code: 'overloaded',
  },
  {
    name: 'an engine that answers HTML',
    given: () => chat({ model: 'mock-html' }),
    status: 502,
    code: 'engine_invalid_response',
  },
  { name: 'JSON that is none', given: () => post('{"model":'), status: 400, code: 'invalid_json' },
  {
    name: 'another content type',
    given: () => post('{}', { 'content-type': 'text/plain' }),
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    name: 'a brotli bomb',
    given: () => post(Buffer.from('x'), { 'content-encoding': 'br' }),
    status: 415,
    code: 'unsupported_media_type',
  },
]
for (const { name, given, status, code } of refusals) {
  test(`${name} is refused with ${status} ${code}, in OpenAI's error shape`, async () => {
    const answer = await given()
    expect([answer.status, errorOf(answer).code]).toEqual([status, code])
    expect(errorOf(answer)).toEqual({
      message: expect.any(String),
      type: expect.any(String),
      param: errorOf(answer).param,
      code,
    })
    expect(answer.requestId).toMatch(/^req_/)
    if (status === 503 || status === 429) {
      expect(
        ['price_missing'].includes(code) || Number(answer.headers.get('retry-after')) >= 1,
      ).toBe(true)
    }
  })
}

test('a refused request costs nothing', async () => {
  const answer = await chat({ model: 'mock-503' })
  expect(await gateway.billed(answer.requestId)).toMatchObject({
    outcome: 'voided',
    amount_nanos: 0n,
  })
})

test('a client that leaves is billed what the engine emitted, and the engine is told to stop', async () => {
  const abortedBefore = engine.stats().aborted
  const slow = await startMockEngine({ tokenRate: 50, tokens: 500 })
  await gateway.addModel({
    id: 'slow',
    category: 'chat',
    baseUrl: slow.url,
    engineModel: 'mock',
  })
  const requestId = await until(() => leaveAfter(4))
  const event = await gateway.billed(requestId)
  expect(event.outcome).toBe('client_left')
  expect(Number(event.output_tokens)).toBeGreaterThanOrEqual(3)
  expect(Number(event.output_tokens)).toBeLessThan(60)
  expect(await until(() => slow.stats().aborted || undefined)).toBe(1)
  expect(engine.stats().aborted).toBe(abortedBefore)
  await slow.close()
})

/** Breaks the connection after some events; resolves with the request's id, or undefined when the model is not known yet. */
function leaveAfter(events: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.key}`, 'content-type': 'application/json' },
    })
    outgoing.on('response', (response) => {
      if (response.statusCode !== 200) {
        response.resume()
        resolve(undefined)
        return
      }
      let seen = 0
      response.on('error', () => {})
      response.on('data', (chunk: Buffer) => {
        seen += chunk.toString().split('data: ').length - 1
        if (seen < events) return
        outgoing.destroy()
        resolve(String(response.headers['x-request-id']))
      })
    })
    outgoing.on(
      'error',
      (error: NodeJS.ErrnoException) => error.code === 'ECONNRESET' || reject(error),
    )
    outgoing.end(
      JSON.stringify({ model: 'slow', stream: true, messages: [{ role: 'user', content: 'x' }] }),
    )
  })
}

test('a revoked key stops working within 5 seconds', async () => {
  const made = await gateway.makeKey()
  const authorization = `Bearer ${made.secret}`
  expect((await chat({ max_tokens: 2 }, { authorization })).status).toBe(200)
  await gateway.inDatabase((tx) => revokeApiKey(tx, gateway.owner.tenantId, made.id, Date.now()))
  const startedMs = performance.now()
  await until(async () => {
    const { status } = await chat({ max_tokens: 2 }, { authorization })
    return status === 401 || undefined
  })
  expect(performance.now() - startedMs).toBeLessThan(5_000)
})

test('tools and reasoning pass as typed deltas', async () => {
  const tools = [
    {
      type: 'function',
      function: { name: 'get_weather', parameters: { type: 'object', properties: {} } },
    },
  ]
  const called = await chat({ model: 'mock-tools', stream: true, tools, max_tokens: 16 })
  expect(called.text).toContain('"tool_calls":[{"index":0,"id":"')
  expect(called.text).toContain('"finish_reason":"tool_calls"')
  const thought = await chat({ model: 'mock-reasoning', stream: true, max_tokens: 16 })
  expect(thought.text).toContain('"reasoning_content":"')
})

test('errors off the routes have the same shape', async () => {
  for (const [method, path, status] of [
    ['GET', '/v1/chat/completions', 405],
    ['GET', '/nowhere', 404],
    ['POST', '/v1/nothing', 404],
  ] as const) {
    const response = await fetch(`${gateway.url}${path}`, { method })
    expect(response.status).toBe(status)
    expect(Object.keys((await response.json()) as object)).toEqual(['error'])
  }
})

test('ids with a slash and a colon are found, encoded or not', async () => {
  await gateway.addModel({ id: 'org/model:7b', category: 'chat', engineKind: null })
  const retrieve = async (path: string): Promise<string | undefined> => {
    const response = await gateway.get(`/v1/models/${path}`)
    return response.ok ? ((await response.json()) as { id: string }).id : undefined
  }
  expect(await until(() => retrieve('org/model:7b'))).toBe('org/model:7b')
  expect(await retrieve('org%2Fmodel%3A7b')).toBe('org/model:7b')
})

test("tenants get prefix caches of their own: the engine's salt is ours, equal within a tenant and different across tenants", async () => {
  await gateway.addModel({ id: 'salted', category: 'chat', engineKind: 'llama-cpp' })
  const other = await gateway.makeKey({ owner: await gateway.makeOwner('B') })
  const ask = async (secret: string): Promise<boolean | undefined> => {
    const body = { model: 'salted', max_tokens: 2, cache_salt: 'mine', prompt_cache_key: 'mine' }
    return (await chat(body, { authorization: `Bearer ${secret}` })).status === 200 || undefined
  }
  await until(() => ask(other.secret))
  await ask(gateway.key)
  await ask(gateway.key)
  const [theirs, first, second] = salts
  expect(first).toBe(second)
  expect(first).not.toBe(theirs)
  for (const salt of salts) expect(String(salt)).toMatch(/^[\w-]{43}$/)
})

test('a stream is framed as HTTP/1.1 demands, and leaves the connection good for the next request', async () => {
  const { port } = new URL(gateway.url)
  const socket = connect(Number(port), '127.0.0.1')
  const body = JSON.stringify({
    model: 'mock',
    stream: true,
    max_tokens: 3,
    messages: [{ role: 'user', content: 'Grüße 👋' }],
  })
  const head = (version: string): string =>
    `POST /v1/chat/completions HTTP/${version}\r\nhost: x\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  socket.write(head('1.1'))
  await until(() => text.endsWith('\r\n0\r\n\r\n') || undefined)
  const [first = '', ...rest] = text.split('\r\n\r\n')
  expect(first.toLowerCase()).toContain('transfer-encoding: chunked')
  expect(readChunks(Buffer.from(rest.join('\r\n\r\n')))).toMatch(/data: \[DONE\]\n\n$/)
  text = ''
  socket.write(head('1.0'))
  await new Promise((resolve) => socket.once('close', resolve))
  expect(text.toLowerCase()).not.toContain('transfer-encoding')
  expect(text).toMatch(/data: \[DONE\]\n\n$/)
})

/** By the letter of RFC 9112, section 7.1. */
function readChunks(bytes: Buffer): string {
  let offset = 0
  let content = ''
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', offset)
    const size = Number.parseInt(bytes.toString('latin1', offset, lineEnd), 16)
    const start = lineEnd + 2
    expect(bytes.toString('latin1', start + size, start + size + 2)).toBe('\r\n')
    if (size === 0) return content
    content += bytes.toString('utf8', start, start + size)
    offset = start + size + 2
  }
}
