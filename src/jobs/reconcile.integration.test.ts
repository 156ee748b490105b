import { sql } from 'kysely'
import pg from 'pg'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import { listEntries } from '../audit/audit.ts'
import { takeReconciliationLock } from '../billing/reconciliation.ts'
import { manualClock } from '../platform/clock.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'
import { reconcileIfDue, startReconcileJob } from './reconcile.ts'

let place: TestDatabase
let database: Database
let owner: pg.Client
let said: string[]

beforeEach(async () => {
  place = await (await postgresForTests()).createDatabase()
  database = openDatabase({
    url: place.appUrl,
    connectionsMax: 2,
    statementTimeoutMs: 5_000,
    applicationName: 'test',
    onError: () => {},
  })
  owner = new pg.Client({ connectionString: place.ownerUrl })
  await owner.connect()
  await owner.query(`SET session_replication_role = 'replica'`)
  said = []
}, 90_000)
afterEach(async () => {
  await owner.end()
  await database.close()
  await place.close()
})

const clock = manualClock(Date.now())
const turn = (): Promise<number> =>
  reconcileIfDue({
    database,
    clock,
    log: pino({ level: 'error' }, { write: (line: string) => said.push(line) }),
  })

async function runs(): Promise<boolean[]> {
  const result = await database.transaction(platformScope, (tx) =>
    sql<{ thorough: boolean }>`SELECT thorough FROM reconciliation_runs ORDER BY id`.execute(tx),
  )
  return result.rows.map((row) => row.thorough)
}

async function audited(): Promise<{ action: string; details: Record<string, unknown> }[]> {
  const entries = await database.transaction(platformScope, (tx) =>
    listEntries(tx, { after: 0n, limit: 100 }),
  )
  return entries.map(
    (entry) => JSON.parse(entry.payload) as { action: string; details: Record<string, unknown> },
  )
}

test('a day begins with all books and its report, then each hour is looked at once', async () => {
  expect(await turn()).toBe(0)
  expect(await turn()).toBe(0)
  expect(await runs()).toEqual([true])
  expect(await audited()).toMatchObject([
    { action: 'reconciliation.report', details: { findings: 0, totals: { ledger: [] } } },
  ])
  // Of today still, whatever the time is.
  const midnight = `greatest(ran_at - interval '61 minutes', date_trunc('day', now(), 'UTC'))`
  await owner.query(`UPDATE reconciliation_runs SET ran_at = ${midnight}`)
  clock.advance(3_600_000 - (clock.nowMs() % 3_600_000) + 3_600_000)
  await turn()
  expect((await runs()).length).toBe(2)
  await owner.query(`UPDATE reconciliation_runs SET ran_at = ran_at - interval '2 days'`)
  await turn()
  expect((await runs()).at(-1)).toBe(true)
})

test('a difference is one alarm: in the log, in the audit log, and open until it is gone', async () => {
  await owner.query(
    `INSERT INTO ledger_accounts (id, kind, currency, balance_nanos) VALUES ('revenue:EUR', 'revenue', 'EUR', 7)`,
  )
  expect(await turn()).toBe(2)
  expect(said).toHaveLength(2)
  expect(said.join()).toContain('sum EUR')
  expect(said.join()).toContain('balance revenue:EUR')
  expect(await audited()).toMatchObject([
    {
      action: 'reconciliation.alarm',
      details: { newFindings: 2, keys: ['sum EUR', 'balance revenue:EUR'] },
    },
    { action: 'reconciliation.report', details: { findings: 2 } },
  ])
  await owner.query(`UPDATE reconciliation_runs SET ran_at = ran_at - interval '2 days'`)
  expect(await turn()).toBe(2)
  expect(said).toHaveLength(2)
  await owner.query(`UPDATE ledger_accounts SET balance_nanos = 0`)
  await owner.query(`UPDATE reconciliation_runs SET ran_at = ran_at - interval '2 days'`)
  expect(await turn()).toBe(0)
})

test('while another process reconciles, this one does not', async () => {
  await database.transaction(platformScope, async (tx) => {
    expect(await takeReconciliationLock(tx)).toBe(true)
    await turn()
  })
  expect(await runs()).toEqual([])
  await turn()
  expect(await runs()).toEqual([true])
})

test('the job takes its turn every minute, survives a failure, and tells what is open', async () => {
  let calls = 0
  let called = (): void => {}
  const flaky: Database = {
    transaction(scope, work) {
      calls += 1
      const result =
        calls === 1 ? Promise.reject(new Error('away')) : database.transaction(scope, work)
      void Promise.allSettled([result]).then(() => setImmediate(() => called()))
      return result
    },
    close: async () => {},
  }
  const log = pino({ level: 'silent' })
  const nextCall = (): Promise<void> =>
    new Promise((resolve) => {
      called = resolve
      clock.advance(60_000)
    })
  const job = startReconcileJob({ database: flaky, clock, log })
  await nextCall()
  expect(job.openFindings()).toBeUndefined()
  await nextCall()
  expect(job.openFindings()).toBe(0)
  await job.stop()
  clock.advance(600_000)
  expect(calls).toBe(2)
})
