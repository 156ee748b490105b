import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import { listEntries, verifyChain } from '../audit/audit.ts'
import { listAliases, listModels } from '../catalog/catalog.ts'
import { listDeployedModels } from '../fleet/fleet.ts'
import { findAccessToken, listTenants } from '../identity/identity.ts'
import { listPlanRules, listPlans, removePlan, updatePlan } from '../limits/rules.ts'
import { systemClock } from '../platform/clock.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'
import { bootstrap, makeFirstKey } from './bootstrap.ts'
import { readConfig } from './config.ts'
import { loadSecrets, secretPath } from './secrets.ts'
import { readToken } from './tokens.ts'

const dataDirectory = mkdtempSync(join(tmpdir(), 'colonnade-bootstrap-'))
const config = readConfig({ dataDirectory }, {})
const secrets = loadSecrets(secretPath(config))
let place: TestDatabase
let database: Database

beforeAll(async () => {
  place = await (await postgresForTests()).createDatabase()
  database = openDatabase({
    url: place.appUrl,
    connectionsMax: 2,
    statementTimeoutMs: 10_000,
    applicationName: 'test',
    onError: () => {},
  })
  await bootstrap(database, config, secrets)
})
afterAll(async () => {
  await database?.close()
  await place?.close()
  rmSync(dataDirectory, { recursive: true })
})

test('the first start deploys both default models, calls the chat model `default`, and offers nothing else', async () => {
  await database.transaction(platformScope, async (tx) => {
    const enabled = await listModels(tx, { enabled: true, limit: 100 })
    const deployed = await listDeployedModels(tx)
    expect(deployed.toSorted()).toEqual(enabled.map(({ id }) => id).toSorted())
    expect(enabled.map(({ category }) => category).toSorted()).toEqual(['chat', 'embedding'])
    const chat = enabled.find(({ category }) => category === 'chat')
    expect(await listAliases(tx)).toEqual([{ alias: 'default', modelId: chat?.id }])
    // 58 of the shipped catalogue are there to be enabled.
    const all = await listModels(tx, { limit: 500 })
    expect(all.length).toBeGreaterThanOrEqual(58)
  })
})

test('the first start brings the plans, and leaves the first tenant without one; later starts leave them as they are', async () => {
  const plans = () => database.transaction(platformScope, (tx) => listPlans(tx, { limit: 100 }))
  const first = await plans()
  expect(first.rows.map(({ id }) => id)).toEqual([
    'monthly',
    'tier-1',
    'tier-2',
    'tier-3',
    'tier-4',
  ])
  await database.transaction(platformScope, async (tx) => {
    const { rows } = await listTenants(tx, { limit: 1 })
    expect(rows[0]?.plan_id).toBeNull()
    await updatePlan(tx, 'tier-1', { name: 'Small' })
    await removePlan(tx, 'tier-4')
  })
  await bootstrap(database, config, secrets)
  expect((await plans()).rows.map(({ name }) => name)).toEqual([
    'Monthly billing',
    'Small',
    'Tier 2',
    'Tier 3',
  ])
  const rules = await database.transaction(platformScope, (tx) => listPlanRules(tx, 'tier-1'))
  expect(rules).toHaveLength(4)
})

test('the tokens of this machine work, and only their owner can read them', async () => {
  for (const [name, role] of [
    ['admin-token', 'operator'],
    ['agent-token', 'agent'],
  ] as const) {
    const token = readToken(dataDirectory, name) ?? ''
    const found = await database.transaction(platformScope, (tx) =>
      findAccessToken(tx, token, secrets.peppers, systemClock.nowMs()),
    )
    expect(found?.role).toBe(role)
    expect(statSync(join(dataDirectory, 'secrets', name)).mode & 0o777).toBe(0o400)
  }
})

test('a start that was interrupted before the key was shown is followed by another first one', async () => {
  await bootstrap(database, config, secrets)
  const shown = await makeFirstKey(database, config, secrets)
  expect(shown?.apiKey).toMatch(/^cln_k_/)
  expect(shown?.adminToken).toBe(readToken(dataDirectory, 'admin-token'))
})

test('later starts change nothing and show nothing', async () => {
  const before = await database.transaction(platformScope, (tx) => listTenants(tx, { limit: 10 }))
  await bootstrap(database, config, secrets)
  expect(await makeFirstKey(database, config, secrets)).toBeUndefined()
  const after = await database.transaction(platformScope, (tx) => listTenants(tx, { limit: 10 }))
  expect(after).toEqual(before)
})

test('what the first start made is in the audit log, whose chain holds', async () => {
  const entries = await database.transaction(platformScope, (tx) =>
    listEntries(tx, { after: 0n, limit: 100 }),
  )
  const actions = entries.map(({ payload }) => /"action":"([^"]+)"/.exec(payload)?.[1])
  expect(actions).toEqual([
    'tenants.create',
    'projects.create',
    'tokens.create',
    'tokens.create',
    'models.enable',
    'models.enable',
    'keys.create',
  ])
  expect(entries.map(({ payload }) => payload).join('')).not.toContain('cln_')
  const rows = entries.map((entry) => ({ ...entry, sequence: Number(entry.sequence) }))
  expect(verifyChain(rows).outcome).toBe('intact')
})
