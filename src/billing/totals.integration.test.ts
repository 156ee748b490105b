/** Each settlement is counted once, whatever dies in between; and counting agrees with the ledger at any moment. */
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import type { TokenUsage } from '../engines/engine.ts'
import { systemClock } from '../platform/clock.ts'
import { createLogger } from '../platform/log.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'
import { openBilling, type Billing, type Hold } from './billing.ts'
import { reconcile, wholeHours, type Finding } from './reconciliation.ts'
import { totalsOf, type TotalsSink } from './totals.ts'

const tenantId = 'ten_AAAAAAAAAAAAAAAA'
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
  directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-totals-'))
})
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }))

function start(from = directory, totals: TotalsSink = totalsOf(database)): Promise<Billing> {
  return openBilling({
    directory: from,
    segmentBytes: 64 * 1024,
    bytesMax: 4 * 1024 * 1024,
    database,
    totals,
    clock: systemClock,
    log: createLogger('test', 'silent'),
    onFatal: () => {},
  })
}

const usage: TokenUsage = {
  inputTokens: 10,
  cachedInputTokens: 0,
  outputTokens: 20,
  reasoningTokens: 0,
}

async function open(billing: Billing, requestId: string): Promise<Hold> {
  return billing.open({
    requestId,
    leg: 0,
    tenantId,
    projectId: 'prj_AAAAAAAAAAAAAAAA',
    apiKeyId: 'key_AAAAAAAAAAAAAAAA',
    modelId: 'm',
    endpoint: '/v1/chat/completions',
    streamed: true,
    price: {
      version: 'test',
      currency: 'EUR',
      inputNanos: 1n,
      cachedInputNanos: 1n,
      outputNanos: 1n,
      reasoningNanos: 1n,
    },
    estimatedInputTokens: 10,
    maxOutputTokens: 100,
    heldNanos: 1_000n,
    startedAtMs: systemClock.nowMs(),
    lifeId: '',
    takes: [],
    alreadyChargedNanos: 0n,
  })
}

async function serveOne(billing: Billing, requestId: string, claimed = usage): Promise<void> {
  const hold = await open(billing, requestId)
  hold.noteEngine(claimed)
  await hold.settle({
    outcome: 'completed',
    usage,
    usageSuspect: false,
    replicaId: undefined,
    timeToFirstTokenMs: 1,
    durationMs: 2,
    amountMaxNanos: undefined,
    chargeLimits: () => [],
  })
}

async function counts(gatewayId: string): Promise<{ journal: bigint; engines: bigint }> {
  const result = await database.transaction(platformScope, (tx) =>
    sql<{ journal: bigint; engines: bigint }>`
      SELECT (SELECT coalesce(sum(requests), 0)::bigint FROM journal_totals WHERE gateway_id = ${gatewayId}) AS journal,
        (SELECT coalesce(sum(requests), 0)::bigint FROM engine_totals WHERE gateway_id = ${gatewayId}) AS engines`.execute(
      tx,
    ),
  )
  return result.rows[0] ?? { journal: 0n, engines: 0n }
}

async function findings(): Promise<readonly Finding[]> {
  const nowMs = Date.now()
  const range = { ...wholeHours(nowMs - 7_200_000, nowMs), thorough: true }
  const run = await database.transaction(platformScope, (tx) => reconcile(tx, range))
  return run.findings
}

/** As the disk of a gateway that died looks to its next life. */
function copyAsAfterDeath(): string {
  const copy = `${directory}-dead`
  fs.cpSync(directory, copy, {
    recursive: true,
    filter: (path) => !path.endsWith('lock'),
  })
  return copy
}

