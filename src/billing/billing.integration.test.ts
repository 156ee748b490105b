import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import type { TokenUsage } from '../engines/engine.ts'
import { manualClock } from '../platform/clock.ts'
import { createLogger } from '../platform/log.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'
import { openBilling, type Billing } from './billing.ts'
import type { OpenedRequest, Outcome } from './usage.ts'

const tenantId = 'ten_AAAAAAAAAAAAAAAA'
const canary = 'a prompt that must be nowhere'
let place: TestDatabase
let database: Database
let directory: string

beforeAll(async () => {
  place = await (await postgresForTests()).createDatabase()
  database = openDatabase({
    url: place.appUrl,
    connectionsMax: 4,
    statementTimeoutMs: 5_000,
    applicationName: 'test',
    onError: () => {},
  })
  await database.transaction(platformScope, async (tx) => {
    await sql`INSERT INTO price_lists VALUES ('standard', 'Standard', 'EUR', 'test')`.execute(tx)
    await sql`INSERT INTO tenants (id, name, price_list_id) VALUES (${tenantId}, 'A', 'standard')`.execute(
      tx,
    )
  })
}, 90_000)
afterAll(async () => {
  await database.close()
  await place.close()
})
beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-billing-'))
})
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }))

const clock = manualClock(Date.parse('2026-05-01T10:00:00Z'))

function start(from = directory, db = database): Promise<Billing> {
  return openBilling({
    directory: from,
    segmentBytes: 256 * 1024,
    bytesMax: 4 * 1024 * 1024,
    database: db,
    clock,
    log: createLogger('test', 'silent'),
    onFatal: () => {},
  })
}

function request(requestId: string, more: Partial<OpenedRequest> = {}): OpenedRequest {
  return {
    requestId,
    leg: 0,
    tenantId,
    projectId: 'prj_AAAAAAAAAAAAAAAA',
    apiKeyId: 'key_AAAAAAAAAAAAAAAA',
    modelId: 'm',
    endpoint: '/v1/chat/completions',
    streamed: true,
    price: {
      version: 'standard@2026',
      currency: 'EUR',
      inputNanos: 900n,
      cachedInputNanos: 900n,
      outputNanos: 4_000n,
      reasoningNanos: 21_000n,
    },
    estimatedInputTokens: 10,
    maxOutputTokens: 100,
    heldNanos: 2_109_000n,
    startedAtMs: clock.nowMs(),
    ...more,
  }
}
const usage = (inputTokens: number, outputTokens: number): TokenUsage => ({
  inputTokens,
  cachedInputTokens: 0,
  outputTokens,
  reasoningTokens: 0,
})
const settlement = (outcome: Outcome, used: TokenUsage) => ({
  outcome,
  usage: used,
  usageSuspect: false,
  replicaId: undefined,
  timeToFirstTokenMs: 12,
  durationMs: 30,
})

interface Books {
  readonly events: {
    request_id: string
    outcome: string
    amount_nanos: bigint
    output_tokens: bigint
  }[]
  readonly balances: Record<string, bigint>
  readonly charged: bigint
  readonly sum: bigint
}
async function books(prefix: string): Promise<Books> {
  return database.transaction(platformScope, async (tx) => {
    const events = await sql<
      Books['events'][number]
    >`SELECT request_id, outcome, amount_nanos, output_tokens FROM usage_events WHERE request_id LIKE ${`${prefix}%`} ORDER BY request_id`.execute(
      tx,
    )
    const accounts = await sql<{
      id: string
      balance: bigint
      derived: bigint
    }>`SELECT a.id, a.balance_nanos AS balance, coalesce(sum(e.amount_nanos), 0)::bigint AS derived FROM ledger_accounts a LEFT JOIN ledger_entries e ON e.account_id = a.id GROUP BY a.id`.execute(
      tx,
    )
    for (const account of accounts.rows) expect(account.balance, account.id).toBe(account.derived)
    const charged = await sql<{
      sum: bigint
    }>`SELECT coalesce(sum(e.amount_nanos), 0)::bigint AS sum FROM ledger_entries e JOIN ledger_transactions t ON t.id = e.transaction_id WHERE t.kind = 'charge' AND e.amount_nanos > 0 AND t.request_id LIKE ${`${prefix}%`}`.execute(
      tx,
    )
    return {
      events: events.rows,
      balances: Object.fromEntries(
        accounts.rows.map((row) => [row.id.split(':')[0] ?? '', row.balance]),
      ),
      charged: charged.rows[0]?.sum ?? 0n,
      sum: accounts.rows.reduce((total, row) => total + row.balance, 0n),
    }
  })
}

test('a settled request is charged once, exactly, and the books balance', async () => {
  const billing = await start()
  const hold = await billing.open(request('one-1'))
  const settled = await hold.settle(settlement('completed', usage(7, 20)))
  expect(settled.amountNanos).toBe(7n * 900n + 20n * 4_000n)
  expect(await billing.drain(5_000)).toBe(true)
  await billing.close()
  const after = await books('one-')
  expect(after.events).toEqual([
    { request_id: 'one-1', outcome: 'completed', amount_nanos: 86_300n, output_tokens: 20n },
  ])
  expect(after.charged).toBe(86_300n)
  expect(after.sum).toBe(0n)
})

test('a charge never exceeds its hold, and a voided request costs nothing', async () => {
  const billing = await start()
  const greedy = await (
    await billing.open(request('cap-1', { heldNanos: 1_000n }))
  ).settle(settlement('completed', usage(7, 20)))
  const voided = await (
    await billing.open(request('cap-2'))
  ).settle(settlement('voided', usage(7, 20)))
  expect([greedy.amountNanos, voided.amountNanos]).toEqual([1_000n, 0n])
  await billing.drain(5_000)
  await billing.close()
  const after = await books('cap-')
  expect(after.events.map((event) => event.amount_nanos)).toEqual([1_000n, 0n])
  expect(after.charged).toBe(1_000n)
})

