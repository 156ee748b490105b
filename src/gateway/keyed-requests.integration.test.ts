/** Idempotency keys, receipts and estimates as a client meets them: two gateways, real PostgreSQL, an engine whose answers wait for the test. */
import { randomUUID } from 'node:crypto'
import OpenAI from 'openai'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import {
  createGate,
  doneEvent,
  gatewayForTests,
  toEvent,
  until,
  type EngineHears,
  type EngineSays,
  type GatewayForTests,
} from '../../test/gateway-for-tests.ts'
import { readConfig } from '../app/config.ts'
import { loadSecrets, secretPath } from '../app/secrets.ts'
import { createReceiptSigner, verifyReceipt, type ReceiptVerdict } from '../billing/receipt.ts'
import { listBilledLegs } from '../billing/receipts.ts'

let gateways: GatewayForTests
const engine = createGatedEngine()

beforeAll(async () => {
  gateways = await gatewayForTests({
    script: engine.answer,
    priceListId: 'standard',
    models: [
      { id: 'chat', category: 'chat' },
      { id: 'vectors', category: 'embedding' },
      { id: 'nowhere', category: 'chat', engineKind: null },
    ],
    gateways: [{}, { byRoad: true }],
  })
}, 120_000)

afterAll(() => gateways?.close())

let idempotencyKey: string
beforeEach(() => {
  idempotencyKey = randomUUID()
  engine.outputTokens = 10
})
afterEach(() => {
  gateways.road.open()
  engine.open()
})

interface Answer {
  readonly status: number
  readonly text: string
  readonly headers: Headers
  readonly requestId: string
  readonly code: string | null | undefined
}

const chatBody = {
  model: 'chat',
  max_tokens: 20,
  messages: [{ role: 'user', content: 'hello' }],
}

async function post(
  body: Record<string, unknown> = {},
  options: {
    readonly gateway?: 0 | 1
    readonly headers?: Record<string, string>
    readonly path?: string
    readonly signal?: AbortSignal
  } = {},
): Promise<Answer> {
  const { path = '/chat/completions', ...others } = options
  const response = await gateways.post(`/v1${path}`, { ...chatBody, ...body }, others)
  const text = await response.text()
  return {
    status: response.status,
    text,
    headers: response.headers,
    requestId: response.headers.get('x-request-id') ?? '',
    code: response.ok ? undefined : (JSON.parse(text) as { error: { code: string } }).error.code,
  }
}

/** With the key of this test. */
const keyed = (body: Record<string, unknown> = {}, gateway: 0 | 1 = 0): Promise<Answer> =>
  post(body, { gateway, headers: { 'idempotency-key': idempotencyKey } })

const settlePatienceMs = 15_000

/** As SDKs do: again, as long as the answer says so. */
async function keyedUntilSettled(
  body: Record<string, unknown> = {},
  gateway: 0 | 1 = 0,
): Promise<Answer> {
  return until(async () => {
    const answer = await keyed(body, gateway)
    return answer.code === 'idempotency_in_progress' ? undefined : answer
  }, settlePatienceMs)
}

const priceOf = (outputTokens: number): bigint => 5n * 900n + BigInt(outputTokens) * 4_000n

test('a repetition runs under the first request’s id, and the dearest leg is all that is charged', async () => {
  const first = await keyed()
  expect([first.status, first.headers.get('idempotency-replayed')]).toEqual([200, null])
  engine.outputTokens = 14
  const second = await keyedUntilSettled({}, 1)
  expect([second.status, second.headers.get('idempotency-replayed')]).toEqual([200, 'true'])
  expect(second.requestId).toBe(first.requestId)
  engine.outputTokens = 3
  const third = await keyedUntilSettled({}, 0)
  expect(third.requestId).toBe(first.requestId)
  expect(await gateways.legs(first.requestId, 3)).toMatchObject([
    { leg: 0, outcome: 'completed', amount_nanos: priceOf(10) },
    { leg: 1, outcome: 'completed', amount_nanos: priceOf(14) - priceOf(10) },
    { leg: 2, outcome: 'completed', amount_nanos: 0n },
  ])
  const fourth = await keyedUntilSettled()
  expect([fourth.status, fourth.code]).toEqual([409, 'idempotency_exhausted'])
  expect(fourth.headers.get('x-should-retry')).toBe('false')
})

