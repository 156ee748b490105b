/** Legs of keyed requests on real PostgreSQL: who may run, when, and what was charged before. */
import { createHash, randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import { importShippedCatalogue } from '../catalog/catalog.ts'
import { createTenant } from '../identity/identity.ts'
import { manualClock } from '../platform/clock.ts'
import { createLogger } from '../platform/log.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'
import { openIdempotency, purgeIdempotency, type Idempotency, type Leg } from './idempotency.ts'

let place: TestDatabase
let database: Database
let tenantId: string
let otherTenantId: string
const secret = Buffer.alloc(32, 3)
const log = createLogger('test', 'silent')
const clock = manualClock()
/** Two gateways with pools of their own. */
let first: Idempotency
let second: Idempotency
let key: string

const open = (name: string, of = database): Idempotency =>
  openIdempotency({
    database: of,
    secret,
    gatewayId: `gw_${name}`,
    lifeId: () => `lif_${name.padEnd(16, '0')}`,
    clock,
    log,
  })
const openPool = (): Database =>
  openDatabase({
    url: place.appUrl,
    connectionsMax: 4,
    statementTimeoutMs: 5_000,
    applicationName: 'test',
    onError: () => {},
  })
const run = (statement: ReturnType<typeof sql>) =>
  database.transaction(platformScope, (tx) => statement.execute(tx))

const pools: Database[] = []
beforeAll(async () => {
  place = await (await postgresForTests()).createDatabase()
  database = openPool()
  pools.push(database, openPool(), openPool())
  await database.transaction(platformScope, async (tx) => {
    await importShippedCatalogue(tx, [])
    tenantId = (await createTenant(tx, { name: 'A', priceListId: 'standard' })).id
    otherTenantId = (await createTenant(tx, { name: 'B', priceListId: 'standard' })).id
  })
  first = open('one', pools[1])
  second = open('two', pools[2])
})
afterAll(async () => {
  await Promise.all(pools.map((pool) => pool.close()))
  await place.close()
})
beforeEach(() => {
  key = randomUUID()
})

let requests = 0
function begin(
  gateway: Idempotency,
  change: Partial<Parameters<Idempotency['begin']>[0]> = {},
): ReturnType<Idempotency['begin']> {
  requests += 1
  return gateway.begin({
    tenantId,
    projectId: 'prj_a',
    endpoint: '/v1/chat/completions',
    key,
    body: [Buffer.from('{"model":"m"}')],
    requestId: `req_${requests}`,
    ...change,
  })
}

function begun(outcome: Awaited<ReturnType<typeof begin>>): Leg {
  if (outcome.outcome !== 'begun') throw new Error(`not begun: ${outcome.outcome}`)
  return outcome
}

/** As the shipper does once the leg is settled. */
async function book(leg: Leg, amountNanos: bigint, outcome = 'completed'): Promise<void> {
  await run(sql`
    INSERT INTO usage_events (tenant_id, request_id, leg, project_id, api_key_id, model_id, gateway_id, journal_sequence, endpoint, streamed, outcome,
      input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, amount_nanos, currency, price, duration_ms, started_at, settled_at)
    VALUES (${tenantId}, ${leg.requestId}, ${leg.leg}, 'prj_a', 'key_a', 'm', 'gw_one', 1, '/v1/chat/completions', false, ${outcome},
      1, 0, 1, 0, ${amountNanos}, 'EUR', '{}', 1, now(), now())`)
}

test('of many that come with one key at once, through two gateways, exactly one proceeds', async () => {
  for (let round = 0; round < 10; round += 1) {
    key = randomUUID()
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, (_, index) => begin(index % 2 === 0 ? first : second)),
    )
    const counts = outcomes.map(({ outcome }) => outcome).toSorted()
    expect(counts).toEqual(['begun', ...Array.from({ length: 7 }, () => 'in_progress')])
  }
})

test('of many that repeat one ended request at once, exactly one proceeds', async () => {
  await book(begun(await begin(first)), 10n)
  const outcomes = await Promise.all(
    Array.from({ length: 8 }, (_, index) => begin(index % 2 === 0 ? first : second)),
  )
  expect(outcomes.filter(({ outcome }) => outcome === 'begun')).toHaveLength(1)
})

test('a repetition waits until the ledger has the leg before, and knows what all before were charged', async () => {
  const original = begun(await begin(first))
  expect(original).toMatchObject({ leg: 0, alreadyChargedNanos: 0n })
  expect(await begin(second)).toEqual({ outcome: 'in_progress' })
  await book(original, 100n)
  const again = begun(await begin(second))
  expect(again).toMatchObject({
    requestId: original.requestId,
    leg: 1,
    alreadyChargedNanos: 100n,
  })
  expect(await begin(first)).toEqual({ outcome: 'in_progress' })
  await book(again, 20n)
  expect(begun(await begin(first))).toMatchObject({
    requestId: original.requestId,
    leg: 2,
    alreadyChargedNanos: 120n,
  })
})

test('a key fetches three answers, and no fourth', async () => {
  for (let leg = 0; leg < 3; leg += 1) await book(begun(await begin(first)), 10n)
  expect(await begin(second)).toEqual({ outcome: 'exhausted' })
})

test('what was never served does not count as an answer, yet has a bound', async () => {
  for (let leg = 0; leg < 29; leg += 1) await book(begun(await begin(first)), 0n, 'voided')
  await book(begun(await begin(first)), 0n, 'voided')
  expect(await begin(first)).toEqual({ outcome: 'exhausted' })
})

