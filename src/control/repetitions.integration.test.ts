/** Changes that carry an idempotency key, and receipts of what the ledger holds. */
import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import {
  startControlPlatform,
  type Answer,
  type ControlPlatform,
} from '../../test/control-platform.ts'
import { verifyReceipt } from '../billing/receipt.ts'
import { platformScope } from '../platform/postgres/database.ts'

let platform: ControlPlatform
let token: string
let key: string
beforeAll(async () => {
  platform = await startControlPlatform()
  token = platform.actor('platform', 'operator').secret
})
afterAll(() => platform?.close())
beforeEach(() => {
  key = randomUUID()
})

let count = 0
const next = (): string => {
  count += 1
  return `thing-${count}`
}
const call = (
  method: string,
  path: string,
  body?: unknown,
  as: { readonly token?: string; readonly key?: string } = {},
): Promise<Answer> =>
  platform.call({
    method,
    path,
    body,
    token: as.token ?? token,
    headers: { 'idempotency-key': as.key ?? key },
  })
const projects = (): string => `/tenants/${platform.own.id}/projects`
const keys = (): string => `/tenants/${platform.own.id}/keys`
const isReplay = (answer: Answer): boolean => answer.headers['idempotency-replayed'] === 'true'
const run = (statement: ReturnType<typeof sql>) =>
  platform.database.transaction(platformScope, (tx) => statement.execute(tx))

test('a repeated change is made once, told once, and answered alike, with the secret of a new key', async () => {
  const body = { projectId: platform.own.projectId, name: next() }
  const last = await platform.lastAuditSequence()
  const first = await call('POST', keys(), body)
  const second = await call('POST', keys(), body)
  expect([first.status, isReplay(first)]).toEqual([200, false])
  expect([second.status, isReplay(second)]).toEqual([200, true])
  expect(second.text).toBe(first.text)
  expect(first.body.secret).toMatch(/^cln_/)
  expect(await platform.auditEntries(last)).toHaveLength(1)
  const { data } = (await platform.call({ method: 'GET', path: keys(), token })).body
  expect(data.filter((each: { name: string }) => each.name === body.name)).toHaveLength(1)
})

test('of many that come with one key at once exactly one change is made', async () => {
  const name = next()
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => call('POST', projects(), { name })),
  )
  const made = new Set(answers.filter(({ status }) => status === 200).map(({ text }) => text))
  expect(made.size).toBe(1)
  for (const answer of answers.filter(({ status }) => status !== 200)) {
    expect([answer.status, answer.body.error.code]).toEqual([409, 'idempotency.in_progress'])
    expect(answer.headers['retry-after']).toBe('1')
  }
  expect(await call('POST', projects(), { name })).toMatchObject({
    status: 200,
    text: [...made][0],
  })
})

test.each([
  ['another body', () => ['POST', projects(), next()]],
  ['another path', (name) => ['POST', `/tenants/${platform.other.id}/projects`, name]],
  ['another operation', (name) => ['PATCH', `${projects()}/${platform.own.projectId}`, name]],
] as [string, (name: string) => [string, string, string]][])(
  'the same key with %s is refused without effect',
  async (_, change) => {
    const first = next()
    expect((await call('POST', projects(), { name: first })).status).toBe(200)
    const before = await platform.fingerprint()
    const [method, path, name] = change(first)
    const answer = await call(method, path, { name })
    expect([answer.status, answer.body.error?.code]).toEqual([422, 'idempotency.key_reused'])
    expect(await platform.fingerprint()).toBe(before)
  },
)

test('actors do not meet in each other’s keys', async () => {
  const owner = platform.actor('tenant', 'owner').secret
  const admin = platform.actor('tenant', 'admin').secret
  const made = []
  for (const actor of [token, owner, admin])
    made.push(await call('POST', projects(), { name: next() }, { token: actor }))
  expect(made.map(({ status }) => status)).toEqual([200, 200, 200])
  expect(new Set(made.map(({ text }) => text)).size).toBe(3)
})

test('a member of a tenant repeats a change within their own scope', async () => {
  const owner = platform.actor('tenant', 'owner').secret
  const body = { name: next() }
  const first = await call('POST', projects(), body, { token: owner })
  const second = await call('POST', projects(), body, { token: owner })
  expect([second.status, isReplay(second), second.text]).toEqual([200, true, first.text])
})

