/** The snapshot over real PostgreSQL: what changed arrives, alone, in order, and nothing is missed. */
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import { importShippedCatalogue } from '../catalog/catalog.ts'
import { addExternalEngine } from '../fleet/fleet.ts'
import {
  createApiKey,
  createProject,
  createTenant,
  recordKeyUse,
  revokeApiKey,
  rotateApiKey,
  updateApiKey,
  updateProject,
  updateTenant,
} from '../identity/identity.ts'
import { createKeyDirectory } from '../identity/key-directory.ts'
import { manualClock, systemClock } from '../platform/clock.ts'
import { Fault } from '../platform/fault.ts'
import { createLogger } from '../platform/log.ts'
import {
  openDatabase,
  platformScope,
  type Database,
  type Sql,
} from '../platform/postgres/database.ts'
import { createSeal } from '../platform/seal.ts'
import { keepSnapshot } from './snapshot.ts'
import { readSnapshotCopy } from './snapshot-copy.ts'
import { followChanges, loadSnapshot, type SnapshotRecords } from './snapshot-records.ts'

const pepper = { version: 1, key: Buffer.alloc(32, 7) }
const peppers = new Map([[1, pepper.key]])
const seal = createSeal(Buffer.alloc(32, 3))
const log = createLogger('test', 'silent')
/** Longer than any machine needs, shorter than the test's limit. */
const patienceMs = 20_000

let place: TestDatabase
let database: Database
let owner: pg.Client
let directory: string
let tenantId: string
let projectId: string

beforeAll(async () => {
  directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-snapshot-'))
})

beforeEach(async () => {
  await closePlace()
  place = await (await postgresForTests()).createDatabase()
  database = openDatabase({
    url: place.appUrl,
    connectionsMax: 4,
    statementTimeoutMs: 15_000,
    applicationName: 'test',
    onError: () => {},
  })
  owner = await connect()
  await run(async (tx) => {
    await importShippedCatalogue(tx, [])
    const tenant = await createTenant(tx, { name: 'A', priceListId: 'standard' })
    tenantId = tenant.id
    projectId = (await createProject(tx, tenantId, 'p')).id
  })
})

afterAll(async () => {
  await closePlace()
  fs.rmSync(directory, { recursive: true, force: true })
})

async function closePlace(): Promise<void> {
  await database?.close()
  await owner?.end()
  await place?.close()
}

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: place.ownerUrl })
  client.on('error', () => {})
  await client.connect()
  return client
}

const run = <Result>(work: (tx: Sql<unknown>) => Promise<Result>): Promise<Result> =>
  database.transaction(platformScope, work)
const load = (): Promise<SnapshotRecords> => run(loadSnapshot)
const newKey = (name = 'key') =>
  run((tx) => createApiKey(tx, { tenantId, projectId, name }, pepper))

/** Follows to the end, and fails when something was missed. */
async function follow(known: SnapshotRecords): Promise<SnapshotRecords> {
  const followed = await run((tx) => followChanges(tx, known))
  followed.changeKeys()
  expect(followed.isWhole).toBe(true)
  return followed.isLast ? followed.records : follow(followed.records)
}

/** All that is in the records, to compare those that were followed with those that were loaded. */
function contents({ version, keys, catalog, replicas, limits }: SnapshotRecords): unknown {
  const all = keys.all()
  return {
    version,
    keys: [...all.keys].toSorted((a, b) => (a.publicId < b.publicId ? -1 : 1)),
    tenants: [...all.tenants].toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    projects: [...all.projects].toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    catalog,
    replicas,
    limits,
  }
}

const accepts = (records: SnapshotRecords, secret: string): boolean =>
  createKeyDirectory(records.keys, peppers).authenticate({
    secret,
    ip: '192.0.2.1',
    nowMs: Date.now(),
  }).outcome === 'accepted'

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + patienceMs
  while (!(await what())) {
    if (performance.now() > endMs) throw new Error(`not within ${patienceMs} ms`)
    await sleep(5)
  }
}

