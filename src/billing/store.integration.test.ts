/** The ledger under any journal, in any cut, applied any number of times. */
import fc from 'fast-check'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import type { LimitCharge } from '../limits/authority.ts'
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
    /** What it spends, and of which of two counters. */
    readonly spends: readonly { readonly counter: number; readonly amount: bigint }[]
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
      spends: fc.array(
        fc.record({
          counter: fc.integer({ min: 0, max: 1 }),
          amount: fc.bigInt({ min: 1n, max: 10n ** 12n }),
        }),
        { maxLength: 3 },
      ),
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
  const spent = [0n, 0n]
  for (const [index, given] of script.requests.entries()) {
    const { tenant, held: heldNanos, share, duration, spends } = given
    const request = requestOf(`${gatewayId}-${index}`, tenants[tenant] ?? '', heldNanos)
    const text = describeRequest(request, gatewayId)
    events.push({ at: index, encode: (sequence) => encodeOpen(text, sequence) })
    if (share === undefined) held += heldNanos
    else {
      const charges = spends.map(({ counter, amount }) => chargeOf(counter, amount))
      const settled = { ...settledAs((heldNanos * share) / 100n), charges }
      for (const { counter, amount } of spends) spent[counter] = (spent[counter] ?? 0n) + amount
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
  return { lines, charged, held, settlements, spent }
}

const windowStartMs = Date.parse('2026-05-01T10:01:00Z')

function chargeOf(counter: number, amount: bigint): LimitCharge {
  return { ruleId: `lim_${counter}`, subject: tenants[0] ?? '', windowStartMs, amount }
}

/** What the counters say that a life has spent. */
async function spentBy(lifeId: string): Promise<bigint[]> {
  const result = await database.transaction(platformScope, (tx) =>
    sql<{ rule_id: string; spent: bigint }>`
      SELECT rule_id, spent FROM limit_leases
      WHERE life_id = ${lifeId} AND subject = ${tenants[0]} AND window_start = ${new Date(windowStartMs)}`.execute(
      tx,
    ),
  )
  return [0, 1].map(
    (counter) => result.rows.find((row) => row.rule_id === `lim_${counter}`)?.spent ?? 0n,
  )
}

function requestOf(requestId: string, tenantId: string, heldNanos: bigint): OpenedRequest {
  return {
    lifeId: requestId.replace(/-\d+$/, ''),
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
    takes: [],
    alreadyChargedNanos: 0n,
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
    waivedNanos: 0n,
    charges: [],
    engineCounted: false,
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
      const { lines, charged, held, settlements, spent } = write(script, gatewayId)
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
      expect(await spentBy(gatewayId)).toEqual(spent)
      for (let replay = 0; replay < 3; replay += 1) expect(await apply(0, lines.length)).toBe(0)
      expect(await balances()).toEqual(once)
      expect(await spentBy(gatewayId)).toEqual(spent)
    }),
    { numRuns: 40 },
  )
}, 60_000)

test('the ledger needs no help to leave out the hold of a request that ends in the same batch', async () => {
  const { lines } = write(
    {
      requests: [{ tenant: 0, held: 500n, share: 50n, duration: 0, spends: [] }],
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

test('a usage event keeps its units, what was waived and what it spent, and an older line has none', async () => {
  const text = describeRequest(requestOf('whole-1', tenants[0] ?? '', 10n), 'gw_other')
  const settled: SettledRequest = {
    ...settledAs(5n),
    usage: { ...settledAs(5n).usage, units: { audioMs: 61_000, images: 2 } },
    waivedNanos: 3n,
    charges: [chargeOf(1, 9n), { ...chargeOf(0, 1n), windowStartMs: 0 }],
  }
  const old = encodeSettle(
    describeRequest(requestOf('old-1', tenants[0] ?? '', 10n), 'gw_other'),
    settledAs(5n),
    2n,
  )
    .replace(/"life_id":"[^"]*",/, '')
    .replace(/"waived_nanos":"0","charges":\[\],"engine_counted":false,/, '')
  expect(old).not.toMatch(/life_id|waived|charges|units/)
  const lines = [encodeSettle(text, settled, 1n), old]
  await database.transaction(platformScope, (tx) => applyJournal(tx, 'gw_other', lines, 2n))
  const rows = await database.transaction(platformScope, (tx) =>
    sql`SELECT life_id, units, waived_nanos, charges FROM usage_events
      WHERE gateway_id = 'gw_other' ORDER BY journal_sequence`.execute(tx),
  )
  expect(rows.rows).toEqual([
    {
      life_id: 'whole',
      units: { audio_ms: 61_000, images: 2 },
      waived_nanos: 3n,
      charges: [
        ['lim_1', tenants[0], windowStartMs, '9'],
        ['lim_0', tenants[0], 0, '1'],
      ],
    },
    { life_id: null, units: null, waived_nanos: 0n, charges: [] },
  ])
})

test('two gateways that spend of the same counters in opposite orders never stop each other', async () => {
  const batches = [0, 1].map((gateway) =>
    Array.from({ length: 40 }, (_, index) => {
      const id = `both-${gateway}${index}`
      const text = describeRequest(requestOf(id, tenants[gateway] ?? '', 10n), `gw_both${gateway}`)
      const order = gateway === 0 ? [0, 1] : [1, 0]
      const charges = order.map((counter) => chargeOf(counter, 1n))
      return encodeSettle(text, { ...settledAs(1n), charges }, BigInt(index + 1))
    }),
  )
  await Promise.all(
    batches.flatMap((lines, gateway) =>
      lines.map((line, index) =>
        database.transaction(platformScope, (tx) =>
          applyJournal(tx, `gw_both${gateway}`, [line], BigInt(index + 1)),
        ),
      ),
    ),
  )
  expect(await spentBy('both')).toEqual([80n, 80n])
})
