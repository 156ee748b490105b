/** Limits as clients meet them: two gateways over one PostgreSQL, an engine that answers with 16 tokens, and the headers and bodies that come back. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startMockEngine, type MockEngine } from '../../bench/mock-engine.ts'
import {
  gatewayForTests,
  until,
  type GatewayForTests,
  type KeyForTests,
} from '../../test/gateway-for-tests.ts'
import type { NewRule } from '../limits/rules.ts'

let engine: MockEngine
let gateways: GatewayForTests

beforeAll(async () => {
  engine = await startMockEngine({ tokens: 200 })
  gateways = await gatewayForTests({
    priceListId: 'standard',
    models: [{ id: 'mock', category: 'chat', contextWindowTokens: 10_000, baseUrl: engine.url }],
    gateways: [{ gateway: { quotaStatus: 429 } }, { gateway: { quotaStatus: 402 } }],
  })
}, 120_000)

afterAll(async () => {
  await gateways?.close()
  await engine?.close()
})

/** A key of its own, with rules of its own, known to both gateways. */
const keyWith = (...rules: readonly Partial<NewRule>[]): Promise<KeyForTests> =>
  gateways.makeKey({ rules })

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

async function chat(
  { secret }: KeyForTests,
  body: Record<string, unknown> = {},
  options: { gateway?: number; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const whole = { ...hello, ...body }
  const response = await gateways.post('/v1/chat/completions', whole, { key: secret, ...options })
  return { status: response.status, headers: response.headers, text: await response.text() }
}

const hello = {
  model: 'mock',
  messages: [{ role: 'user', content: 'hello' }],
  max_tokens: 16,
}

test('requests are counted over both gateways together, and the refusal says which rule and when it clears', async () => {
  const key = await keyWith({ measure: 'requests', window: 'day', limit: 3n })
  const statuses = []
  for (const gateway of [0, 1, 0, 1, 0]) statuses.push((await chat(key, {}, { gateway })).status)
  expect(statuses).toEqual([200, 200, 200, 429, 429])
  const refused = await chat(key, {}, { gateway: 1 })
  expect(JSON.parse(refused.text)).toMatchObject({
    error: {
      type: 'rate_limit_error',
      code: 'rate_limit_exceeded',
      limit: {
        measure: 'requests',
        window: 'day',
        limit: '3',
        needed: '1',
        remaining: '0',
        cause: 'exhausted',
        scope: 'key',
      },
    },
  })
  expect(refused.headers.get('x-ratelimit-limit-requests')).toBe('3')
  expect(refused.headers.get('x-ratelimit-remaining-requests')).toBe('0')
  expect(refused.headers.get('x-ratelimit-reset-requests')).toMatch(/^(\d+h)?(\d+m)?(\d+s|\d+ms)$/)
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(Number(refused.headers.get('retry-after-ms'))).toBeGreaterThan(0)
})

test('the headers count down from request to request', async () => {
  const key = await keyWith(
    { measure: 'requests', window: 'hour', limit: 10n },
    { measure: 'output_tokens', window: 'day', limit: 1_000n },
  )
  const first = await chat(key)
  const second = await chat(key)
  expect(first.headers.get('x-ratelimit-remaining-requests')).toBe('9')
  expect(second.headers.get('x-ratelimit-remaining-requests')).toBe('8')
  expect(second.headers.get('x-ratelimit-limit-tokens')).toBe('1000')
  // 16 were spent by the first, and 16 are reserved for the second.
  expect(second.headers.get('x-ratelimit-remaining-tokens')).toBe('968')
})

test('an exhausted budget is insufficient_quota that SDKs do not repeat, with 429 or 402 by the configuration', async () => {
  const key = await keyWith({ measure: 'amount', window: 'lifetime', limit: 1_000n })
  const [first, second] = [await chat(key), await chat(key, {}, { gateway: 1 })]
  expect([first.status, second.status]).toEqual([429, 402])
  for (const answer of [first, second]) {
    expect(JSON.parse(answer.text)).toMatchObject({
      error: { code: 'insufficient_quota', limit: { measure: 'amount' } },
    })
    expect(answer.headers.get('x-should-retry')).toBe('false')
    expect(answer.headers.get('retry-after')).toBeNull()
  }
})

test('a budget is spent to what the engine counted, never beyond, over both gateways', async () => {
  // 16 output tokens and the prompt; the mock counts the same prompt each time.
  const probe = await keyWith({ measure: 'amount', limit: 10_000_000_000n })
  await chat(probe)
  const cost = await amountOf(1, probe)
  const key = await keyWith({ measure: 'amount', limit: cost * 7n })
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, index) => chat(key, {}, { gateway: index % 2 })),
  )
  expect(answers.filter((answer) => answer.status === 200)).toHaveLength(7)
  expect(await amountOf(7, key)).toBe(cost * 7n)
})