type Part = 'catalog' | 'replicas' | 'limits'
type Ids = Readonly<Record<'tenant' | 'project' | 'key', string>>

const changes: readonly [string, Part | undefined, (tx: Sql<unknown>, ids: Ids) => unknown][] = [
  [
    'a key that is made',
    undefined,
    (tx, { tenant, project }) =>
      createApiKey(tx, { tenantId: tenant, projectId: project, name: 'new' }, pepper),
  ],
  [
    'a key that is revoked',
    undefined,
    (tx, { tenant, key }) => revokeApiKey(tx, tenant, key, Date.now()),
  ],
  [
    'a key that is rotated',
    undefined,
    (tx, { tenant, key }) =>
      rotateApiKey(tx, tenant, key, { overlapMs: 1_000, nowMs: Date.now() }, pepper),
  ],
  [
    'the networks of a key',
    undefined,
    (tx, { tenant, key }) => updateApiKey(tx, tenant, key, { allowedIps: ['10.0.0.0/8'] }),
  ],
  [
    'a key that is deleted',
    undefined,
    (tx, { key }) => sql`DELETE FROM api_keys WHERE id = ${key}`.execute(tx),
  ],
  [
    'a tenant that is made',
    undefined,
    (tx) => createTenant(tx, { name: 'B', priceListId: 'standard' }),
  ],
  [
    'a tenant that is suspended',
    undefined,
    (tx, { tenant }) => updateTenant(tx, tenant, { state: 'suspended' }),
  ],
  [
    'a project that is archived',
    undefined,
    (tx, { tenant, project }) => updateProject(tx, tenant, project, { state: 'archived' }),
  ],
  [
    'a model',
    'catalog',
    (tx) =>
      sql`UPDATE models SET enabled = true WHERE id = (SELECT min(id) FROM models)`.execute(tx),
  ],
  [
    'an alias',
    'catalog',
    (tx) =>
      sql`INSERT INTO model_aliases (alias, model_id) SELECT 'x', min(id) FROM models`.execute(tx),
  ],
  [
    'an engine',
    'replicas',
    async (tx) =>
      addExternalEngine(tx, {
        modelId:
          (await sql<{ id: string }>`SELECT min(id) AS id FROM models`.execute(tx)).rows[0]?.id ??
          '',
        engineKind: 'openai-compatible',
        baseUrl: 'http://127.0.0.1:1',
        engineModel: 'm',
        sealKey: undefined,
      }),
  ],
  [
    'a plan',
    'limits',
    (tx) => sql`INSERT INTO plans (id, name, rank) VALUES ('gold', 'Gold', 1)`.execute(tx),
  ],
  [
    'a rule',
    'limits',
    (tx, { tenant }) =>
      sql`INSERT INTO limit_rules (id, tenant_id, measure, time_window, limit_value)
      VALUES ('lim_0000000000000001', ${tenant}, 'requests', 'minute', 5)`.execute(tx),
  ],
]

test.each(changes)(
  '%s reaches the snapshot, and nothing else is read again',
  async (_, part, change) => {
    const other = await newKey('other')
    const { key } = await newKey()
    const before = await load()
    const otherEntry = before.keys.find(other.key.secrets[0]?.publicId ?? '')
    expect(otherEntry).toBeDefined()
    await run(async (tx) => change(tx, { tenant: tenantId, project: projectId, key: key.id }))

    const after = await follow(before)
    expect(after.version).toBeGreaterThan(before.version)
    expect(contents(after)).toEqual(contents(await load()))
    for (const name of ['catalog', 'replicas', 'limits'] as const)
      expect(after[name] === before[name], name).toBe(name !== part)
    expect(after.keys.find(other.key.secrets[0]?.publicId ?? '')).toBe(otherEntry)
  },
)