test('while the first is under way, a repetition through either gateway waits; afterwards it runs', async () => {
  engine.shut()
  const first = keyed()
  await engine.reached()
  for (const gateway of [0, 1] as const) {
    const answer = await keyed({}, gateway)
    expect([answer.status, answer.code]).toEqual([409, 'idempotency_in_progress'])
    expect(Number(answer.headers.get('retry-after-ms'))).toBeGreaterThan(0)
    expect(answer.headers.get('x-should-retry')).toBeNull()
  }
  engine.open()
  const { requestId } = await first
  expect(await keyedUntilSettled({}, 1)).toMatchObject({ status: 200, requestId })
})

test('a client that left before its answer repeats the request, and pays once', async () => {
  engine.shut()
  const leaving = new AbortController()
  const first = post(
    { stream: true },
    { headers: { 'idempotency-key': idempotencyKey }, signal: leaving.signal },
  )
  first.catch(() => {})
  await engine.reached()
  leaving.abort()
  await expect(first).rejects.toThrow()
  engine.open()
  const again = await keyedUntilSettled({ stream: true })
  expect(again.text).toContain('[DONE]')
  const booked = await gateways.legs(again.requestId, 2)
  const total = booked.reduce((sum, charge) => sum + charge.amount_nanos, 0n)
  expect(booked).toHaveLength(2)
  expect(total).toBe(priceOf(10))
})

