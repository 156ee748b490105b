import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import { manualClock, systemClock } from '../platform/clock.ts'
import { createLogger } from '../platform/log.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'
import { openBilling } from './billing.ts'
import {
  reportUsage,
  usageGroupings,
  type UsageFilter,
  type UsageGrouping,
  type UsageReport,
} from './report.ts'
import type { Outcome } from './usage.ts'

const tenants = ['ten_AAAAAAAAAAAAAAAA', 'ten_BBBBBBBBBBBBBBBB', 'ten_CCCCCCCCCCCCCCCC']
const franc = tenants[2] ?? ''
const outcomes: Outcome[] = ['completed', 'client_left', 'upstream_failed', 'voided']
const startMs = Date.parse('2026-03-31T22:30:00Z')
const requests = 240
let place: TestDatabase
let database: Database
let directory: string

beforeAll(async () => {
  place = await (await postgresForTests()).createDatabase()
  database = openDatabase({
    url: place.appUrl,
    connectionsMax: 2,
    statementTimeoutMs: 5_000,
    applicationName: 'test',
    onError: () => {},
  })
  await database.transaction(platformScope, async (tx) => {
    await sql`INSERT INTO price_lists VALUES ('standard', 'Standard', 'EUR', 'test')`.execute(tx)
    for (const id of tenants)
      await sql`INSERT INTO tenants (id, name, price_list_id) VALUES (${id}, ${id}, 'standard')`.execute(
        tx,
      )
  })
  directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-report-'))
  await serveMany()
}, 120_000)
afterAll(async () => {
  await database.close()
  await place.close()
  fs.rmSync(directory, { recursive: true, force: true })
})

/** Requests of every kind over some hours around a midnight, with figures that no two share. */
async function serveMany(): Promise<void> {
  const clock = { ...manualClock(startMs), after: systemClock.after }
  const billing = await openBilling({
    directory,
    segmentBytes: 1024 * 1024,
    bytesMax: 8 * 1024 * 1024,
    database,
    clock,
    log: createLogger('test', 'silent'),
    onFatal: () => {},
  })
  for (let index = 0; index < requests; index += 1) {
    const tenantId = tenants[index % 3] ?? ''
    const outputTokens = index * 7
    const hold = await billing.open({
      requestId: `req_${index}`,
      leg: 0,
      tenantId,
      projectId: `prj_${index % 5}`,
      apiKeyId: `key_${index % 7}`,
      modelId: `model-${index % 4}`,
      endpoint: '/v1/chat/completions',
      streamed: index % 2 === 0,
      price: {
        version: 'test',
        currency: tenantId === franc ? 'CHF' : 'EUR',
        inputNanos: 901n,
        cachedInputNanos: 90n,
        outputNanos: 4_003n,
        reasoningNanos: 21_001n,
      },
      estimatedInputTokens: 10,
      maxOutputTokens: 10_000,
      heldNanos: 10_000_000_000n,
      startedAtMs: clock.nowMs(),
      lifeId: '',
      takes: [],
      alreadyChargedNanos: 0n,
    })
    clock.advance(60_000)
    await hold.settle({
      outcome: outcomes[index % outcomes.length] ?? 'completed',
      usage: {
        inputTokens: 100 + index,
        cachedInputTokens: index % 100,
        outputTokens,
        reasoningTokens: Math.floor(outputTokens / 3),
        ...(index >= 30 && index < 32 && { units: { audioMs: 60_001, images: index - 30 } }),
      },
      usageSuspect: false,
      replicaId: undefined,
      timeToFirstTokenMs: 10,
      durationMs: 60_000,
      amountMaxNanos: undefined,
      chargeLimits: () => [],
    })
  }
  expect(await billing.drain(20_000)).toBe(true)
  await billing.close()
}

function report(filter: Partial<UsageFilter>, tenantId?: string): Promise<UsageReport> {
  const scope = tenantId === undefined ? platformScope : ({ kind: 'tenant', tenantId } as const)
  return database.transaction(scope, (tx) =>
    reportUsage(tx, { groupBy: [], limit: 10_000, ...filter }),
  )
}

const nanosOf = (rows: readonly { currency: string; amountNanos: string }[], currency: string) =>
  rows
    .filter((row) => row.currency === currency)
    .reduce((sum, row) => sum + BigInt(row.amountNanos), 0n)

