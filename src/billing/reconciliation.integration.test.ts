/** Differences are planted in a ledger that agrees with its journals and engines, and each must be found and named. */
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import type { TokenUsage } from '../engines/engine.ts'
import type { LimitTake } from '../limits/authority.ts'
import { systemClock, type Clock } from '../platform/clock.ts'
import { createLogger } from '../platform/log.ts'
import {
  openDatabase,
  platformScope,
  type Database,
  type Sql,
} from '../platform/postgres/database.ts'
import { openBilling, type Billing } from './billing.ts'
import {
  countOpenFindings,
  listOpenFindings,
  reconcile,
  wholeHours,
  type Finding,
  type Reconciliation,
} from './reconciliation.ts'
import { spentOf } from './spend.ts'
import type { Outcome } from './usage.ts'

const tenants = ['ten_AAAAAAAAAAAAAAAA', 'ten_BBBBBBBBBBBBBBBB'] as const
const types: pg.CustomTypesConfig = {
  getTypeParser: (oid, format) =>
    oid === 20 ? (text: string) => BigInt(text) : pg.types.getTypeParser(oid, format),
}
const lifeId = 'lif_AAAAAAAAAAAAAAAA'
let place: TestDatabase
let database: Database
let owner: Kysely<unknown>
let directory: string
let nowMs = 0

/** Wall time as the tests want it, over real timers. */
const clock: Clock = { ...systemClock, nowMs: () => nowMs }

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
    for (const id of tenants) {
      await sql`INSERT INTO tenants (id, name, price_list_id) VALUES (${id}, ${id}, 'standard')`.execute(
        tx,
      )
      await sql`INSERT INTO limit_counters (rule_id, subject, window_start, tenant_id) VALUES ('lim_tokens', ${id}, 'epoch', ${id})`.execute(
        tx,
      )
    }
  })
  owner = new Kysely({
    dialect: new PostgresDialect({
      pool: new pg.Pool({ connectionString: place.ownerUrl, max: 1, types }),
    }),
  })
  directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-reconcile-'))
  nowMs = Date.now()
  const gateways = [await start('a'), await start('b')]
  await serve(gateways)
  for (const gateway of gateways) {
    expect(await gateway.drain(5_000)).toBe(true)
    await gateway.close()
  }
}, 90_000)
afterAll(async () => {
  await owner.destroy()
  await database.close()
  await place.close()
  fs.rmSync(directory, { recursive: true, force: true })
})

/** A superuser for whom no trigger and no constraint holds. What it did is undone at the end. */
async function vandalise<Result>(
  work: (tx: Sql<unknown>, commit: (crime: string) => Promise<void>) => Promise<Result>,
): Promise<Result> {
  const tx = await owner.startTransaction().execute()
  try {
    return await work(tx, async (crime) => {
      await sql`RESET ROLE`.execute(tx)
      await sql`SET LOCAL session_replication_role = 'replica'`.execute(tx)
      await sql.raw(crime).execute(tx)
      await sql`SET LOCAL ROLE colonnade_platform`.execute(tx)
    })
  } finally {
    await tx.rollback().execute()
  }
}

function start(name: string): Promise<Billing> {
  return openBilling({
    directory: join(directory, name),
    segmentBytes: 256 * 1024,
    bytesMax: 4 * 1024 * 1024,
    database,
    clock,
    log: createLogger('test', 'silent'),
    onFatal: () => {},
  })
}

/** Two tenants, two models, two hours, on both gateways. */
async function serve(gateways: readonly Billing[]): Promise<void> {
  const startMs = nowMs
  let number = 0
  for (const hour of [1, 0]) {
    nowMs = startMs - hour * 3_600_000
    for (const gateway of gateways)
      for (const tenantId of tenants)
        for (const modelId of ['m1', 'm2']) {
          number += 1
          await serveOne(gateway, { requestId: `req_${number}`, tenantId, modelId })
        }
  }
  await serveOne(gateways[0], { requestId: 'req_left', outcome: 'client_left' })
  await serveOne(gateways[0], { requestId: 'req_voided', outcome: 'voided' })
}

interface Served {
  readonly requestId: string
  readonly tenantId?: string
  readonly modelId?: string
  readonly outcome?: Outcome
  readonly claimed?: TokenUsage
}

const usage = { inputTokens: 10, cachedInputTokens: 2, outputTokens: 20, reasoningTokens: 5 }