test('a change that failed may be tried again with its key', async () => {
  const name = next()
  const taken = await call('POST', '/tenants', { name }, { key: randomUUID() })
  expect((await call('POST', '/tenants', { name })).status).toBe(409)
  await call('PATCH', `/tenants/${taken.body.id}`, { name: next() }, { key: randomUUID() })
  const again = await call('POST', '/tenants', { name })
  expect([again.status, isReplay(again)]).toEqual([200, false])
})

test('a token that lost its right, or was revoked, is given no kept answer', async () => {
  const path = `/tenants/${platform.own.id}/tokens`
  const made = await call('POST', path, { name: next(), role: 'admin' }, { key: randomUUID() })
  const { secret, token: record } = made.body
  const body = { name: next() }
  expect((await call('POST', projects(), body, { token: secret })).status).toBe(200)
  await run(sql`UPDATE access_tokens SET role = 'auditor' WHERE id = ${record.id}`)
  expect((await call('POST', projects(), body, { token: secret })).status).toBe(403)
  await call('POST', `${path}/${record.id}/revoke`, undefined, { key: randomUUID() })
  expect((await call('POST', projects(), body, { token: secret })).status).toBe(401)
})

test('a read passes with any key, and is never a repetition', async () => {
  const answer = await call('GET', projects(), undefined, { key: 'not a key' })
  expect([answer.status, isReplay(answer)]).toEqual([200, false])
})

test.each(['', 'a b', 'x'.repeat(256)])('the key %j is refused', async (bad) => {
  const answer = await call('POST', projects(), { name: next() }, { key: bad })
  expect(answer.body.error).toMatchObject({
    code: 'client.invalid_request',
    param: 'Idempotency-Key',
  })
})

test('a kept answer is sealed: the database shows no secret, no key and no name', async () => {
  const body = { projectId: platform.own.projectId, name: next() }
  const made = await call('POST', keys(), body)
  const { rows } = await run(
    sql`SELECT t::text, encode(sealed_answer, 'escape') AS plain FROM idempotent_operations t`,
  )
  const text = JSON.stringify(rows)
  for (const part of [made.body.secret, key, body.name]) expect(text).not.toContain(part)
})

test('after 24 hours the key is new', async () => {
  const first = await call('POST', projects(), { name: next() })
  // The program's own role may not.
  const client = new pg.Client({ connectionString: platform.ownerUrl })
  await client.connect()
  await client.query("UPDATE idempotent_operations SET expires_at = now() - interval '1 second'")
  await client.end()
  const second = await call('POST', projects(), { name: next() })
  expect([second.status, isReplay(second)]).toEqual([200, false])
  expect(second.text).not.toBe(first.text)
})

test('receipts of a request come from the ledger, and verify with the published keys', async () => {
  const requestId = 'req_ReceiptOfTwoLegs'
  const price = {
    version: 'standard',
    nanos: {
      input_token: '900',
      cached_input_token: '900',
      output_token: '4000',
      reasoning_token: '4000',
    },
  }
  for (const [leg, output, amount] of [
    [0, 1, 4_900],
    [1, 3, 8_000],
  ])
    await run(sql`
      INSERT INTO usage_events (tenant_id, request_id, leg, project_id, api_key_id, model_id, gateway_id, journal_sequence, endpoint, streamed, outcome,
        input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, amount_nanos, currency, price, duration_ms, started_at, settled_at)
      VALUES (${platform.own.id}, ${requestId}, ${leg}, 'prj', 'key', 'm', 'gw', 1, '/v1/chat/completions', false, 'completed', 1, 0, ${output}, 0,
        ${amount}, 'EUR', ${JSON.stringify(price)}, 1, now(), now())`)
  const path = `/tenants/${platform.own.id}/receipts/${requestId}`
  const { body } = await platform.call({ method: 'GET', path, token })
  const published = await platform.app.inject('/.well-known/colonnade/receipt-keys.json')
  expect(body.receipts).toMatchObject([
    { leg: 0, amountNanos: '4900' },
    { leg: 1, amountNanos: '8000' },
  ])
  for (const { receipt } of body.receipts)
    expect(verifyReceipt(receipt, published.json())).toMatchObject({ isValid: true })
  const foreign = `/tenants/${platform.other.id}/receipts/${requestId}`
  expect((await platform.call({ method: 'GET', path: foreign, token })).status).toBe(404)
})
