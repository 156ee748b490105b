/** Limits as clients meet them: two gateways over one PostgreSQL, an engine that answers with 16 tokens, and the headers and bodies that come back. */
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startMockEngine, type MockEngine } from '../../bench/mock-engine.ts'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import { readConfig } from '../app/config.ts'
import type { Role } from '../app/lifecycle.ts'
import { loadSecrets, secretPath } from '../app/secrets.ts'
import { startGateway } from '../app/wire-gateway.ts'
import { addModel, importShippedCatalogue } from '../catalog/catalog.ts'
import { addExternalEngine } from '../fleet/fleet.ts'
import { createApiKey, createProject, createTenant } from '../identity/identity.ts'
import { createRule, type NewRule } from '../limits/rules.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'

let place: TestDatabase
let database: Database
let engine: MockEngine
let gateways: Role[]
let directory: string
let tenantId: string
let projectId: string
let pepper: { version: number; key: Buffer }

beforeAll(async () => {
  place = await (await postgresForTests()).createDatabase()
  directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-limits-'))
  engine = await startMockEngine({ tokens: 200 })
  const configs = [1, 2].map((index) =>
    readConfig(
      {
        dataDirectory: directory,
        logLevel: 'silent',
        gateway: { port: 0, index, quotaStatus: index === 1 ? 429 : 402 },
        database: { appUrl: place.appUrl },
      },
      {},
    ),
  )
  const [config] = configs
  if (!config) throw new Error('there are two')
  const secrets = loadSecrets(secretPath(config))
  pepper = { version: 1, key: secrets.peppers.get(1) ?? Buffer.alloc(0) }
  database = openDatabase({
    url: place.appUrl,
    connectionsMax: 2,
    statementTimeoutMs: 5_000,
    applicationName: 'test',
    onError: () => {},
  })
  await database.transaction(platformScope, async (tx) => {
    await importShippedCatalogue(tx, [])
    const tenant = await createTenant(tx, { name: 'A', priceListId: 'standard' })
    tenantId = tenant.id
    projectId = (await createProject(tx, tenant.id, 'p')).id
    await addModel(
      tx,
      {
        id: 'mock',
        category: 'chat',
        contextWindowTokens: 10_000,
        capabilities: [],
        weightSources: [],
        weightSha256: null,
      },
      { unpriced: false },
    )
    await addExternalEngine(tx, {
      modelId: 'mock',
      engineKind: 'openai-compatible',
      baseUrl: engine.url,
      engineModel: 'mock',
      sealKey: undefined,
    })
  })
  gateways = await Promise.all(configs.map((each) => startGateway(each)))
}, 120_000)

afterAll(async () => {
  for (const gateway of gateways ?? []) {
    await gateway.drain()
    await gateway.stop()
  }
  await engine?.close()
  await database?.close()
  await place?.close()
  fs.rmSync(directory, { recursive: true, force: true })
})

/** A key of its own, with rules of its own, known to both gateways. */
async function keyWith(...rules: readonly Partial<NewRule>[]): Promise<string> {
  const { secret, ids } = await database.transaction(platformScope, async (tx) => {
    const made = await createApiKey(tx, { tenantId, projectId, name: 'k' }, pepper)
    const ids: string[] = []
    for (const rule of rules) {
      const full = {
        per: 'key',
        measure: 'requests',
        window: 'lifetime',
        limit: 1n,
        enforcement: 'hard',
        onOutage: 'closed',
        ...rule,
        apiKeyId: made.key.id,
      }
      ids.push((await createRule(tx, { tenantId }, full as NewRule, 'platform')).id)
    }
    return { secret: made.secret, ids }
  })
  for (const gateway of gateways) {
    await expect
      .poll(
        async () =>
          (
            await fetch(`${gateway.url}/v1/models`, {
              headers: { authorization: `Bearer ${secret}` },
            })
          ).status,
        { timeout: 5_000 },
      )
      .toBe(200)
  }
  expect(ids).toHaveLength(rules.length)
  return secret
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

async function chat(
  secret: string,
  body: Record<string, unknown> = {},
  options: { gateway?: number; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const response = await fetch(`${gateways[options.gateway ?? 0]?.url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${secret}`,
      'content-type': 'application/json',
      ...options.headers,
    },
    body: JSON.stringify({
      model: 'mock',
      messages: [{ role: 'user', content: 'hello' }],
      max_tokens: 16,
      ...body,
    }),
  })
  return { status: response.status, headers: response.headers, text: await response.text() }
}

test('requests are counted over both gateways together, and the refusal says which rule and when it clears', async () => {
  const secret = await keyWith({ measure: 'requests', window: 'day', limit: 3n })
  const statuses = []
  for (const gateway of [0, 1, 0, 1, 0]) statuses.push((await chat(secret, {}, { gateway })).status)
  expect(statuses).toEqual([200, 200, 200, 429, 429])
  const refused = await chat(secret, {}, { gateway: 1 })
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
  const secret = await keyWith(
    { measure: 'requests', window: 'hour', limit: 10n },
    { measure: 'output_tokens', window: 'day', limit: 1_000n },
  )
  const first = await chat(secret)
  const second = await chat(secret)
  expect(first.headers.get('x-ratelimit-remaining-requests')).toBe('9')
  expect(second.headers.get('x-ratelimit-remaining-requests')).toBe('8')
  expect(second.headers.get('x-ratelimit-limit-tokens')).toBe('1000')
  // 16 were spent by the first, and 16 are reserved for the second.
  expect(second.headers.get('x-ratelimit-remaining-tokens')).toBe('968')
})

