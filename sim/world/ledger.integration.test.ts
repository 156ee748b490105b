/** The model of the ledger against the real one: the same batches, in any cut and any number of times, and every row is compared. */
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  describeRequest,
  encodeOpen,
  encodeSettle,
  selectBookable,
} from '../../src/billing/journal/event.ts'
import { applyJournal, findCheckpoint } from '../../src/billing/store.ts'
import type { Outcome } from '../../src/billing/usage.ts'
import { openDatabase, platformScope, type Database } from '../../src/platform/postgres/database.ts'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import { createLedger, type LedgerModel } from './ledger.ts'
import { createRandom, type Random } from './random.ts'

const tenantIds = ['ten_0000000000000000', 'ten_1111111111111111'] as const
const outcomes = ['completed', 'client_left', 'crashed', 'voided'] as const
const windowsMs = [0, Date.UTC(2026, 4, 1)] as const
let place: TestDatabase
let database: Database

beforeAll(async () => {
  place = await (await postgresForTests()).createDatabase()
  database = openDatabase({
    url: place.appUrl,
    connectionsMax: 2,
    statementTimeoutMs: 5_000,
    applicationName: 'ledger-model-test',
    onError: () => {},
  })
  await database.transaction(platformScope, async (tx) => {
    await sql`INSERT INTO price_lists VALUES ('standard', 'Standard', 'EUR', 'test')`.execute(tx)
    for (const id of tenantIds)
      await sql`INSERT INTO tenants (id, name, price_list_id) VALUES (${id}, ${id}, 'standard')`.execute(
        tx,
      )
  })
}, 90_000)
afterAll(async () => {
  await database.close()
  await place.close()
})

test.each([1, 2, 3, 4, 5, 6])(
  'random batches, repeated and rolled back, leave the same books (seed %i)',
  async (seed) => {
    const random = createRandom(seed)
    const gatewayIds = [`gw_${seed}_0`, `gw_${seed}_1`] as const
    const journals = new Map(gatewayIds.map((id) => [id, journalOf(id, random)]))
    const spent = new Map<string, bigint>()
    const model = createLedger({
      hasUniqueKeys: true,
      nowMs: () => 0,
      onCharge(lifeId, { ruleId, subject, windowStartMs, amount }) {
        const key = `${ruleId} ${subject} ${windowStartMs} ${lifeId}`
        spent.set(key, (spent.get(key) ?? 0n) + amount)
      },
    })
    for (let step = 0; step < 40; step += 1) {
      const gatewayId = random.pick(gatewayIds)
      const journal = journals.get(gatewayId) ?? []
      const from = random.whole(0, journal.length - 1)
      const batch = journal.slice(from, from + random.whole(1, 20))
      const lines = selectBookable(batch)
      const through = BigInt(from + batch.length)
      const isRolledBack = random.chance(0.2)
      await apply({ gatewayId, lines, through, isRolledBack })
      if (!isRolledBack) model.apply(gatewayId, lines, through)
    }
    for (const gatewayId of gatewayIds) {
      const real = await database.transaction(platformScope, (tx) => findCheckpoint(tx, gatewayId))
      expect(model.findCheckpoint(gatewayId)).toBe(real)
    }
    expect(rowsOf(model)).toEqual(await realRows(gatewayIds))
    expect(entriesOf(model)).toEqual(await realEntries(`${seed}-`))
    const realSpent = await spentBy(gatewayIds)
    expect([...spent].toSorted(byKey)).toEqual(realSpent)
    expect(rowsOf(model).length).toBeGreaterThan(10)
  },
)