/** Straight from the entries. */
async function charged(currency: string): Promise<bigint> {
  const result = await database.transaction(platformScope, (tx) =>
    sql<{ sum: string }>`
      SELECT sum(e.amount_nanos)::text AS sum FROM ledger_entries e
      JOIN ledger_transactions t ON t.id = e.transaction_id JOIN ledger_accounts a ON a.id = e.account_id
      WHERE t.kind = 'charge' AND a.kind = 'receivable' AND a.currency = ${currency}`.execute(tx),
  )
  return BigInt(result.rows[0]?.sum ?? -1)
}

test.each<{ groupBy: readonly UsageGrouping[] }>([
  ...usageGroupings.map((name) => ({ groupBy: [name] })),
  { groupBy: ['tenant', 'model', 'hour'] },
])(
  'usage by $groupBy adds up to the ledger, to the nano, in each currency',
  async ({ groupBy }) => {
    const { data, totals } = await report({ groupBy })
    for (const currency of ['EUR', 'CHF']) {
      const ledger = await charged(currency)
      expect(ledger).toBeGreaterThan(0n)
      expect(nanosOf(data, currency)).toBe(ledger)
      expect(nanosOf(totals, currency)).toBe(ledger)
    }
    expect(data.reduce((sum, row) => sum + row.requests, 0)).toBe(requests)
  },
)

test('a single request is found with its exact charge, as nano-units and as a decimal', async () => {
  const { data } = await report({ groupBy: ['request', 'outcome'], requestId: 'req_30' })
  const nanos = (130n - 30n) * 901n + 30n * 90n + 140n * 4_003n + 70n * 21_001n
  expect(data).toEqual([
    {
      group: { request: 'req_30', outcome: 'upstream_failed' },
      currency: 'EUR',
      requests: 1,
      inputTokens: 130,
      cachedInputTokens: 30,
      outputTokens: 210,
      reasoningTokens: 70,
      units: { audio_minute: 2 },
      amountNanos: String(nanos),
      amount: '0.002123290',
    },
  ])
})

test('hours and days are UTC, and a range has its beginning and not its end', async () => {
  const days = await report({ groupBy: ['day'] })
  expect(days.data.map((row) => [row.group['day'], row.currency, row.requests])).toEqual([
    ['2026-03-31', 'CHF', 29],
    ['2026-03-31', 'EUR', 60],
    ['2026-04-01', 'CHF', 51],
    ['2026-04-01', 'EUR', 100],
  ])
  const hour = { from: new Date('2026-04-01T00:00:00Z'), to: new Date('2026-04-01T01:00:00Z') }
  const { data } = await report({ groupBy: ['hour'], ...hour })
  expect(new Set(data.map((row) => row.group['hour']))).toEqual(new Set(['2026-04-01T00:00Z']))
  expect(data.reduce((sum, row) => sum + row.requests, 0)).toBe(60)
})

test('what the limit cuts off is still in the totals', async () => {
  const cut = await report({ groupBy: ['request'], limit: 10 })
  expect([cut.data.length, cut.hasMore]).toEqual([10, true])
  expect(cut.totals.reduce((sum, row) => sum + row.requests, 0)).toBe(requests)
})

test('filters narrow the sum', async () => {
  const filter = { tenantId: tenants[0], projectId: 'prj_0', apiKeyId: 'key_0', modelId: 'model-0' }
  const { totals } = await report(filter)
  // Every 3rd, 5th, 7th and 4th meet once in 420: request 0.
  expect(totals).toMatchObject([{ requests: 1, inputTokens: 100, amountNanos: String(100 * 901) }])
  expect((await report({ requestId: 'no-such' })).totals).toEqual([])
})

test('a tenant sees its own usage and no other, whatever it asks for', async () => {
  const mine = await report({ groupBy: ['tenant'] }, tenants[0])
  expect(mine.data.map((row) => [row.group['tenant'], row.requests])).toEqual([[tenants[0], 80]])
  expect((await report({ tenantId: tenants[1] }, tenants[0])).totals).toEqual([])
})

test('other units are summed, and a minute that was started is one for each request', async () => {
  const { totals } = await report({ from: undefined })
  const sums = totals.map((row) => row.units).filter((units) => Object.keys(units).length > 0)
  expect(sums.reduce((minutes, units) => minutes + (units['audio_minute'] ?? 0), 0)).toBe(4)
  expect(sums.reduce((images, units) => images + (units['image'] ?? 0), 0)).toBe(1)
})