test('a tenant that goes onto a plan, and from one to another, is a change of the limits', async () => {
  await sqlAsOwner(
    "INSERT INTO plans (id, name, rank) VALUES ('gold', 'Gold', 1), ('lead', 'Lead', 0)",
  )
  let known = await load()
  for (const plan of ['gold', 'lead', null]) {
    const before = known
    await owner.query('UPDATE tenants SET plan_id = $1 WHERE id = $2', [plan, tenantId])
    known = await follow(before)
    expect(known.limits).not.toBe(before.limits)
    expect(known.limits.tenantPlans).toEqual(plan ? [{ tenantId, planId: plan }] : [])
    expect(known.catalog).toBe(before.catalog)
  }
})

test('what no gateway needs moves no version: uses of keys, and names', async () => {
  const { key } = await newKey()
  const before = await load()
  await run(async (tx) => {
    await recordKeyUse(tx, [{ apiKeyId: key.id, usedAtMs: Date.now() }])
    await updateApiKey(tx, tenantId, key.id, { name: 'another' })
    await updateTenant(tx, tenantId, { name: 'Another' })
    await updateProject(tx, tenantId, projectId, { name: 'another' })
  })
  expect((await load()).version).toBe(before.version)
})

test('a tenant that is suspended loses all its keys by one change, and gets them back by another', async () => {
  const secrets = [(await newKey('a')).secret, (await newKey('b')).secret]
  const before = await load()
  const outcomes = (records: SnapshotRecords) => secrets.map((secret) => accepts(records, secret))
  expect(outcomes(before)).toEqual([true, true])
  await run((tx) => updateTenant(tx, tenantId, { state: 'suspended' }))
  const suspended = await follow(before)
  expect(suspended.version).toBe(before.version + 1n)
  expect(outcomes(suspended)).toEqual([false, false])
  await run((tx) => updateTenant(tx, tenantId, { state: 'active' }))
  expect(outcomes(await follow(suspended))).toEqual([true, true])
})

test('a transaction that began earlier and commits later is not missed, and neither is one that it waited for', async () => {
  const first = (await newKey('a')).key
  const second = (await newKey('b')).key
  let known = await load()
  const early = await connect()
  const late = await connect()
  const revoke = (client: pg.Client, id: string) =>
    client.query('UPDATE api_keys SET revoked_at = now() WHERE id = $1', [id])
  const revoked = (records: SnapshotRecords) =>
    [first, second].map((key) => records.keys.find(key.secrets[0]?.publicId ?? '')?.record.revoked)
  try {
    // `early` has its snapshot and its transaction id before `late` begins.
    await early.query('BEGIN')
    await early.query("UPDATE tenants SET name = 'B' WHERE id = $1", [tenantId])
    await late.query('BEGIN')
    await revoke(late, second.id)
    const waiting = revoke(early, first.id)
    await until(() => isBlocked(early))
    known = await follow(known)
    expect(revoked(known)).toEqual([false, false])

    await late.query('COMMIT')
    await waiting
    known = await follow(known)
    expect(revoked(known)).toEqual([false, true])
    const between = known.version

    await early.query('COMMIT')
    known = await follow(known)
    expect(revoked(known)).toEqual([true, true])
    expect(known.version).toBe(between + 1n)
    expect(contents(known)).toEqual(contents(await load()))
  } finally {
    await early.end()
    await late.end()
  }
})