test.each([
  ['another body', { body: [Buffer.from('{"model":"n"}')] }],
  ['another endpoint', { endpoint: '/v1/embeddings' }],
])('the same key with %s is refused', async (_, change) => {
  const original = begun(await begin(first))
  expect(await begin(second, change)).toEqual({ outcome: 'reused' })
  await book(original, 1n)
  expect(await begin(second, change)).toEqual({ outcome: 'reused' })
})

test('tenants and projects do not meet in each other’s keys', async () => {
  begun(await begin(first))
  begun(await begin(first, { projectId: 'prj_b' }))
  begun(await begin(first, { tenantId: otherTenantId }))
})

test('a leg that was refused before it was opened leaves the key as it was', async () => {
  await begun(await begin(first)).release()
  const fresh = begun(await begin(second, { body: [Buffer.from('another')] }))
  expect(fresh.leg).toBe(0)
  await book(fresh, 5n)
  const body = [Buffer.from('an'), Buffer.from('other')]
  await begun(await begin(first, { body })).release()
  expect(begun(await begin(first, { body }))).toMatchObject({ leg: 1, alreadyChargedNanos: 5n })
})

test('a release that is repeated late takes nobody else’s leg back', async () => {
  await book(begun(await begin(first)), 5n)
  const refused = begun(await begin(first))
  await refused.release()
  const running = begun(await begin(second))
  await refused.release()
  expect(await begin(first)).toEqual({ outcome: 'in_progress' })
  expect(running.leg).toBe(1)
})

test('a release that the database missed is made up for', async () => {
  let isAway = false
  const flaky: Database = {
    transaction: (scope, work) =>
      isAway ? Promise.reject(new Error('away')) : database.transaction(scope, work),
    close: () => Promise.resolve(),
  }
  const gateway = open('flaky', flaky)
  const refused = begun(await begin(gateway))
  isAway = true
  await refused.release()
  clock.advance(10_000)
  expect(await begin(second)).toEqual({ outcome: 'in_progress' })
  isAway = false
  clock.advance(2_000)
  await expect
    .poll(() => run(sql`SELECT 1 FROM idempotent_requests WHERE request_id = ${refused.requestId}`))
    .toMatchObject({ rows: [] })
  expect(begun(await begin(second)).leg).toBe(0)
  gateway.close()
})

test('a leg whose gateway died before it opened it is begun anew once the journal is known to be shipped', async () => {
  const dead = open('dead')
  const lost = begun(await begin(dead))
  expect(await begin(second)).toEqual({ outcome: 'in_progress' })
  await run(sql`UPDATE gateway_lives SET ended_at = now() WHERE gateway_id = 'gw_dead'`)
  const again = begun(await begin(second))
  expect(again).toMatchObject({ requestId: lost.requestId, leg: 0, alreadyChargedNanos: 0n })
  expect(await begin(first)).toEqual({ outcome: 'in_progress' })
})

test('a leg whose gateway died after it opened it is followed by the next', async () => {
  const crashed = open('crashed')
  const lost = begun(await begin(crashed))
  await book(lost, 7n, 'crashed')
  await run(sql`UPDATE gateway_lives SET ended_at = now() WHERE gateway_id = 'gw_crashed'`)
  expect(begun(await begin(second))).toMatchObject({ leg: 1, alreadyChargedNanos: 7n })
})

test('after 24 hours a key is new, and its row goes by itself', async () => {
  const original = begun(await begin(first))
  const expire = sql`UPDATE idempotent_requests SET expires_at = now() - interval '1 second' WHERE request_id = ${original.requestId}`
  await run(expire)
  const fresh = begun(await begin(first, { body: [Buffer.from('another')] }))
  expect(fresh).toMatchObject({ leg: 0 })
  expect(fresh.requestId).not.toBe(original.requestId)
  await run(sql`UPDATE idempotent_requests SET expires_at = now() - interval '1 second'`)
  await purgeIdempotency(database)
  const left = await run(sql`SELECT 1 FROM idempotent_requests`)
  expect(left.rows).toEqual([])
})

test('the rest of a key’s 24 hours is not prolonged by repetitions', async () => {
  const original = begun(await begin(first))
  const expiry = () =>
    run(sql`SELECT expires_at FROM idempotent_requests WHERE request_id = ${original.requestId}`)
  const before = await expiry()
  await book(original, 1n)
  begun(await begin(second))
  expect((await expiry()).rows).toEqual(before.rows)
})

test('the database holds neither the key nor the body, nor a digest that can be guessed', async () => {
  const body = Buffer.from('{"model":"m","messages":[{"role":"user","content":"the secret"}]}')
  begun(await begin(first, { body: [body] }))
  const { rows } = await run(sql`SELECT t::text AS row FROM idempotent_requests t`)
  const text = JSON.stringify(rows)
  expect(text).not.toContain(key)
  expect(text).not.toContain('secret')
  expect(text).not.toContain(createHash('sha256').update(body).digest('hex'))
  expect(text).not.toContain(createHash('sha256').update(key).digest('hex'))
})

test('without the database nothing is begun', async () => {
  const pool = openPool()
  const gateway = open('away', pool)
  await pool.close()
  await expect(begin(gateway)).rejects.toMatchObject({ code: 'platform.database_unavailable' })
})