async function serveOne(gateway: Billing | undefined, served: Served): Promise<void> {
  const { requestId, tenantId = tenants[0], modelId = 'm1', outcome = 'completed' } = served
  const takes: LimitTake[] = [
    { ruleId: 'lim_tokens', subject: tenantId, windowStartMs: 0, measure: 'tokens' },
    {
      ruleId: 'lim_minute',
      subject: tenantId,
      windowStartMs: nowMs - (nowMs % 60_000),
      measure: 'requests',
    },
  ]
  const hold = await gateway?.open({
    requestId,
    leg: 0,
    tenantId,
    projectId: 'prj_AAAAAAAAAAAAAAAA',
    apiKeyId: 'key_AAAAAAAAAAAAAAAA',
    modelId,
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
    startedAtMs: nowMs,
    lifeId,
    takes,
    alreadyChargedNanos: 0n,
  })
  hold?.noteEngine(served.claimed ?? usage)
  await hold?.settle({
    outcome,
    usage,
    usageSuspect: false,
    replicaId: undefined,
    timeToFirstTokenMs: 1,
    durationMs: 2,
    amountMaxNanos: undefined,
    chargeLimits: (amount) =>
      takes.map(({ measure, ...take }) => ({ ...take, amount: spentOf(measure, usage, amount) })),
  })
}

function run(tx: Sql<unknown>, thorough = true): Promise<Reconciliation> {
  return reconcile(tx, { ...wholeHours(nowMs - 3 * 3_600_000, nowMs), thorough })
}

const named = (findings: readonly Finding[]): string[] => findings.map((finding) => finding.key)
const hourText = (ms: number): string => new Date(ms).toISOString().slice(0, 13)

test('journals, ledger, engines and counters agree after ordinary traffic', async () => {
  const { findings, totals } = await database.transaction(platformScope, (tx) => run(tx))
  expect(findings).toEqual([])
  const amountNanos = String(17n * (10n * 900n + 15n * 4_000n + 5n * 21_000n))
  expect(totals.ledger).toEqual([{ currency: 'EUR', requests: '18', tokens: '540', amountNanos }])
  expect(totals.journal).toEqual(totals.ledger)
  expect(totals.engines).toEqual({ requests: '16', tokens: '480' })
})