test('whatever concurrent writers do, commit or not, following ends where loading would', async () => {
  const keys = await Promise.all(
    ['a', 'b', 'c', 'd', 'e', 'f'].map(async (name) => (await newKey(name)).key),
  )
  let known = await load()
  const writers = await Promise.all([connect(), connect(), connect()])
  let writing = true
  const write = async (writer: pg.Client, seed: number): Promise<void> => {
    for (let turn = 0; turn < 40; turn += 1) {
      const pick = (seed * 31 + turn * 17) % keys.length
      await writer.query('BEGIN')
      await writer.query('UPDATE api_keys SET allowed_models = $1 WHERE id = $2', [
        [`m${seed}-${turn}`],
        keys[pick]?.id,
      ])
      if (turn % 3 === 0) {
        await writer.query('SAVEPOINT s')
        await writer.query("UPDATE projects SET state = 'archived'")
        await writer.query('ROLLBACK TO s')
      }
      if (turn % 5 === 0) {
        await writer.query('INSERT INTO model_aliases SELECT $1, min(id) FROM models', [
          `alias-${seed}-${turn}`,
        ])
      }
      await writer.query(turn % 4 === 0 ? 'ROLLBACK' : 'COMMIT')
    }
  }
  const following = (async () => {
    while (writing) known = await follow(known)
  })()
  try {
    await Promise.all(writers.map((writer, index) => write(writer, index + 1)))
  } finally {
    writing = false
    await following
    await Promise.all(writers.map((writer) => writer.end()))
  }
  known = await follow(known)
  expect(contents(known)).toEqual(contents(await load()))
})

test('whoever has missed changes is told so: pruned, too many to name, or of another history', async () => {
  const isWhole = async (known: SnapshotRecords) =>
    (await run((tx) => followChanges(tx, known))).isWhole
  const before = await load()
  await newKey()
  expect(await isWhole(before)).toBe(true)
  await sqlAsOwner(
    'DELETE FROM snapshot_changes WHERE version = (SELECT max(version) FROM snapshot_changes) - 1',
  )
  expect(await isWhole(before)).toBe(false)
  expect(await isWhole({ ...before, version: before.version + 1_000n })).toBe(false)
  const now = await load()
  expect(await isWhole(now)).toBe(true)
  await seedKeys(1_001)
  expect(await isWhole(now)).toBe(false)
  expect(await isWhole(await load())).toBe(true)
})

test('the last 100,000 changes are kept, and no more', async () => {
  await owner.query(
    'CREATE TEMPORARY TABLE names AS SELECT array_agg(i::text) AS ids FROM generate_series(1, 1000) AS i',
  )
  for (let turn = 0; turn < 102; turn += 1)
    await owner.query("SELECT note_snapshot_changes('tenant', ids) FROM names")
  const kept = await owner.query('SELECT count(*)::int AS changes FROM snapshot_changes')
  expect(kept.rows).toEqual([{ changes: 100_000 }])
})

async function sqlAsOwner(text: string): Promise<void> {
  await owner.query(text)
}

async function isBlocked(client: pg.Client): Promise<boolean> {
  // pg sets it when the connection is made; its types do not tell.
  const { processID } = client as unknown as { processID: number }
  const answer = await owner.query<{ blocked: boolean }>(
    'SELECT cardinality(pg_blocking_pids($1)) > 0 AS blocked',
    [processID],
  )
  return answer.rows[0]?.blocked ?? false
}

/** Keys in one statement, with digests that open to nobody. */
async function seedKeys(count: number): Promise<void> {
  const row = [tenantId, projectId, count]
  await owner.query(
    `INSERT INTO api_keys (tenant_id, project_id, id, name)
     SELECT $1, $2, 'key_' || lpad(i::text, 16, '0'), 'seeded ' || i FROM generate_series(1, $3::int) AS i`,
    row,
  )
  await owner.query(
    `INSERT INTO api_key_secrets (tenant_id, api_key_id, public_id, digest, pepper_version, hint)
     SELECT $1, 'key_' || lpad(i::text, 16, '0'), lpad(i::text, 10, '0'), sha256(i::text::bytea), 1, 'xxxx'
     FROM generate_series(1, $2::int) AS i`,
    [tenantId, count],
  )
}

// ------------------------------------------------------------------------------------------------------------ the keeper

interface Kept {
  readonly records: () => SnapshotRecords
  readonly close: () => Promise<void>
}

