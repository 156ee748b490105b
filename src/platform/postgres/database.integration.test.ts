import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../../test/postgres-for-tests.ts'
import type { Fault } from '../fault.ts'
import { openDatabase, platformScope, type Database } from './database.ts'
import { listen } from './listen.ts'

let place: TestDatabase
let database: Database

beforeAll(async () => {
  place = await (await postgresForTests()).createDatabase()
  database = open(place.appUrl)
  await database.transaction(platformScope, async (tx) => {
    await sql`INSERT INTO price_lists VALUES ('standard', 'Standard', 'EUR', 'test')`.execute(tx)
    for (const letter of ['A', 'B']) {
      const id = `ten_${letter.repeat(16)}`
      await sql`INSERT INTO tenants (id, name, price_list_id) VALUES (${id}, ${letter}, 'standard')`.execute(
        tx,
      )
      await sql`INSERT INTO projects (tenant_id, id, name) VALUES (${id}, ${`prj_${letter.repeat(16)}`}, 'p')`.execute(
        tx,
      )
    }
  })
}, 90_000)

afterAll(async () => {
  await database.close()
  await place.close()
})

function open(url: string): Database {
  return openDatabase({
    url,
    connectionsMax: 4,
    statementTimeoutMs: 2_000,
    applicationName: 'test',
    onError: () => {},
  })
}

const tenantA = { kind: 'tenant', tenantId: 'ten_AAAAAAAAAAAAAAAA' } as const

test('a tenant sees its own rows and no others', async () => {
  const rows = await database.transaction(tenantA, (tx) =>
    sql<{ tenant_id: string }>`SELECT tenant_id FROM projects`.execute(tx),
  )
  expect(rows.rows).toEqual([{ tenant_id: tenantA.tenantId }])
})

test("a tenant cannot write another tenant's rows", async () => {
  const writing = database.transaction(tenantA, (tx) =>
    sql`INSERT INTO projects (tenant_id, id, name) VALUES ('ten_BBBBBBBBBBBBBBBB', 'prj_CCCCCCCCCCCCCCCC', 'x')`.execute(
      tx,
    ),
  )
  await expect(writing).rejects.toMatchObject({ code: '42501' })
})

test('the rights end with the transaction', async () => {
  await database.transaction(platformScope, (tx) => sql`SELECT 1`.execute(tx))
  const rows = await database.transaction({ kind: 'tenant', tenantId: '' }, (tx) =>
    sql`SELECT 1 FROM projects`.execute(tx),
  )
  expect(rows.rows).toEqual([])
})

test('the login role has no rights of its own', async () => {
  const { default: pg } = await import('pg')
  const client = new pg.Client({ connectionString: place.appUrl })
  await client.connect()
  await expect(client.query('SELECT 1 FROM projects')).rejects.toMatchObject({ code: '42501' })
  await client.end()
})

test('an unbalanced ledger transaction cannot be committed', async () => {
  const posting = database.transaction(platformScope, async (tx) => {
    await sql`INSERT INTO ledger_accounts (id, kind, currency) VALUES ('revenue:EUR', 'revenue', 'EUR')`.execute(
      tx,
    )
    await sql`WITH t AS (INSERT INTO ledger_transactions (kind, tenant_id, request_id, leg, booked_at) VALUES ('charge', ${tenantA.tenantId}, 'r', 0, now()) RETURNING id)
      INSERT INTO ledger_entries SELECT id, 'revenue:EUR', ${tenantA.tenantId}, 5 FROM t`.execute(
      tx,
    )
  })
  await expect(posting).rejects.toMatchObject({ code: '23000' })
})

test('the ledger and the audit log refuse changes, even from the owner', async () => {
  const { default: pg } = await import('pg')
  const client = new pg.Client({ connectionString: place.ownerUrl })
  await client.connect()
  await expect(client.query('DELETE FROM audit_entries')).rejects.toMatchObject({ code: '23000' })
  await expect(client.query('UPDATE usage_events SET leg = 1')).rejects.toMatchObject({
    code: '23000',
  })
  await client.end()
})

test('a server that is away is a fault that says so, not a crash', async () => {
  const away = open('postgresql://nobody@127.0.0.1:1/none')
  const asking = away.transaction(platformScope, (tx) => sql`SELECT 1`.execute(tx))
  await expect(asking).rejects.toSatisfy(
    (error: Fault) => error.code === 'platform.database_unavailable',
  )
  await away.close()
})

test('closing lets transactions under way end, and refuses later ones', async () => {
  const ending = open(place.appUrl)
  const slow = ending.transaction(platformScope, async (tx) => {
    const closed = ending.close()
    await sql`SELECT pg_sleep(0.05)`.execute(tx)
    return { closed, row: await sql<{ one: number }>`SELECT 1 AS one`.execute(tx) }
  })
  const { closed, row } = await slow
  expect(row.rows).toEqual([{ one: 1 }])
  await closed
  const late = ending.transaction(platformScope, (tx) => sql`SELECT 1`.execute(tx))
  await expect(late).rejects.toMatchObject({ code: 'platform.database_unavailable' })
})

test('a change that gateways must know is announced', async () => {
  let heard = 0
  let resolveHeard = (): void => {}
  const second = new Promise<void>((resolve) => (resolveHeard = resolve))
  const listener = listen({
    url: place.appUrl,
    channel: 'snapshot_changed',
    onNotice() {
      heard += 1
      if (heard === 1)
        void database.transaction(platformScope, (tx) =>
          sql`UPDATE tenants SET state = 'suspended' WHERE id = ${tenantA.tenantId}`.execute(tx),
        )
      if (heard === 2) resolveHeard()
    },
    onError: () => {},
  })
  await second
  await listener.close()
})

test('a connection that dies inside a transaction is a fault of that transaction, and of nothing else', async () => {
  const { default: pg } = await import('pg')
  const dying = database.transaction(platformScope, async (tx) => {
    const { rows } = await sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`.execute(tx)
    const killer = new pg.Client({ connectionString: place.ownerUrl })
    await killer.connect()
    await killer.query('SELECT pg_terminate_backend($1)', [rows[0]?.pid])
    await killer.end()
    await new Promise((resolve) => setImmediate(resolve))
    await sql`SELECT 1`.execute(tx)
  })
  await expect(dying).rejects.toSatisfy(
    (error: Fault) => error.code === 'platform.database_unavailable',
  )
  await database.transaction(platformScope, (tx) => sql`SELECT 1`.execute(tx))
})