const vandalism: readonly {
  readonly name: string
  readonly sql: string
  /** The findings, as the beginnings of their keys. */
  readonly found: readonly string[]
  readonly names?: readonly string[]
}[] = [
  {
    name: 'a usage event that is lost',
    sql: `DELETE FROM usage_events WHERE request_id = 'req_9'`,
    found: ['charge req_9', 'engine', 'journal', 'spent lim_minute', 'spent lim_tokens'],
    names: ['req_9 0'],
  },
  {
    name: 'a usage event that nobody settled',
    sql: `INSERT INTO usage_events SELECT (jsonb_populate_record(u, '{"request_id": "req_x"}')).* FROM usage_events u WHERE request_id = 'req_9'`,
    found: ['charge req_x', 'engine', 'journal', 'spent lim_minute', 'spent lim_tokens'],
    names: ['req_x 0'],
  },
  {
    name: 'an amount that is doubled',
    sql: `UPDATE usage_events SET amount_nanos = amount_nanos * 2 WHERE request_id = 'req_10'`,
    found: ['charge req_10', 'journal'],
  },
  {
    name: 'tokens that are not those of the engine',
    sql: `UPDATE usage_events SET output_tokens = output_tokens + 1 WHERE request_id = 'req_10'`,
    found: ['engine', 'journal'],
  },
  {
    name: 'a total of a journal that is doubled',
    sql: `UPDATE journal_totals SET requests = requests * 2, amount_nanos = amount_nanos * 2 WHERE id = (SELECT min(id) FROM journal_totals)`,
    found: ['journal'],
  },
  {
    name: 'a total of engines that is lost',
    sql: `DELETE FROM engine_totals WHERE id = (SELECT min(id) FROM engine_totals)`,
    found: ['engine'],
  },
  {
    name: 'a charge that was never posted',
    sql: `DELETE FROM ledger_entries WHERE transaction_id = (SELECT id FROM ledger_transactions WHERE request_id = 'req_11' AND kind = 'charge')`,
    found: ['balance receivable', 'balance revenue', 'charge req_11', 'transaction'],
  },
  {
    name: 'one side of a charge',
    sql: `DELETE FROM ledger_entries WHERE account_id = 'revenue:EUR' AND transaction_id = (SELECT id FROM ledger_transactions WHERE request_id = 'req_11' AND kind = 'charge')`,
    found: ['balance revenue', 'transaction'],
  },
  {
    name: 'a balance that is written over',
    sql: `UPDATE ledger_accounts SET balance_nanos = balance_nanos + 1 WHERE kind = 'receivable' AND tenant_id = '${tenants[1]}'`,
    found: ['balance receivable', 'sum EUR'],
  },
  {
    name: 'a counter that lost what was spent',
    sql: `UPDATE limit_leases SET spent = 0 WHERE rule_id = 'lim_tokens' AND subject = '${tenants[0]}'`,
    found: ['spent lim_tokens'],
  },
  {
    name: 'a counter that nobody spent of',
    sql: `INSERT INTO limit_leases (rule_id, subject, window_start, life_id, spent) VALUES ('lim_other', 'x', now(), '${lifeId}', 5)`,
    found: ['spent lim_other'],
  },
  {
    name: 'a hold that nobody releases',
    sql: `INSERT INTO ledger_transactions (kind, tenant_id, request_id, leg, booked_at) VALUES ('hold', '${tenants[0]}', 'req_hold', 0, now() - interval '130 minutes')`,
    found: ['hold req_hold', 'transaction'],
  },
  {
    name: 'a gateway that settles and does not count',
    sql: `UPDATE totals_checkpoints SET updated_at = now() - interval '2 hours'; UPDATE journal_checkpoints SET applied_sequence = applied_sequence + 1 WHERE gateway_id = (SELECT min(gateway_id) FROM totals_checkpoints)`,
    found: ['uncounted gw_'],
  },
]
for (const { name, sql: crime, found, names } of vandalism) {
  test(`found and named: ${name}`, async () => {
    const { findings, newFindings } = await vandalise(async (tx, commit) => {
      await commit(crime)
      return run(tx)
    })
    const kinds = named(findings).toSorted()
    for (const start of found)
      expect(
        kinds.some((key) => key.startsWith(start)),
        `${start} in ${kinds.join(', ')}`,
      ).toBe(true)
    for (const key of kinds)
      expect(
        found.some((start) => key.startsWith(start)),
        `${key} is expected`,
      ).toBe(true)
    expect(newFindings).toEqual(findings)
    if (names) {
      const journal = findings.find((finding) => finding.kind === 'journal')
      const { notInLedger, notInJournal } = journal?.details ?? {}
      expect([notInLedger, notInJournal].flat()).toEqual(names)
      expect(journal?.details['allNamed']).toBe(true)
    }
  })
}

test('a finding tells tenant, model and hour, is new once, and is cleared when the books agree again', async () => {
  const hour = hourText(nowMs - 3_600_000)
  await vandalise(async (tx, commit) => {
    await commit(
      `UPDATE usage_events SET input_tokens = input_tokens + 7 WHERE request_id = 'req_1'`,
    )
    const first = await run(tx, false)
    expect(named(first.findings)).toContain(`journal ${hour} ${tenants[0]} m1 EUR`)
    expect(first.findings.find((finding) => finding.kind === 'journal')).toMatchObject({
      tenantId: tenants[0],
      hour: new Date(`${hour}:00:00Z`),
      details: { modelId: 'm1', journal: { input: 20 }, ledger: { input: 27 } },
    })
    const second = await run(tx, false)
    expect(second.findings).toEqual(first.findings)
    expect(second.newFindings).toEqual([])
    const open = await listOpenFindings(tx, 10)
    expect(named(open).toSorted()).toEqual(named(first.findings).toSorted())
    await commit(
      `UPDATE usage_events SET input_tokens = input_tokens - 7 WHERE request_id = 'req_1'`,
    )
    expect((await run(tx, false)).findings).toEqual([])
    expect(await countOpenFindings(tx)).toBe(0)
  })
})

test('an engine that claims other tokens than were billed as its own is found', async () => {
  const gateway = await start('a')
  await serveOne(gateway, { requestId: 'req_claim', claimed: { ...usage, outputTokens: 19 } })
  await gateway.drain(5_000)
  await gateway.close()
  const { findings } = await database.transaction(platformScope, (tx) => run(tx))
  expect(named(findings)).toEqual([expect.stringMatching(/^engine .* m1 gw_/)])
  expect(findings[0]?.details).toMatchObject({ engines: { requests: 2 }, ledger: { requests: 2 } })
})