test('an exhausted budget is insufficient_quota that SDKs do not repeat, with 429 or 402 by the configuration', async () => {
  const secret = await keyWith({ measure: 'amount', window: 'lifetime', limit: 1_000n })
  const [first, second] = [await chat(secret), await chat(secret, {}, { gateway: 1 })]
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
  const secret = await keyWith({ measure: 'amount', limit: cost * 7n })
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, index) => chat(secret, {}, { gateway: index % 2 })),
  )
  expect(answers.filter((answer) => answer.status === 200)).toHaveLength(7)
  expect(await amountOf(7, secret)).toBe(cost * 7n)
})

/** The sum that the ledger has of a key, once it has so many requests. */
async function amountOf(requests: number, secret: string): Promise<bigint> {
  const publicId = secret.slice(11, 21)
  const read = async (): Promise<{ count: bigint; sum: bigint }> => {
    const rows = await database.transaction(platformScope, (tx) =>
      sql<{
        count: bigint
        sum: bigint
      }>`SELECT count(*) AS count, coalesce(sum(amount_nanos), 0)::bigint AS sum FROM usage_events
        WHERE api_key_id = (SELECT api_key_id FROM api_key_secrets WHERE public_id = ${publicId}) AND outcome = 'completed'`.execute(
        tx,
      ),
    )
    return rows.rows[0] ?? { count: 0n, sum: 0n }
  }
  await expect.poll(async () => (await read()).count, { timeout: 5_000 }).toBe(BigInt(requests))
  return (await read()).sum
}

test('a stream that runs dry ends with length, says why, and spends no more than the limit', async () => {
  const secret = await keyWith({ measure: 'output_tokens', window: 'day', limit: 100n })
  const answer = await chat(
    secret,
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
  const whole = await chat(secret, { max_tokens: 200 }, { headers: { 'x-on-limit': 'clamp' } })
  expect(whole.status).toBe(429)
})

test('a request larger than its limit is told that waiting does not help', async () => {
  const secret = await keyWith({ measure: 'output_tokens', window: 'minute', limit: 10n })
  const answer = await chat(secret)
  expect(answer.status).toBe(429)
  expect(JSON.parse(answer.text)).toMatchObject({
    error: { limit: { cause: 'too_large', clears_in_ms: null } },
  })
  expect(answer.headers.get('x-should-retry')).toBe('false')
})

test('a shadow rule lets everything pass and shows in no header', async () => {
  const secret = await keyWith({ measure: 'requests', limit: 1n, enforcement: 'shadow' })
  const answers = [await chat(secret), await chat(secret), await chat(secret)]
  expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200])
  expect(answers[2]?.headers.get('x-ratelimit-limit-requests')).toBeNull()
})

test('a soft rule lets a request in as long as anything is left, and then refuses', async () => {
  const secret = await keyWith({ measure: 'output_tokens', limit: 20n, enforcement: 'soft' })
  const answers = [await chat(secret), await chat(secret), await chat(secret)]
  expect(answers.map((answer) => answer.status)).toEqual([200, 200, 429])
})

test('of several rules the smallest decides', async () => {
  const secret = await keyWith(
    { measure: 'requests', limit: 5n },
    { measure: 'amount', limit: 1_000_000_000_000n },
    { measure: 'requests', window: 'hour', limit: 2n },
  )
  const statuses = []
  for (let index = 0; index < 3; index += 1) statuses.push((await chat(secret)).status)
  expect(statuses).toEqual([200, 200, 429])
})

test('a place among the requests at once is free again with the end of a request', async () => {
  const secret = await keyWith({ measure: 'concurrency', limit: 2n })
  const answers = await Promise.all(
    Array.from({ length: 6 }, (_, index) => chat(secret, {}, { gateway: index % 2 })),
  )
  expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 6 }, () => 200))
})

test('an estimate tells tokens, price and time before the call, costs nothing, and says whether limits would let it pass', async () => {
  const secret = await keyWith({ measure: 'requests', window: 'day', limit: 2n })
  const estimate = async (): Promise<Record<string, unknown>> => {
    const response = await fetch(`${gateways[0]?.url}/v1/estimate`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'mock',
        messages: [{ role: 'user', content: 'hello' }],
        max_tokens: 16,
      }),
    })
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
  await chat(secret)
  await chat(secret)
  expect(await amountOf(2, secret)).toBeLessThanOrEqual(2n * (nanos[3] ?? 0n))
  expect(await estimate()).toMatchObject({
    would_be_admitted: false,
    limit: { measure: 'requests', window: 'day', remaining: '0', cause: 'exhausted' },
  })
})
