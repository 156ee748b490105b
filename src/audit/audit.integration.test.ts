/** The audit log on real PostgreSQL: one chain whoever writes, bound to its transaction, closed to changes. */
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'
import { appendEntry, listEntries, readHead, verifyChain, type AuditEntry } from './audit.ts'

let created: TestDatabase
let databases: readonly [Database, Database]
beforeAll(async () => {
  created = await (await postgresForTests()).createDatabase()
  const open = (): Database =>
    openDatabase({
      url: created.appUrl,
      connectionsMax: 5,
      statementTimeoutMs: 10_000,
      applicationName: 'test',
      onError: () => {},
    })
  databases = [open(), open()]
})
afterAll(async () => {
  await Promise.all(databases.map((database) => database.close()))
  await created.close()
})

const tenantId = 'ten_AAAAAAAAAAAAAAAA'
const otherTenantId = 'ten_BBBBBBBBBBBBBBBB'

function entry(change: Partial<AuditEntry> = {}): AuditEntry {
  return {
    occurredAtMs: 1_800_000_000_000,
    tenantId: null,
    actor: 'tok_x',
    role: 'operator',
    ip: '127.0.0.1',
    action: 'keys.create',
    resource: 'key_é',
    outcome: 'done',
    requestId: 'req_x',
    ...change,
  }
}

async function readLog() {
  return databases[0].transaction(platformScope, async (tx) => {
    const head = await readHead(tx)
    const stored = await listEntries(tx, { after: 0n, limit: 10_000 })
    const rows = stored.map((row) => ({ ...row, sequence: Number(row.sequence) }))
    return { rows, head: { sequence: Number(head.sequence), hash: head.hash } }
  })
}

test('two connections that write at once make one chain without gaps', async () => {
  const before = (await readLog()).rows.length
  await Promise.all(
    Array.from({ length: 40 }, (_, index) =>
      databases[index % 2 === 0 ? 0 : 1].transaction(platformScope, async (tx) => {
        await appendEntry(tx, entry({ resource: `first of ${index}` }))
        await appendEntry(tx, entry({ resource: `second of ${index}` }))
      }),
    ),
  )
  const { rows, head } = await readLog()
  expect(rows).toHaveLength(before + 80)
  expect(verifyChain(rows)).toEqual({ outcome: 'intact', head })
})

test('a transaction that is rolled back leaves neither an entry nor a gap', async () => {
  const before = await readLog()
  const failing = databases[0].transaction(platformScope, async (tx) => {
    await appendEntry(tx, entry())
    throw new Error('the change failed')
  })
  await expect(failing).rejects.toThrow('the change failed')
  expect(await readLog()).toEqual(before)
  await databases[1].transaction(platformScope, (tx) => appendEntry(tx, entry()))
  expect(verifyChain((await readLog()).rows).outcome).toBe('intact')
})

test('a tenant appends to the one chain, and reads its own entries alone', async () => {
  for (const id of [tenantId, otherTenantId]) {
    await databases[0].transaction({ kind: 'tenant', tenantId: id }, (tx) =>
      appendEntry(tx, entry({ tenantId: id, actor: `tok_of_${id}` })),
    )
  }
  const { rows, head } = await readLog()
  expect(verifyChain(rows)).toEqual({ outcome: 'intact', head })
  const seen = await databases[0].transaction({ kind: 'tenant', tenantId }, (tx) =>
    listEntries(tx, { after: 0n, limit: 10_000 }),
  )
  expect(seen.map((row) => JSON.parse(row.payload).tenantId)).toEqual([tenantId])
  const foreign = await databases[0].transaction({ kind: 'tenant', tenantId }, (tx) =>
    listEntries(tx, { tenantId: otherTenantId, after: 0n, limit: 10_000 }),
  )
  expect(foreign).toEqual([])
})

test.each(['platform', 'tenant'] as const)(
  'nobody in the %s scope changes or removes an entry, or moves the head',
  async (kind) => {
    const before = await readLog()
    const scope = kind === 'platform' ? platformScope : { kind, tenantId }
    for (const statement of [
      sql`UPDATE audit_entries SET actor = 'somebody else'`,
      sql`DELETE FROM audit_entries`,
      sql`TRUNCATE audit_entries`,
      sql`UPDATE audit_head SET sequence = 0`,
      sql`INSERT INTO audit_entries VALUES (999999, now(), NULL, 'x', 'x', '{}', decode(repeat('00', 32), 'hex'), decode(repeat('11', 32), 'hex'))`,
    ]) {
      const attempt = databases[0].transaction(scope, (tx) => statement.execute(tx))
      await expect(attempt).rejects.toMatchObject({ code: '42501' })
    }
    expect(await readLog()).toEqual(before)
  },
)

test('pages of the log continue one another', async () => {
  const { rows } = await readLog()
  const paged: bigint[] = []
  for (;;) {
    const page = await databases[0].transaction(platformScope, (tx) =>
      listEntries(tx, { after: paged.at(-1) ?? 0n, limit: 7 }),
    )
    paged.push(...page.map((row) => row.sequence))
    if (page.length < 7) break
  }
  expect(paged.map(Number)).toEqual(rows.map((row) => row.sequence))
})