test('what a gateway that dies has not counted, its next life reads from the journal and counts once', async () => {
  const first = await start()
  await serveOne(first, 'die-1')
  expect(await first.drain(5_000)).toBe(true)
  for (const name of ['die-2', 'die-3']) await serveOne(first, name)
  await open(first, 'die-4')
  const copy = copyAsAfterDeath()
  // The dead gateway's life goes on no more: only the copy counts from here.
  const second = await start(copy, totalsOf(database))
  expect(await second.drain(5_000)).toBe(true)
  expect(await counts(first.gatewayId)).toEqual({ journal: 4n, engines: 3n })
  await serveOne(second, 'die-5')
  expect(await second.drain(5_000)).toBe(true)
  await second.close()
  expect(await counts(first.gatewayId)).toEqual({ journal: 5n, engines: 4n })
  const third = await start(copy)
  expect(await third.drain(5_000)).toBe(true)
  await third.close()
  expect(await counts(first.gatewayId)).toEqual({ journal: 5n, engines: 4n })
  expect(await findings()).toEqual([])
  await first.close()
  fs.rmSync(copy, { recursive: true })
})

test('a flush whose answer was lost is repeated without effect', async () => {
  const sink = totalsOf(database)
  let calls = 0
  const flaky: TotalsSink = {
    begin: sink.begin,
    async add(gatewayId, totals) {
      await sink.add(gatewayId, totals)
      if ((calls += 1) % 2 === 1) throw new Error('the connection ended after COMMIT')
    },
  }
  const billing = await start(directory, flaky)
  for (let i = 0; i < 4; i += 1) {
    await serveOne(billing, `lost-flush-${i}`)
    await billing.drain(5_000)
  }
  await billing.close()
  expect(calls).toBeGreaterThan(4)
  expect(await counts(billing.gatewayId)).toEqual({ journal: 4n, engines: 4n })
  expect(await findings()).toEqual([])
})

test('the journal keeps what is in the ledger and not yet counted', async () => {
  const sink = totalsOf(database)
  let isAway = true
  const away: TotalsSink = {
    begin: sink.begin,
    add: (gatewayId, totals) =>
      isAway ? Promise.reject(new Error('away')) : sink.add(gatewayId, totals),
  }
  const billing = await start(directory, away)
  for (let i = 0; i < 150; i += 1) await serveOne(billing, `kept-${i}`)
  expect(await billing.drain(5_000)).toBe(true)
  const segments = (): number =>
    fs.readdirSync(join(directory, 'segments')).filter((name) => name.endsWith('.journal')).length
  const before = segments()
  expect(before).toBeGreaterThan(2)
  isAway = false
  await billing.drain(5_000)
  expect(await counts(billing.gatewayId)).toEqual({ journal: 150n, engines: 150n })
  expect(segments()).toBeLessThan(before)
  await billing.close()
})

test('a gateway whose counting does not begin still brings its journal to the ledger, and its next life counts the rest', async () => {
  const broken: TotalsSink = {
    begin: () => Promise.reject(new Error('a bug')),
    add: () => Promise.reject(new Error('a bug')),
  }
  const healthy = await start()
  await serveOne(healthy, 'uncounted-1')
  await healthy.drain(5_000)
  await healthy.close()
  const billing = await start(directory, broken)
  await serveOne(billing, 'uncounted-2')
  expect(await billing.drain(10_000)).toBe(true)
  await billing.close()
  expect(await counts(billing.gatewayId)).toEqual({ journal: 1n, engines: 1n })
  // Its next healthy life counts what it left.
  const again = await start()
  await again.drain(5_000)
  await again.close()
  expect(await counts(billing.gatewayId)).toEqual({ journal: 2n, engines: 2n })
  expect(await findings()).toEqual([])
})

test('after a journal was replaced, counting begins anew, and the books still agree', async () => {
  const first = await start()
  for (let i = 0; i < 5; i += 1) await serveOne(first, `anew-a-${i}`)
  await first.drain(5_000)
  await first.close()
  fs.rmSync(join(directory, 'segments'), { recursive: true })
  const second = await start()
  for (let i = 0; i < 2; i += 1) await serveOne(second, `anew-b-${i}`)
  expect(await second.drain(5_000)).toBe(true)
  await second.close()
  expect(await counts(second.gatewayId)).toEqual({ journal: 7n, engines: 7n })
  expect(await findings()).toEqual([])
})