async function keep(options: Partial<Parameters<typeof keepSnapshot>[0]> = {}): Promise<Kept> {
  let records: SnapshotRecords | undefined
  const keeper = await keepSnapshot({
    database,
    databaseUrl: place.appUrl,
    path: join(directory, 'snapshot'),
    seal,
    clock: systemClock,
    log,
    apply: (applied) => {
      records = applied
    },
    ...options,
  })
  return {
    records: () => records ?? expect.fail('nothing was applied'),
    close: keeper.close,
  }
}

/** As of a server that does not answer. */
const away: Database = {
  transaction: () =>
    Promise.reject(new Fault({ code: 'platform.database_unavailable', public: 'away' })),
  close: () => Promise.resolve(),
}

test('a gateway that has missed changes loads everything, and serves what is new and what was revoked', async () => {
  const { key, secret } = await newKey()
  const kept = await keep()
  try {
    expect(accepts(kept.records(), secret)).toBe(true)
    // One transaction, so that no refresh sees the changes before they are pruned.
    await owner.query('BEGIN')
    await owner.query('UPDATE api_keys SET revoked_at = now() WHERE id = $1', [key.id])
    await owner.query('DELETE FROM snapshot_changes')
    await owner.query('COMMIT')
    await until(() => !accepts(kept.records(), secret))
    await seedKeys(1_500)
    await until(() => kept.records().keys.size === 1_501)
    expect(contents(kept.records())).toEqual(contents(await load()))
  } finally {
    await kept.close()
  }
})

test('a key that is revoked while everything is loaded anew stops working at once, and never works again', async () => {
  const { key, secret } = await newKey()
  const kept = await keep()
  const gate = await connect()
  const lapses: number[] = []
  let isRevoked = false
  const watch = setInterval(() => {
    if (isRevoked && accepts(kept.records(), secret)) lapses.push(performance.now())
  }, 1)
  try {
    // The load reads the aliases after the keys, and waits there: it has the key as it was before.
    await gate.query('BEGIN')
    await gate.query('LOCK TABLE model_aliases IN ACCESS EXCLUSIVE MODE')
    await seedKeys(1_500)
    await until(async () => (await waitingFor('model_aliases')) === 1)
    await run((tx) => revokeApiKey(tx, tenantId, key.id, Date.now()))
    await until(() => !accepts(kept.records(), secret))
    isRevoked = true
    expect(await waitingFor('model_aliases')).toBe(1)
    expect(kept.records().keys.size).toBe(1)
    await gate.query('COMMIT')
    await until(() => kept.records().keys.size === 1_501)
    await sleep(20)
    expect(lapses).toEqual([])
  } finally {
    clearInterval(watch)
    await gate.end()
    await kept.close()
  }
})

async function waitingFor(table: string): Promise<number> {
  const answer = await owner.query<{ waiting: number }>(
    'SELECT count(*)::int AS waiting FROM pg_locks WHERE NOT granted AND relation = $1::regclass',
    [table],
  )
  return answer.rows[0]?.waiting ?? 0
}

test('without the database, a gateway serves with what it knew when it stopped', async () => {
  const path = join(directory, 'stopped')
  const gone = await newKey('gone')
  const { secret } = await newKey('kept')
  const first = await keep({ path })
  await run((tx) => revokeApiKey(tx, tenantId, gone.key.id, Date.now()))
  await until(() => !accepts(first.records(), gone.secret))
  const before = contents(first.records())
  await first.close()

  let isAway = true
  const second = await keep({
    path,
    database: {
      ...database,
      transaction: (scope, work) =>
        isAway ? away.transaction(scope, work) : database.transaction(scope, work),
    },
  })
  try {
    expect(contents(second.records())).toEqual({ ...Object(before), version: -1n })
    expect(accepts(second.records(), secret)).toBe(true)
    expect(accepts(second.records(), gone.secret)).toBe(false)
    // What happened meanwhile is known once the database is back.
    const later = await newKey('later')
    isAway = false
    const last = await newKey('wakes')
    await until(() => accepts(second.records(), later.secret))
    await until(() => accepts(second.records(), last.secret))
    expect(contents(second.records())).toEqual(contents(await load()))
  } finally {
    await second.close()
  }
})