test('a gateway dies with the request: its repetition elsewhere waits for the books, and pays once', async () => {
  const doomed = await gateways.startProcess(3)
  engine.shut()
  const headers = { authorization: `Bearer ${gateways.key}`, 'content-type': 'application/json' }
  const lost = fetch(`${doomed.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...headers, 'idempotency-key': idempotencyKey },
    body: JSON.stringify(chatBody),
  })
  lost.catch(() => {})
  await engine.reached()
  await doomed.kill()
  await expect(lost).rejects.toThrow()
  engine.open()
  expect((await keyed()).code).toBe('idempotency_in_progress')
  const again = await gateways.startProcess(3)
  try {
    const answer = await keyedUntilSettled()
    expect([answer.status, answer.headers.get('idempotency-replayed')]).toEqual([200, 'true'])
    const booked = await gateways.legs(answer.requestId, 2)
    expect(booked.map(({ leg, outcome }) => [leg, outcome])).toEqual([
      [0, 'crashed'],
      [1, 'completed'],
    ])
    expect(booked.reduce((sum, charge) => sum + charge.amount_nanos, 0n)).toBe(priceOf(10))
  } finally {
    await again.kill()
  }
})

test('the same key with another body is refused, and nothing of it runs', async () => {
  await keyed()
  const before = engine.requests
  const answer = await keyed({ max_tokens: 19 })
  expect([answer.status, answer.code]).toEqual([422, 'idempotency_key_reused'])
  expect(engine.requests).toBe(before)
})

test('what was refused before it began leaves the key free', async () => {
  const refused = await keyed({ max_tokens: 2_000 })
  expect(refused.code).toBe('context_length_exceeded')
  const answer = await keyed({ max_tokens: 12 })
  expect([answer.status, answer.headers.get('idempotency-replayed')]).toEqual([200, null])
})

test('a request that no engine could take may be repeated more often than three times', async () => {
  const first = await keyedUntilSettled({ model: 'nowhere' })
  for (let tries = 0; tries < 4; tries += 1) {
    const again = await keyedUntilSettled({ model: 'nowhere' })
    expect([again.code, again.requestId]).toEqual(['model_not_ready', first.requestId])
  }
})

test.each([
  ['spaces', 'a b'],
  ['nothing', ''],
  ['256 characters', 'x'.repeat(256)],
  ['ä', 'ä'],
])('a key of %s is refused', async (_, value) => {
  const answer = await post({}, { headers: { 'idempotency-key': value } })
  expect(answer.status).toBe(400)
  expect(JSON.parse(answer.text)).toMatchObject({ error: { param: 'Idempotency-Key' } })
})

test('with the database away a keyed request is refused unrun, and others are served', async () => {
  const before = engine.requests
  gateways.road.shut()
  const answer = await keyed({}, 1)
  expect([answer.status, answer.code]).toEqual([503, 'idempotency_unavailable'])
  expect(answer.text).toContain('Idempotency needs the database')
  expect(engine.requests).toBe(before)
  expect((await post({}, { gateway: 1 })).status).toBe(200)
})

test('an embedding request may carry a key too', async () => {
  const body = { model: 'vectors', input: 'x', messages: undefined, max_tokens: undefined }
  const send = () =>
    post(body, { path: '/embeddings', headers: { 'idempotency-key': idempotencyKey } })
  const first = await send()
  expect(first.status, first.text).toBe(200)
  await gateways.legs(first.requestId, 1)
  expect(await send()).toMatchObject({ status: 200, requestId: first.requestId })
})

// ------------------------------------------------------------------------------------------------------------- receipts

async function published(): Promise<unknown> {
  const response = await fetch(`${gateways.url}/.well-known/colonnade/receipt-keys.json`)
  expect(response.headers.get('cache-control')).toContain('max-age')
  return response.json()
}

async function checked(receipt: unknown): Promise<ReceiptVerdict> {
  return verifyReceipt(String(receipt), await published())
}

const asking = { headers: { 'x-receipt': 'true' } }

test('a whole answer carries its receipt, which is the one that the ledger gives later', async () => {
  const answer = await post({}, asking)
  const receipt = answer.headers.get('x-receipt') ?? ''
  expect(await checked(receipt)).toMatchObject({
    isValid: true,
    claims: {
      request_id: answer.requestId,
      tenant_id: gateways.owner.tenantId,
      model: 'chat',
      outcome: 'completed',
      amount_nanos: String(priceOf(10)),
      usage: { input_tokens: 5, output_tokens: 10 },
    },
  })
  await gateways.legs(answer.requestId, 1)
  const [leg] = await gateways.inDatabase((tx) =>
    listBilledLegs(tx, gateways.owner.tenantId, answer.requestId),
  )
  const config = readConfig({ dataDirectory: gateways.directory }, {})
  const signer = createReceiptSigner(loadSecrets(secretPath(config)).receiptSeed)
  expect(leg && signer.sign(leg)).toBe(receipt)
})

test('receipts of all legs of a request together say what was charged', async () => {
  const headers = { 'x-receipt': 'true', 'idempotency-key': idempotencyKey }
  const first = await post({}, { headers })
  await gateways.legs(first.requestId, 1)
  engine.outputTokens = 12
  const second = await post({}, { headers })
  const verdict = await checked(second.headers.get('x-receipt'))
  expect(verdict).toMatchObject({
    isValid: true,
    claims: {
      leg: 1,
      already_charged_nanos: String(priceOf(10)),
      amount_nanos: String(priceOf(12) - priceOf(10)),
    },
  })
})

test('nobody is given a receipt who did not ask', async () => {
  const answer = await post({ stream: true })
  expect(answer.headers.get('x-receipt')).toBeNull()
  expect(answer.text).not.toContain('receipt')
})

test('a refused request has no receipt, and a failed one has one of nothing', async () => {
  const refused = await post({ max_tokens: 2_000 }, asking)
  expect(refused.headers.get('x-receipt')).toBeNull()
  const failed = await post({ model: 'nowhere' }, asking)
  expect(await checked(failed.headers.get('x-receipt'))).toMatchObject({
    isValid: true,
    claims: { outcome: 'voided', amount_nanos: '0' },
  })
})

test.each([true, false])(
  'a stream has its receipt where the official SDK reads on undisturbed (usage: %s)',
  async (includeUsage) => {
    const client = new OpenAI({
      apiKey: gateways.key,
      baseURL: `${gateways.url}/v1`,
      maxRetries: 0,
    })
    const stream = await client.chat.completions.create(
      {
        model: 'chat',
        max_tokens: 20,
        messages: [{ role: 'user', content: 'hello' }],
        stream: true,
        stream_options: { include_usage: includeUsage },
      },
      asking,
    )
    let text = ''
    const receipts: unknown[] = []
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? ''
      // Ours, beside OpenAI's fields.
      if ('receipt' in chunk) receipts.push(chunk.receipt)
    }
    expect(text).toBe('word '.repeat(10))
    expect(receipts).toHaveLength(1)
    expect(await checked(receipts[0])).toMatchObject({
      isValid: true,
      claims: { amount_nanos: String(priceOf(10)) },
    })
  },
)

// ------------------------------------------------------------------------------------------------------------ estimates

const interval = { low: z.number(), expected: z.number(), high: z.number() }
const money = z.object({ nanos: z.string(), amount: z.string() })
const estimate = z.object({
  object: z.literal('estimate'),
  model: z.string(),
  endpoint: z.string(),
  input_tokens: z.object({ ...interval, basis: z.string() }),
  output_tokens: z.object({ ...interval, max: z.number(), basis: z.string() }),
  price: z.object({
    currency: z.string(),
    version: z.string(),
    low: money,
    expected: money,
    high: money,
    max: money,
  }),
  time_to_first_token_ms: z.object({ expected: z.number(), high: z.number() }).optional(),
  total_ms: z.object({ expected: z.number(), high: z.number() }).optional(),
})

async function estimated(body: Record<string, unknown>): Promise<z.infer<typeof estimate>> {
  const answer = await post(body, { path: '/estimate' })
  expect(answer.status, answer.text).toBe(200)
  return estimate.parse(JSON.parse(answer.text))
}

test('an estimate is exact about prices, runs nothing and bills nothing', async () => {
  const before = engine.requests
  const booked = () =>
    gateways.inDatabase((tx) => sql`SELECT count(*) FROM usage_events`.execute(tx))
  const events = await booked()
  const body = await estimated({ max_tokens: 100 })
  const { input_tokens: input, output_tokens: output, price } = body
  expect(body).toMatchObject({
    object: 'estimate',
    model: 'chat',
    endpoint: '/v1/chat/completions',
  })
  expect(output.max).toBe(100)
  for (const bound of ['low', 'expected', 'high'] as const)
    expect(price[bound].nanos).toBe(String(input[bound] * 900 + output[bound] * 4_000))
  expect(input.low <= input.expected && input.expected <= input.high).toBe(true)
  expect(output.low <= output.expected && output.expected <= output.high).toBe(true)
  expect(BigInt(price.high.nanos) <= BigInt(price.max.nanos)).toBe(true)
  expect(price).toMatchObject({ currency: 'EUR', version: expect.stringContaining('standard@') })
  expect(price.max.amount).toMatch(/^\d+\.\d{9}$/)
  expect(engine.requests).toBe(before)
  expect((await booked()).rows).toEqual(events.rows)
})

test('an estimate learns from the key’s own answers, how long they are and how long they take', async () => {
  engine.outputTokens = 15
  for (let round = 0; round < 30; round += 1) await post({ stream: true, max_tokens: 500 })
  const body = await estimated({ max_tokens: 500 })
  expect(body.output_tokens).toMatchObject({ expected: 15, high: 15, basis: 'learned' })
  expect(body.input_tokens).toMatchObject({ basis: 'learned' })
  expect(Math.abs(body.input_tokens.expected - 5)).toBeLessThanOrEqual(1)
  const first = body.time_to_first_token_ms?.expected
  expect(first).toBeGreaterThan(0)
  expect(body.total_ms?.expected).toBeGreaterThanOrEqual(first ?? Infinity)
})

test('an estimate of an embedding has no output, by the kind of the model or by name', async () => {
  const embedding = { model: 'vectors', input: ['one', 'two'] }
  for (const body of [embedding, { ...embedding, endpoint: '/v1/embeddings' }]) {
    expect(await estimated(body)).toMatchObject({
      endpoint: '/v1/embeddings',
      output_tokens: { expected: 0, max: 0 },
      price: { max: { nanos: expect.any(String) } },
    })
  }
})

test.each([
  ['no key', {}, { authorization: '' }, 401],
  ['a model that does not exist', { model: 'x' }, {}, 404],
  ['an endpoint that does not exist', { endpoint: '/v1/x' }, {}, 400],
  ['a body that is no request', { messages: 'x' }, {}, 400],
  ['more output than the window', { max_tokens: 2_000 }, {}, 400],
])('an estimate with %s is refused as the request would be', async (_, body, headers, status) => {
  expect((await post(body, { path: '/estimate', headers })).status).toBe(status)
})

// --------------------------------------------------------------------------------------------------------------- engine

/** OpenAI's dialect: 5 tokens in, and as many out as the test says; waits while it is shut. */
function createGatedEngine() {
  let arrived = Promise.withResolvers<void>()
  const gate = createGate()
  const engine = {
    requests: 0,
    outputTokens: 10,
    shut: gate.shut,
    open: gate.open,
    /** Resolves when the next request has come. */
    reached: () => arrived.promise,
    async answer({ body }: EngineHears): Promise<EngineSays> {
      engine.requests += 1
      arrived.resolve()
      arrived = Promise.withResolvers()
      await gate.passed()
      const tokens = engine.outputTokens
      const usage = { prompt_tokens: 5, completion_tokens: tokens, total_tokens: 5 + tokens }
      if (body['input'] !== undefined) {
        const data = [{ object: 'embedding', index: 0, embedding: [1, 0] }]
        const usage = { prompt_tokens: 5, total_tokens: 5 }
        return { body: { object: 'list', data, usage } }
      }
      if (body['stream'] !== true) {
        const message = { role: 'assistant', content: 'word '.repeat(tokens) }
        return { body: { choices: [{ index: 0, message, finish_reason: 'stop' }], usage } }
      }
      const word = { choices: [{ index: 0, delta: { content: 'word ' } }] }
      const finish = { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }
      const chunks = [...Array.from({ length: tokens }, () => word), finish, { choices: [], usage }]
      return { pieces: [...chunks.map(toEvent), doneEvent] }
    },
  }
  return engine
}