test('a request under way is held on the books, and released when it settles', async () => {
  const billing = await start()
  const before = (await books('x')).balances['held'] ?? 0n
  const hold = await billing.open(request('held-1'))
  await billing.drain(5_000)
  expect((await books('held-')).balances['held']).toBe(before + 2_109_000n)
  await hold.settle(settlement('completed', usage(1, 1)))
  await billing.drain(5_000)
  const after = await books('held-')
  expect(after.balances['held']).toBe(before)
  expect(after.sum).toBe(0n)
  await billing.close()
})

test('applying the journal again, even without its checkpoint, changes nothing', async () => {
  const billing = await start()
  for (let i = 0; i < 30; i += 1)
    await (await billing.open(request(`again-${i}`))).settle(settlement('completed', usage(3, i)))
  await billing.drain(5_000)
  await billing.close()
  const once = await books('again-')
  for (let round = 0; round < 3; round += 1) {
    await database.transaction(platformScope, (tx) =>
      sql`UPDATE journal_checkpoints SET applied_sequence = 0 WHERE gateway_id = ${billing.gatewayId}`.execute(
        tx,
      ),
    )
    const replay = await start()
    expect(await replay.drain(5_000)).toBe(true)
    await replay.close()
    expect(await books('again-')).toEqual(once)
  }
  expect(once.events).toHaveLength(30)
})

test('what a crash left open is settled by rule at the next start: input and the last durable progress', async () => {
  const billing = await start()
  const silent = await billing.open(request('crash-1'))
  const spoke = await billing.open(request('crash-2'))
  spoke.progress(usage(8, 64))
  spoke.progress(usage(8, 70))
  await (await billing.open(request('crash-3'))).settle(settlement('completed', usage(2, 2)))
  // The process dies here: what follows never happens, and the journal is all that is left.
  const copy = `${directory}-copy`
  fs.cpSync(directory, copy, { recursive: true })
  fs.rmSync(join(copy, 'lock'))
  await silent.settle(settlement('voided', usage(0, 0)))
  await spoke.settle(settlement('voided', usage(0, 0)))
  await billing.close()
  await database
    .transaction(platformScope, (tx) => sql`DELETE FROM journal_checkpoints`.execute(tx))
    .catch(() => {})

  const survivor = await start(copy, database)
  await survivor.drain(5_000)
  await survivor.close()
  fs.rmSync(copy, { recursive: true })
  const lines = (await books('crash-')).events
  expect(lines.find((event) => event.request_id === 'crash-3')).toMatchObject({
    outcome: 'completed',
  })
})

test('after a crash alone, without the survivor, the open ones are billed their progress', async () => {
  const billing = await start()
  await billing.open(request('dead-1'))
  const spoke = await billing.open(request('dead-2'))
  spoke.progress(usage(8, 64))
  const copy = `${directory}-copy`
  // An append that resolves makes everything before it durable.
  await (await billing.open(request('dead-3'))).settle(settlement('completed', usage(2, 2)))
  fs.cpSync(directory, copy, { recursive: true })
  fs.rmSync(join(copy, 'lock'))
  const unreachable = openDatabase({
    url: 'postgresql://nobody@127.0.0.1:1/none',
    connectionsMax: 1,
    statementTimeoutMs: 500,
    applicationName: 'test',
    onError: () => {},
  })
  await billing.close()
  const survivor = await start(copy)
  expect(await survivor.drain(5_000)).toBe(true)
  await survivor.close()
  await unreachable.close()
  fs.rmSync(copy, { recursive: true })
  const after = await books('dead-')
  expect(after.events).toEqual([
    { request_id: 'dead-1', outcome: 'crashed', amount_nanos: 9_000n, output_tokens: 0n },
    {
      request_id: 'dead-2',
      outcome: 'crashed',
      amount_nanos: 8n * 900n + 64n * 4_000n,
      output_tokens: 64n,
    },
    { request_id: 'dead-3', outcome: 'completed', amount_nanos: 9_800n, output_tokens: 2n },
  ])
  expect(after.sum).toBe(0n)
})

test('the database may be away: requests settle, and the ledger catches up', async () => {
  const away = openDatabase({
    url: 'postgresql://nobody@127.0.0.1:1/none',
    connectionsMax: 1,
    statementTimeoutMs: 500,
    applicationName: 'test',
    onError: () => {},
  })
  const alone = await start(directory, away)
  for (let i = 0; i < 10; i += 1)
    await (await alone.open(request(`away-${i}`))).settle(settlement('completed', usage(1, 1)))
  expect(alone.lagEvents()).toBe(20)
  await alone.close()
  await away.close()
  const back = await start()
  expect(await back.drain(5_000)).toBe(true)
  await back.close()
  expect((await books('away-')).events).toHaveLength(10)
})

test('two processes never write one journal', async () => {
  const billing = await start()
  await expect(start()).rejects.toMatchObject({ code: 'client.conflict' })
  await billing.close()
})

test('no byte of content reaches the journal: events have no field that could hold it', async () => {
  const billing = await start()
  const smuggled = { ...request('canary-1'), messages: canary } as OpenedRequest
  await (await billing.open(smuggled)).settle(settlement('completed', usage(1, 1)))
  await billing.close()
  for (const name of fs.readdirSync(join(directory, 'segments'))) {
    expect(fs.readFileSync(join(directory, 'segments', name)).includes(canary)).toBe(false)
  }
})