/** Opens and settlements as a gateway writes them, some of them far apart, some requests never settled. */
function journalOf(gatewayId: string, random: Random): string[] {
  const events: { readonly at: number; readonly encode: (sequence: bigint) => string }[] = []
  for (let index = 0; index < 40; index += 1) {
    const heldNanos = BigInt(random.whole(0, 1_000_000))
    const tenantId = random.pick(tenantIds)
    const request = {
      requestId: `${gatewayId.slice(3).replace('_', '-')}-${index}`,
      leg: 0,
      lifeId: `lif_${gatewayId}_${random.whole(0, 1)}`,
      takes: [],
      alreadyChargedNanos: 0n,
      tenantId,
      projectId: 'prj_0',
      apiKeyId: 'key_0',
      modelId: 'm',
      endpoint: '/v1/chat/completions',
      streamed: true,
      price: {
        version: 'standard@2026',
        currency: 'EUR',
        inputNanos: 1n,
        cachedInputNanos: 1n,
        outputNanos: 1n,
        reasoningNanos: 1n,
      },
      estimatedInputTokens: 1,
      maxOutputTokens: 1,
      heldNanos,
      startedAtMs: Date.UTC(2026, 4, 1),
    }
    const text = describeRequest(request, gatewayId)
    const outcome: Outcome = random.pick(outcomes)
    const charge = {
      ruleId: 'lim_0',
      subject: tenantId,
      windowStartMs: random.pick(windowsMs),
      amount: BigInt(random.whole(1, 50)),
    }
    const settled = {
      outcome,
      usage: {
        inputTokens: random.whole(10, 20),
        cachedInputTokens: random.whole(0, 10),
        outputTokens: random.whole(5, 9),
        reasoningTokens: random.whole(0, 5),
      },
      usageSuspect: random.chance(0.1),
      amountNanos: outcome === 'voided' ? 0n : (heldNanos * BigInt(random.whole(0, 100))) / 100n,
      waivedNanos: BigInt(random.whole(0, 3)),
      charges: random.chance(0.5) ? [charge, { ...charge, ruleId: 'lim_1' }] : [],
      engineCounted: false,
      replicaId: undefined,
      timeToFirstTokenMs: undefined,
      durationMs: 1,
      settledAtMs: Date.UTC(2026, 4, 1) + 1,
    }
    events.push({ at: index, encode: (sequence) => encodeOpen(text, sequence) })
    if (random.chance(0.9)) {
      events.push({
        at: index + random.between(0, 10),
        encode: (sequence) => encodeSettle(text, settled, sequence),
      })
    }
  }
  return events
    .toSorted((a, b) => a.at - b.at)
    .map(({ encode }, index) => encode(BigInt(index + 1)))
}

const rolledBack = new Error('rolled back')

async function apply(batch: {
  readonly gatewayId: string
  readonly lines: readonly string[]
  readonly through: bigint
  readonly isRolledBack: boolean
}): Promise<void> {
  try {
    await database.transaction(platformScope, async (tx) => {
      await applyJournal(tx, batch.gatewayId, batch.lines, batch.through)
      if (batch.isRolledBack) throw rolledBack
    })
  } catch (error) {
    if (error !== rolledBack) throw error
  }
}

function rowsOf({ usageRows }: LedgerModel): string[] {
  return usageRows
    .map((row) =>
      [
        row.requestId,
        row.tenantId,
        row.gatewayId,
        row.lifeId,
        row.outcome,
        row.usageSuspect,
        row.inputTokens,
        row.cachedInputTokens,
        row.outputTokens,
        row.reasoningTokens,
        row.amountNanos,
        row.waivedNanos,
      ].join(' '),
    )
    .toSorted()
}

async function realRows(gatewayIds: readonly string[]): Promise<string[]> {
  const { rows } = await database.transaction(platformScope, (tx) =>
    sql<{ row: string }>`
      SELECT concat_ws(' ', request_id, tenant_id, gateway_id, life_id, outcome, usage_suspect::text, input_tokens, cached_input_tokens,
        output_tokens, reasoning_tokens, amount_nanos, waived_nanos) AS row
      FROM usage_events WHERE gateway_id = ANY (${gatewayIds})`.execute(tx),
  )
  return rows.map(({ row }) => row).toSorted()
}

function entriesOf({ entries }: LedgerModel): string[] {
  return entries
    .map(({ transaction, accountId, amountNanos }) => `${transaction} ${accountId} ${amountNanos}`)
    .toSorted()
}

async function realEntries(requestPrefix: string): Promise<string[]> {
  const { rows } = await database.transaction(platformScope, (tx) =>
    sql<{ entry: string }>`
      SELECT concat_ws(' ', t.kind, t.request_id, t.leg, e.account_id, e.amount_nanos) AS entry
      FROM ledger_entries e JOIN ledger_transactions t ON t.id = e.transaction_id
      WHERE t.request_id LIKE ${`${requestPrefix}%`}`.execute(tx),
  )
  return rows.map(({ entry }) => entry).toSorted()
}

async function spentBy(gatewayIds: readonly string[]): Promise<[string, bigint][]> {
  const { rows } = await database.transaction(platformScope, (tx) =>
    sql<{ key: string; spent: bigint }>`
      SELECT concat_ws(' ', rule_id, subject, (extract(epoch FROM window_start) * 1000)::bigint, life_id) AS key, spent
      FROM limit_leases WHERE life_id LIKE ANY (${gatewayIds.map((id) => `lif_${id}_%`)})`.execute(
      tx,
    ),
  )
  return rows.map(({ key, spent }): [string, bigint] => [key, spent]).toSorted(byKey)
}

function byKey([a]: readonly [string, bigint], [b]: readonly [string, bigint]): number {
  return a < b ? -1 : 1
}
