/** The ledger under any journal, in any cut, applied any number of times. */
import fc from 'fast-check'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'
import { describeRequest, encodeOpen, encodeSettle, selectBookable } from './journal/event.ts'
import { applyJournal, findCheckpoint } from './store.ts'
import type { OpenedRequest, SettledRequest } from './usage.ts'

const tenants = ['ten_AAAAAAAAAAAAAAAA', 'ten_BBBBBBBBBBBBBBBB']
let place: TestDatabase
let database: Database

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
}, 90_000)
afterAll(async () => {
  await database.close()
  await place.close()
})

interface Script {
  readonly requests: readonly {
    readonly tenant: number
    readonly held: bigint
    /** `undefined`: never settled. A part of the hold otherwise, in hundredths. */
    readonly share: bigint | undefined
    /** How many other events lie between its open and its settlement. */
    readonly duration: number
  }[]
  readonly batchSizes: readonly number[]
  readonly repetitions: readonly number[]
}

const scripts: fc.Arbitrary<Script> = fc.record({
  requests: fc.array(
    fc.record({
      tenant: fc.integer({ min: 0, max: 1 }),
      held: fc.bigInt({ min: 0n, max: 10n ** 12n }),
      share: fc.option(fc.bigInt({ min: 0n, max: 100n }), { nil: undefined }),
      duration: fc.integer({ min: 0, max: 12 }),
    }),
    { minLength: 1, maxLength: 12 },
  ),
  batchSizes: fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 8 }),
  repetitions: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 8 }),
})

let runs = 0

/** The journal of a script: lines in order, with the amounts that the books must show. */
function write(script: Script, gatewayId: string) {
  const events: { at: number; encode: (sequence: bigint) => string }[] = []
  let charged = 0n
  let held = 0n
  let settlements = 0
  for (const [index, { tenant, held: heldNanos, share, duration }] of script.requests.entries()) {
    const request = requestOf(`${gatewayId}-${index}`, tenants[tenant] ?? '', heldNanos)
    const text = describeRequest(request, gatewayId)
    events.push({ at: index, encode: (sequence) => encodeOpen(text, sequence) })
    if (share === undefined) held += heldNanos
    else {
      const settled = settledAs((heldNanos * share) / 100n)
      events.push({
        at: index + duration + 0.5,
        encode: (sequence) => encodeSettle(text, settled, sequence),
      })
      charged += settled.amountNanos
      settlements += 1
    }
  }
  const lines = events
    .toSorted((a, b) => a.at - b.at)
    .map((event, index) => event.encode(BigInt(index + 1)))
  return { lines, charged, held, settlements }
}

function requestOf(requestId: string, tenantId: string, heldNanos: bigint): OpenedRequest {
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
      version: 'test',
      currency: 'EUR',
      inputNanos: 1n,
      cachedInputNanos: 1n,
      outputNanos: 1n,
      reasoningNanos: 1n,
    },
    estimatedInputTokens: 1,
    maxOutputTokens: 1,
    heldNanos,
    startedAtMs: 0,
  }
}

function settledAs(amountNanos: bigint): SettledRequest {
  return {
    outcome: 'completed',
    usage: { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 },
    usageSuspect: false,
    amountNanos,
    replicaId: undefined,
    timeToFirstTokenMs: undefined,
    durationMs: 1,
    settledAtMs: 1_000,
  }
}

async function balances(): Promise<Record<string, bigint>> {
  const result = await database.transaction(platformScope, (tx) =>
    sql<{ kind: string; balance: bigint; derived: bigint }>`
      SELECT a.kind, sum(a.balance_nanos)::bigint AS balance,
        sum((SELECT coalesce(sum(e.amount_nanos), 0) FROM ledger_entries e WHERE e.account_id = a.id))::bigint AS derived
      FROM ledger_accounts a GROUP BY a.kind`.execute(tx),
  )
  for (const row of result.rows) expect(row.balance, row.kind).toBe(row.derived)
  return Object.fromEntries(result.rows.map((row) => [row.kind, row.balance]))
}

test('however a journal is cut and repeated, the books show each settlement once, and each hold until then', async () => {
  await fc.assert(
    fc.asyncProperty(scripts, async (script) => {
      const gatewayId = `gw_${(runs += 1)}`
      const { lines, charged, held, settlements } = write(script, gatewayId)
      const before = await balances()
      const apply = (from: number, to: number): Promise<number> =>
        database.transaction(platformScope, (tx) =>
          applyJournal(tx, gatewayId, selectBookable(lines.slice(from, to)), BigInt(to)),
        )
      let added = 0
      for (let from = 0, batch = 0; from < lines.length; batch += 1) {
        const to = from + (script.batchSizes[batch % script.batchSizes.length] ?? 1)
        const times = script.repetitions[batch % script.repetitions.length] ?? 1
        for (let time = 0; time < times; time += 1) added += await apply(from, to)
        from = to
      }
      const once = await balances()
      const change = (kind: string): bigint => (once[kind] ?? 0n) - (before[kind] ?? 0n)
      expect(added).toBe(settlements)
      expect(change('receivable')).toBe(charged)
      expect(change('revenue')).toBe(-charged)
      expect(change('held')).toBe(held)
      expect(change('suspense')).toBe(-held)
      for (let replay = 0; replay < 3; replay += 1) expect(await apply(0, lines.length)).toBe(0)
      expect(await balances()).toEqual(once)
    }),
    { numRuns: 40 },
  )
}, 60_000)

test('the ledger needs no help to leave out the hold of a request that ends in the same batch', async () => {
  const { lines } = write(
    {
      requests: [{ tenant: 0, held: 500n, share: 50n, duration: 0 }],
      batchSizes: [],
      repetitions: [],
    },
    'gw_whole',
  )
  const before = await balances()
  await database.transaction(platformScope, (tx) => applyJournal(tx, 'gw_whole', lines, 2n))
  const after = await balances()
  expect(after['held']).toBe(before['held'] ?? 0n)
  expect((after['receivable'] ?? 0n) - (before['receivable'] ?? 0n)).toBe(250n)
  const checkpoint = await database.transaction(platformScope, (tx) =>
    findCheckpoint(tx, 'gw_whole'),
  )
  expect(checkpoint).toBe(2n)
})

test('a batch of which one event cannot be booked leaves nothing behind', async () => {
  const good = describeRequest(requestOf('good', tenants[0] ?? '', 10n), 'gw_half')
  const bad = describeRequest(requestOf('bad', 'ten_ZZZZZZZZZZZZZZZZ', 10n), 'gw_half')
  const lines = [encodeSettle(good, settledAs(5n), 1n), encodeSettle(bad, settledAs(5n), 2n)]
  const before = await balances()
  await expect(
    database.transaction(platformScope, (tx) => applyJournal(tx, 'gw_half', lines, 2n)),
  ).rejects.toThrow()
  expect(await balances()).toEqual(before)
  const found = await database.transaction(platformScope, (tx) => findCheckpoint(tx, 'gw_half'))
  expect(found).toBe(0n)
})