/** The sum that the ledger has of a key, once it has so many requests, and no more. */
function amountOf(requests: number, key: KeyForTests): Promise<bigint> {
  return until(async () => {
    const rows = await gateways.billedOf(key.id, requests)
    const completed = rows.filter((row) => row.outcome === 'completed')
    if (completed.length !== requests) return undefined
    return completed.reduce((sum, row) => sum + row.amount_nanos, 0n)
  })
}

test('a stream that runs dry ends with length, says why, and spends no more than the limit', async () => {
  const key = await keyWith({ measure: 'output_tokens', window: 'day', limit: 100n })
  const answer = await chat(
    key,
    { stream: true, max_tokens: 200, stream_options: { include_usage: true } },
    { headers: { 'x-on-limit': 'clamp' } },
  )
  const events = answer.text
    .split('\n\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)))
  const finish = events.find((event) => event.choices[0]?.finish_reason)
  expect(finish).toMatchObject({
    choices: [{ finish_reason: 'length' }],
    limit: { measure: 'output_tokens', limit: '100', cause: 'exhausted' },
  })
  expect(answer.text.endsWith('data: [DONE]\n\n')).toBe(true)
  expect(events.at(-1)?.usage.completion_tokens).toBeLessThanOrEqual(100)
  expect(events.at(-1)?.usage.completion_tokens).toBeGreaterThan(60)
  const whole = await chat(key, { max_tokens: 200 }, { headers: { 'x-on-limit': 'clamp' } })
  expect(whole.status).toBe(429)
})

test('a request larger than its limit is told that waiting does not help', async () => {
  const key = await keyWith({ measure: 'output_tokens', window: 'minute', limit: 10n })
  const answer = await chat(key)
  expect(answer.status).toBe(429)
  expect(JSON.parse(answer.text)).toMatchObject({
    error: { limit: { cause: 'too_large', clears_in_ms: null } },
  })
  expect(answer.headers.get('x-should-retry')).toBe('false')
})

test('a shadow rule lets everything pass and shows in no header', async () => {
  const key = await keyWith({ measure: 'requests', limit: 1n, enforcement: 'shadow' })
  const answers = [await chat(key), await chat(key), await chat(key)]
  expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200])
  expect(answers[2]?.headers.get('x-ratelimit-limit-requests')).toBeNull()
})

test('a soft rule lets a request in as long as anything is left, and then refuses', async () => {
  const key = await keyWith({ measure: 'output_tokens', limit: 20n, enforcement: 'soft' })
  const answers = [await chat(key), await chat(key), await chat(key)]
  expect(answers.map((answer) => answer.status)).toEqual([200, 200, 429])
})

test('of several rules the smallest decides', async () => {
  const key = await keyWith(
    { measure: 'requests', limit: 5n },
    { measure: 'amount', limit: 1_000_000_000_000n },
    { measure: 'requests', window: 'hour', limit: 2n },
  )
  const statuses = []
  for (let index = 0; index < 3; index += 1) statuses.push((await chat(key)).status)
  expect(statuses).toEqual([200, 200, 429])
})

test('a place among the requests at once is free again with the end of a request', async () => {
  const key = await keyWith({ measure: 'concurrency', limit: 2n })
  const answers = await Promise.all(
    Array.from({ length: 6 }, (_, index) => chat(key, {}, { gateway: index % 2 })),
  )
  expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 6 }, () => 200))
})

test('an estimate tells tokens, price and time before the call, costs nothing, and says whether limits would let it pass', async () => {
  const key = await keyWith({ measure: 'requests', window: 'day', limit: 2n })
  const estimate = async (): Promise<Record<string, unknown>> => {
    const response = await gateways.post('/v1/estimate', hello, key.secret)
    expect(response.status).toBe(200)
    return (await response.json()) as Record<string, unknown>
  }
  // The engine's counts of other tests are learned from: nothing here rests on them.
  const first = await estimate()
  expect(first).toMatchObject({
    object: 'estimate',
    model: 'mock',
    endpoint: '/v1/chat/completions',
    would_be_admitted: true,
    output_tokens: { max: 16 },
    price: { currency: 'EUR' },
  })
  const { low, expected, high, max } = first['price'] as Record<string, { nanos: string }>
  const nanos = [low, expected, high, max].map((money) => BigInt(money?.nanos ?? -1))
  expect(nanos).toEqual(nanos.toSorted((a, b) => (a < b ? -1 : 1)))
  await chat(key)
  await chat(key)
  expect(await amountOf(2, key)).toBeLessThanOrEqual(2n * (nanos[3] ?? 0n))
  expect(await estimate()).toMatchObject({
    would_be_admitted: false,
    limit: { measure: 'requests', window: 'day', remaining: '0', cause: 'exhausted' },
  })
})