test('a copy is refused a day after it was last true, and the time without a database does not make it younger', async () => {
  const path = join(directory, 'aged')
  const clock = manualClock(1_000_000_000_000)
  await newKey()
  await (await keep({ path, clock })).close()
  clock.advance(24 * 3_600_000)
  await (await keep({ path, clock, database: away })).close()
  clock.advance(1)
  await expect(keep({ path, clock, database: away })).rejects.toMatchObject({
    code: 'platform.snapshot_stale',
  })
})

test('a copy that is cut, changed, put together anew or sealed by others is no copy', async () => {
  const path = join(directory, 'whole')
  await newKey()
  await (await keep({ path })).close()
  const whole = fs.readFileSync(path)
  const read = (bytes: Buffer, key = seal) => {
    fs.writeFileSync(`${path}-changed`, bytes)
    return readSnapshotCopy({ path: `${path}-changed`, seal: key })
  }
  expect(await read(whole)).toBeDefined()
  expect(whole.includes('tenantId')).toBe(false)
  for (const length of [0, 3, 100, whole.length - 1]) {
    expect(await read(whole.subarray(0, length)), `${length} bytes`).toBeUndefined()
  }
  const flipped = Buffer.from(whole)
  flipped[whole.length >> 1] = (flipped[whole.length >> 1] ?? 0) ^ 1
  expect(await read(flipped)).toBeUndefined()
  expect(await read(whole, createSeal(Buffer.alloc(32, 4)))).toBeUndefined()
  const frames = split(whole)
  const swapped = [...frames.slice(0, 1), frames[2], frames[1], ...frames.slice(3)]
  expect(await read(Buffer.concat(swapped.filter((frame) => frame !== undefined)))).toBeUndefined()
  expect(await read(Buffer.concat(frames.slice(0, -1)))).toBeUndefined()
  expect(await readSnapshotCopy({ path: join(directory, 'absent'), seal })).toBeUndefined()
})

/** The frames of a file, each with its length. */
function split(file: Buffer): Buffer[] {
  const frames: Buffer[] = []
  for (let at = 0; at < file.length;) {
    const end = at + 4 + file.readUInt32BE(at)
    frames.push(file.subarray(at, end))
    at = end
  }
  return frames
}

test('100,000 keys: how long loading, a change and the copy take is printed', async () => {
  await seedKeys(100_000)
  globalThis.gc?.()
  const heapBefore = process.memoryUsage().heapUsed
  const [loadMs, loadHeldMs, kept] = await timed(() => keep({ path: join(directory, 'large') }))
  const heapBytes = process.memoryUsage().heapUsed - heapBefore
  const { key, secret } = await newKey()
  await until(() => accepts(kept.records(), secret))
  const [changeMs, changeHeldMs] = await timed(async () => {
    await run((tx) => revokeApiKey(tx, tenantId, key.id, Date.now()))
    await until(() => !accepts(kept.records(), secret))
  })
  const [copyMs, copyHeldMs] = await timed(kept.close)
  expect(kept.records().keys.size).toBe(100_001)
  process.stdout.write(
    `100,000 keys: loaded in ${loadMs} ms (the loop was held ${loadHeldMs} ms at most), ${Math.round(heapBytes / 2 ** 20)} MiB; ` +
      `a revocation took ${changeMs} ms (${changeHeldMs} ms); the copy ${copyMs} ms (${copyHeldMs} ms)\n`,
  )
})

/** Milliseconds that it took, and the longest that nothing else could run. */
async function timed<Result>(work: () => Promise<Result>): Promise<[number, number, Result]> {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const startMs = performance.now()
  const result = await work()
  const tookMs = Math.round(performance.now() - startMs)
  delay.disable()
  return [tookMs, Math.round(delay.max / 1e6), result]
}
