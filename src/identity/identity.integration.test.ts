/** Identity on real PostgreSQL: the life of a key as a gateway sees it, what may be granted, and the wall between tenants. */
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import {
  openDatabase,
  platformScope,
  type Database,
  type Scope,
  type Sql,
} from '../platform/postgres/database.ts'
import {
  createAccessToken,
  createApiKey,
  createProject,
  createTenant,
  findAccessToken,
  listApiKeys,
  loadKeyRecords,
  recordKeyUse,
  revokeAccessToken,
  revokeApiKey,
  rightsOf,
  rotateApiKey,
  updateApiKey,
  updateProject,
  updateTenant,
} from './identity.ts'
import { createKeyDirectory } from './key-directory.ts'
import * as store from './store.ts'

const nowMs = Date.parse('2026-11-21T12:00:00Z')
const day = 86_400_000
const ip = '192.0.2.7'
const peppers = new Map([[1, Buffer.alloc(32, 1)]])
const pepper = { version: 1, key: Buffer.alloc(32, 1) }

interface Member {
  readonly tenantId: string
  readonly projectId: string
  readonly apiKeyId: string
  readonly publicId: string
  readonly tokenId: string
  readonly tokenPublicId: string
  readonly tokenSecret: string
}

let created: TestDatabase
let database: Database
let mine: Member
let theirs: Member
beforeAll(async () => {
  created = await (await postgresForTests()).createDatabase()
  database = openDatabase({
    url: created.appUrl,
    connectionsMax: 4,
    statementTimeoutMs: 10_000,
    applicationName: 'test',
    onError: () => {},
  })
  await run((tx) =>
    sql`INSERT INTO price_lists VALUES ('standard', 'Standard', 'EUR', 'test'), ('reduced', 'Reduced', 'EUR', 'test'), ('dollar', 'Dollar', 'USD', 'test')`.execute(
      tx,
    ),
  )
  mine = await makeMember('mine')
  theirs = await makeMember('theirs')
})
afterAll(async () => {
  await database?.close()
  await created?.close()
})

function run<Result>(
  work: (tx: Sql<unknown>) => Promise<Result>,
  scope: Scope = platformScope,
): Promise<Result> {
  return database.transaction(scope, work)
}

async function makeMember(name: string): Promise<Member> {
  return run(async (tx) => {
    const tenant = await createTenant(tx, { name, priceListId: 'standard' })
    const project = await createProject(tx, tenant.id, 'main')
    const { key } = await createApiKey(
      tx,
      { tenantId: tenant.id, projectId: project.id, name: 'main' },
      pepper,
    )
    const { token, secret } = await createAccessToken(
      tx,
      { tenantId: tenant.id, role: 'owner', name },
      pepper,
      'bootstrap',
    )
    return {
      tenantId: tenant.id,
      projectId: project.id,
      apiKeyId: key.id,
      publicId: key.secrets[0]?.publicId ?? '',
      tokenId: token.id,
      tokenPublicId: token.public_id,
      tokenSecret: secret,
    }
  })
}

const newKey = (settings: Partial<Parameters<typeof createApiKey>[1]> = {}) =>
  run((tx) =>
    createApiKey(
      tx,
      { tenantId: mine.tenantId, projectId: mine.projectId, name: 'key', ...settings },
      pepper,
    ),
  )

/** What a gateway that loads its keys now answers. */
async function authenticate(secret: string, at: { nowMs?: number; ip?: string } = {}) {
  const directory = createKeyDirectory(await run(loadKeyRecords), peppers)
  const answer = directory.authenticate({ secret, ip, nowMs, ...at })
  return answer.outcome === 'accepted' ? answer.principal : answer.code
}

test('a new key works at once, as its tenant and project, charged by the price list of its tenant', async () => {
  const { key, secret } = await newKey({ allowedModels: ['a', 'b'] })
  expect(await authenticate(secret)).toEqual({
    tenantId: mine.tenantId,
    projectId: mine.projectId,
    apiKeyId: key.id,
    currency: 'EUR',
    priceListId: 'standard',
    allowedModels: ['a', 'b'],
    allowedLocations: [],
  })
})

test('the database never holds a secret, and no list shows more than its last characters', async () => {
  const { secret } = await newKey()
  const dumped = await run((tx) =>
    sql<{ text: string }>`
      SELECT string_agg(t::text, '') AS text FROM (SELECT to_jsonb(s) FROM api_key_secrets s UNION ALL SELECT to_jsonb(k) FROM api_keys k UNION ALL SELECT to_jsonb(a) FROM access_tokens a) t`.execute(
      tx,
    ),
  )
  const random = secret.slice(-36)
  expect(dumped.rows[0]?.text).toContain(secret.slice(-4))
  expect(dumped.rows[0]?.text).not.toContain(random.slice(0, 32))
  const listed = JSON.stringify(
    await run((tx) => listApiKeys(tx, mine.tenantId, { limit: 500 })),
    (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value),
  )
  expect(listed).not.toContain(random.slice(0, 32))
  expect(listed).not.toContain('digest')
})

test('through a rotation both secrets work for the overlap, then the new one alone', async () => {
  const { key, secret: old } = await newKey()
  const rotated = await run((tx) =>
    rotateApiKey(tx, mine.tenantId, key.id, { overlapMs: 7 * day, nowMs }, pepper),
  )
  expect(rotated.secret).not.toBe(old)
  for (const secret of [old, rotated.secret]) {
    expect(await authenticate(secret, { nowMs: nowMs + 7 * day - 1 })).toMatchObject({
      apiKeyId: key.id,
    })
  }
  expect(await authenticate(old, { nowMs: nowMs + 7 * day })).toBe('auth.invalid_key')
  expect(await authenticate(rotated.secret, { nowMs: nowMs + 7 * day })).toMatchObject({
    apiKeyId: key.id,
  })
})

test('no key has more than two secrets that work: a rotation during an overlap must end it', async () => {
  const { key, secret: first } = await newKey()
  const rotate = (overlapMs: number, atMs = nowMs) =>
    run((tx) => rotateApiKey(tx, mine.tenantId, key.id, { overlapMs, nowMs: atMs }, pepper))
  const second = await rotate(day)
  await expect(rotate(day)).rejects.toMatchObject({ code: 'client.conflict' })
  expect(await authenticate(first)).toMatchObject({ apiKeyId: key.id })
  const third = await rotate(0)
  for (const secret of [first, second.secret])
    expect(await authenticate(secret)).toBe('auth.invalid_key')
  expect(await authenticate(third.secret)).toMatchObject({ apiKeyId: key.id })
  await rotate(day, nowMs + 1)
})

test('of two rotations at once the second waits for the first, and then finds its overlap', async () => {
  const { key } = await newKey()
  const rotate = (tx: Sql<unknown>) =>
    rotateApiKey(tx, mine.tenantId, key.id, { overlapMs: day, nowMs }, pepper)
  const finish = Promise.withResolvers<undefined>()
  const begun = Promise.withResolvers<undefined>()
  const first = run(async (tx) => {
    await rotate(tx)
    begun.resolve(undefined)
    await finish.promise
  })
  await begun.promise
  const second = run(rotate).then(
    () => 'made',
    (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
  )
  await waitForLock()
  finish.resolve(undefined)
  await first
  expect(await second).toBe('client.conflict')
  const { secrets } = await run((tx) => updateApiKey(tx, mine.tenantId, key.id, { name: 'same' }))
  expect(secrets.map((secret) => secret.expiresAt?.getTime())).toEqual([nowMs + day, undefined])
})

/** Until somebody in this database waits for somebody else's lock. */
async function waitForLock(): Promise<void> {
  for (;;) {
    const waiting = await run((tx) =>
      sql<{ count: bigint }>`
        SELECT count(*) FROM pg_locks WHERE NOT granted AND (database IS NULL OR database = (SELECT oid FROM pg_database WHERE datname = current_database()))`.execute(
        tx,
      ),
    )
    if ((waiting.rows[0]?.count ?? 0n) > 0n) return
  }
}

test('a revoked key is refused, stays revoked since its first revocation, and is not rotated back to life', async () => {
  const { key, secret } = await newKey()
  const revoke = (atMs: number) => run((tx) => revokeApiKey(tx, mine.tenantId, key.id, atMs))
  expect((await revoke(nowMs)).revoked_at?.getTime()).toBe(nowMs)
  expect((await revoke(nowMs + 5)).revoked_at?.getTime()).toBe(nowMs)
  expect(await authenticate(secret)).toBe('auth.invalid_key')
  const rotation = run((tx) =>
    rotateApiKey(tx, mine.tenantId, key.id, { overlapMs: 0, nowMs }, pepper),
  )
  await expect(rotation).rejects.toMatchObject({ code: 'client.conflict' })
})

test('limits can be set, changed and lifted, and hold from the next load on', async () => {
  const { key, secret } = await newKey({
    allowedIps: ['10.0.0.0/8'],
    expiresAt: new Date(nowMs + day),
  })
  const change = (settings: Parameters<typeof updateApiKey>[3]) =>
    run((tx) => updateApiKey(tx, mine.tenantId, key.id, settings))
  expect(await authenticate(secret)).toBe('auth.ip_not_allowed')
  expect(await authenticate(secret, { ip: '10.1.1.1' })).toMatchObject({ apiKeyId: key.id })
  expect(await authenticate(secret, { ip: '10.1.1.1', nowMs: nowMs + day })).toBe(
    'auth.invalid_key',
  )
  expect((await change({ allowedIps: [ip] })).allowed_ips).toEqual([`${ip}/32`])
  expect(await authenticate(secret)).toMatchObject({ apiKeyId: key.id })
  await change({ allowedIps: null, expiresAt: null, allowedModels: ['x'] })
  expect(await authenticate(secret, { ip: '::1', nowMs: nowMs + 900 * day })).toMatchObject({
    allowedModels: ['x'],
  })
  const wrong = change({ allowedIps: ['10.0.0.0/8', '0x7f.1'] })
  await expect(wrong).rejects.toMatchObject({ code: 'client.invalid_request', param: 'allowedIps' })
})

test('the keys of a suspended tenant and of an archived project are refused until it is active again', async () => {
  const other = await makeMember('to be suspended')
  const { secret } = await run((tx) =>
    createApiKey(tx, { tenantId: other.tenantId, projectId: other.projectId, name: 'k' }, pepper),
  )
  const tenantState = (state: 'active' | 'suspended') =>
    run((tx) => updateTenant(tx, other.tenantId, { state }))
  const projectState = (state: 'active' | 'archived') =>
    run((tx) => updateProject(tx, other.tenantId, other.projectId, { state }))
  await tenantState('suspended')
  expect(await authenticate(secret)).toBe('auth.invalid_key')
  await tenantState('active')
  await projectState('archived')
  expect(await authenticate(secret)).toBe('auth.invalid_key')
  await projectState('active')
  expect(await authenticate(secret)).toMatchObject({ tenantId: other.tenantId })
})

test('every change that decides about a key moves the version that gateways follow; noting a use does not', async () => {
  const { key } = await newKey()
  const version = async () =>
    (await run((tx) => sql<{ version: bigint }>`SELECT version FROM snapshot_state`.execute(tx)))
      .rows[0]?.version ?? 0n
  const changes: readonly ((tx: Sql<unknown>) => Promise<unknown>)[] = [
    (tx) => rotateApiKey(tx, mine.tenantId, key.id, { overlapMs: 0, nowMs }, pepper),
    (tx) => updateApiKey(tx, mine.tenantId, key.id, { allowedModels: ['y'] }),
    (tx) => updateTenant(tx, mine.tenantId, { priceListId: 'reduced' }),
    (tx) => revokeApiKey(tx, mine.tenantId, key.id, nowMs),
  ]
  for (const change of changes) {
    const before = await version()
    await run(change)
    expect(await version()).toBeGreaterThan(before)
  }
  const before = await version()
  await run((tx) => recordKeyUse(tx, [{ apiKeyId: key.id, usedAtMs: nowMs }]))
  expect(await version()).toBe(before)
  await run((tx) => updateTenant(tx, mine.tenantId, { priceListId: 'standard' }))
})

test('uses of keys are noted in one go, never moved back, and unknown keys are passed over', async () => {
  const [a, b] = [await newKey(), await newKey()]
  const note = (uses: readonly { apiKeyId: string; usedAtMs: number }[]) =>
    run((tx) => recordKeyUse(tx, uses))
  await note([
    { apiKeyId: a.key.id, usedAtMs: nowMs },
    { apiKeyId: b.key.id, usedAtMs: nowMs },
    { apiKeyId: 'key_unknown', usedAtMs: nowMs },
  ])
  await note([
    { apiKeyId: b.key.id, usedAtMs: nowMs - 1 },
    { apiKeyId: a.key.id, usedAtMs: nowMs + 1 },
  ])
  await note([])
  const { rows } = await run((tx) => listApiKeys(tx, mine.tenantId, { limit: 500 }))
  const usedAt = (id: string) => rows.find((row) => row.id === id)?.last_used_at?.getTime()
  expect([usedAt(a.key.id), usedAt(b.key.id)]).toEqual([nowMs + 1, nowMs])
})

test('a tenant is charged in the currency of its price list, and keeps it', async () => {
  const made = await run((tx) => createTenant(tx, { name: 'dollars', priceListId: 'dollar' }))
  expect(made.currency).toBe('USD')
  const move = run((tx) => updateTenant(tx, made.id, { priceListId: 'standard' }))
  await expect(move).rejects.toMatchObject({ code: 'client.invalid_request', param: 'priceListId' })
  const unknown = run((tx) => createTenant(tx, { name: 'x', priceListId: 'nowhere' }))
  await expect(unknown).rejects.toMatchObject({ code: 'client.invalid_request' })
})

test('names are taken once: a tenant on the platform, a project in its tenant', async () => {
  const again = run((tx) => createTenant(tx, { name: 'mine', priceListId: 'standard' }))
  await expect(again).rejects.toMatchObject({ code: 'client.conflict' })
  const twice = run((tx) => createProject(tx, mine.tenantId, 'main'))
  await expect(twice).rejects.toMatchObject({ code: 'client.conflict' })
})

test('lists come in pages that continue one another and hold every row once', async () => {
  const ids: string[] = []
  for (;;) {
    const page = await run((tx) => listApiKeys(tx, mine.tenantId, { limit: 3, after: ids.at(-1) }))
    ids.push(...page.rows.map((row) => row.id))
    if (!page.hasMore) break
  }
  const { rows } = await run((tx) => listApiKeys(tx, mine.tenantId, { limit: 500 }))
  expect(ids).toEqual(rows.map((row) => row.id))
  expect(new Set(ids).size).toBe(ids.length)
})

test('an access token is found by its secret until another one revokes it, or it has expired', async () => {
  const { token, secret } = await run((tx) =>
    createAccessToken(
      tx,
      { tenantId: null, role: 'auditor', name: 'x', expiresAt: new Date(nowMs + day) },
      pepper,
      'bootstrap',
    ),
  )
  const find = (text: string, atMs = nowMs) =>
    run((tx) => findAccessToken(tx, text, peppers, atMs)).then((row) => row?.id)
  expect(await find(secret)).toBe(token.id)
  expect(await find(secret, nowMs + day)).toBeUndefined()
  expect(await find(mine.tokenSecret)).toBe(mine.tokenId)
  expect(await find((await newKey()).secret)).toBeUndefined()
  const revoke = (atMs: number, byTokenId = 'tok_other') =>
    run((tx) => revokeAccessToken(tx, null, token.id, { byTokenId, nowMs: atMs }))
  await expect(revoke(nowMs, token.id)).rejects.toMatchObject({ code: 'client.conflict' })
  expect(await find(secret)).toBe(token.id)
  await revoke(nowMs)
  expect((await revoke(nowMs + 5)).revoked_at?.getTime()).toBe(nowMs)
  expect(await find(secret)).toBeUndefined()
})

test('nobody grants a right that they lack, and no role exists on the other side', async () => {
  const grant = (tenantId: string | null, role: string, actor: readonly [string | null, string]) =>
    run((tx) =>
      createAccessToken(tx, { tenantId, role, name: 'x' }, pepper, rightsOf(actor[0], actor[1])),
    ).then(
      () => 'granted',
      (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
    )
  const own = mine.tenantId
  expect(await grant(own, 'owner', [null, 'operator'])).toBe('granted')
  expect(await grant(null, 'agent', [null, 'operator'])).toBe('granted')
  expect(await grant(own, 'admin', [own, 'owner'])).toBe('granted')
  expect(await grant(own, 'owner', [own, 'admin'])).toBe('auth.permission_denied')
  expect(await grant(null, 'operator', [own, 'owner'])).toBe('auth.permission_denied')
  expect(await grant(null, 'operator', [null, 'auditor'])).toBe('auth.permission_denied')
  for (const role of ['operator', 'agent', 'nobody', 'constructor', '__proto__', '']) {
    expect(await grant(own, role, [null, 'operator'])).toBe('client.invalid_request')
  }
  expect(await grant(null, 'owner', [null, 'operator'])).toBe('client.invalid_request')
})

/** Each statement of the store, called for the other tenant's rows. */
const attempts: Readonly<Record<keyof typeof store, (tx: store.IdentitySql) => Promise<unknown>>> =
  {
    insertTenant: (tx) =>
      store.insertTenant(tx, {
        id: 'ten_CCCCCCCCCCCCCCCC',
        name: 'C',
        price_list_id: 'standard',
        currency: 'EUR',
      }),
    findTenant: (tx) => store.findTenant(tx, theirs.tenantId),
    selectTenants: (tx) => store.selectTenants(tx, { limit: 100 }),
    updateTenant: (tx) => store.updateTenant(tx, theirs.tenantId, { name: 'taken over' }),
    findPriceListCurrency: (tx) => store.findPriceListCurrency(tx, theirs.tenantId),
    findPlanCurrency: (tx) => store.findPlanCurrency(tx, 'theirs-alone'),
    insertProject: (tx) =>
      store.insertProject(tx, {
        tenant_id: theirs.tenantId,
        id: 'prj_CCCCCCCCCCCCCCCC',
        name: 'planted',
      }),
    findProject: (tx) => store.findProject(tx, theirs.tenantId, theirs.projectId),
    selectProjects: (tx) => store.selectProjects(tx, theirs.tenantId, { limit: 100 }),
    updateProject: (tx) =>
      store.updateProject(tx, theirs.tenantId, theirs.projectId, { state: 'archived' }),
    insertApiKey: (tx) =>
      store.insertApiKey(tx, {
        tenant_id: theirs.tenantId,
        project_id: theirs.projectId,
        id: 'key_CCCCCCCCCCCCCCCC',
        name: 'planted',
        allowed_models: null,
        allowed_ips: null,
        expires_at: null,
      }),
    insertSecret: (tx) =>
      store.insertSecret(tx, {
        tenant_id: theirs.tenantId,
        api_key_id: theirs.apiKeyId,
        public_id: 'CCCCCCCCCC',
        digest: Buffer.alloc(32),
        pepper_version: 1,
        hint: 'CCCC',
      }),
    lockApiKey: (tx) => store.lockApiKey(tx, theirs.tenantId, theirs.apiKeyId),
    selectApiKeys: (tx) => store.selectApiKeys(tx, theirs.tenantId, { limit: 100 }),
    selectSecrets: (tx) => store.selectSecrets(tx, theirs.tenantId, [theirs.apiKeyId]),
    updateApiKey: (tx) =>
      store.updateApiKey(tx, theirs.tenantId, theirs.apiKeyId, { revoked_at: new Date(nowMs) }),
    expireSecrets: (tx) =>
      store.expireSecrets(tx, theirs.tenantId, theirs.apiKeyId, new Date(nowMs)),
    insertAccessToken: (tx) =>
      store.insertAccessToken(tx, {
        id: 'tok_CCCCCCCCCCCCCCCC',
        tenant_id: theirs.tenantId,
        role: 'owner',
        name: 'planted',
        public_id: 'CCCCCCCCCC',
        digest: Buffer.alloc(32),
        pepper_version: 1,
        expires_at: null,
      }),
    findAccessToken: (tx) => store.findAccessToken(tx, theirs.tokenPublicId),
    selectAccessTokens: (tx) => store.selectAccessTokens(tx, theirs.tenantId, { limit: 100 }),
    revokeAccessToken: (tx) =>
      store.revokeAccessToken(tx, theirs.tenantId, theirs.tokenId, new Date(nowMs)),
    selectKeyRecords: (tx) =>
      Promise.all([
        store.selectKeyRecords(tx, { limit: 100 }),
        store.selectKeyRecords(tx, { ids: [theirs.apiKeyId] }),
      ]),
    selectTenantRecords: (tx) =>
      Promise.all([
        store.selectTenantRecords(tx, { limit: 100 }),
        store.selectTenantRecords(tx, { ids: [theirs.tenantId] }),
      ]),
    selectProjectRecords: (tx) =>
      Promise.all([
        store.selectProjectRecords(tx, { limit: 100 }),
        store.selectProjectRecords(tx, { ids: [theirs.projectId] }),
      ]),
    recordUses: (tx) =>
      store.recordUses(tx, [{ apiKeyId: theirs.apiKeyId, usedAt: new Date(nowMs) }]),
  }

/** All that the other tenant has, as text. */
async function belongings(): Promise<string> {
  const rows = await run((tx) =>
    sql<{ text: string }>`
      SELECT to_jsonb(t)::text AS text FROM (
        SELECT to_jsonb(tenants) AS row, id AS tenant FROM tenants
        UNION ALL SELECT to_jsonb(projects), tenant_id FROM projects
        UNION ALL SELECT to_jsonb(api_keys), tenant_id FROM api_keys
        UNION ALL SELECT to_jsonb(api_key_secrets), tenant_id FROM api_key_secrets
        UNION ALL SELECT to_jsonb(access_tokens), tenant_id FROM access_tokens
      ) t WHERE tenant <> ${mine.tenantId} ORDER BY 1`.execute(tx),
  )
  return rows.rows.map((row) => row.text).join('\n')
}

test.each(Object.entries(attempts))(
  "%s sees and changes nothing of another tenant's",
  async (_name, attempt) => {
    const before = await belongings()
    const scope: Scope = { kind: 'tenant', tenantId: mine.tenantId }
    const seen = await run((tx) => attempt(tx as unknown as store.IdentitySql), scope).catch(
      (error: unknown) => {
        // Refused by PostgreSQL for lack of rights, and for no other reason.
        expect(error).toMatchObject({ code: '42501' })
      },
    )
    const text = JSON.stringify(seen ?? null, (_, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    )
    for (const id of Object.values(theirs)) expect(text).not.toContain(id)
    expect(await belongings()).toBe(before)
  },
)

/** The other lock: statements that name a tenant reach no row of another, even where every row is visible. */
const crossed: Readonly<Record<string, (tx: store.IdentitySql) => Promise<unknown>>> = {
  findProject: (tx) => store.findProject(tx, mine.tenantId, theirs.projectId),
  updateProject: (tx) => store.updateProject(tx, mine.tenantId, theirs.projectId, { name: 'x' }),
  lockApiKey: (tx) => store.lockApiKey(tx, mine.tenantId, theirs.apiKeyId),
  selectSecrets: (tx) => store.selectSecrets(tx, mine.tenantId, [theirs.apiKeyId]),
  updateApiKey: (tx) => store.updateApiKey(tx, mine.tenantId, theirs.apiKeyId, { name: 'x' }),
  expireSecrets: (tx) => store.expireSecrets(tx, mine.tenantId, theirs.apiKeyId, new Date(nowMs)),
  revokeAccessToken: (tx) =>
    store.revokeAccessToken(tx, mine.tenantId, theirs.tokenId, new Date(nowMs)),
  'revokeAccessToken of the platform': (tx) =>
    store.revokeAccessToken(tx, null, theirs.tokenId, new Date(nowMs)),
  selectProjects: (tx) => store.selectProjects(tx, mine.tenantId, { limit: 500 }),
  selectApiKeys: (tx) => store.selectApiKeys(tx, mine.tenantId, { limit: 500 }),
  selectAccessTokens: (tx) => store.selectAccessTokens(tx, mine.tenantId, { limit: 500 }),
  'selectAccessTokens of the platform': (tx) => store.selectAccessTokens(tx, null, { limit: 500 }),
}

test.each(Object.entries(crossed))(
  "%s reaches nothing of another tenant's in the platform's scope either",
  async (_name, attempt) => {
    const before = await belongings()
    const seen = await run((tx) => attempt(tx as unknown as store.IdentitySql))
    for (const id of Object.values(theirs))
      expect(
        JSON.stringify(seen ?? null, (_, value: unknown) =>
          typeof value === 'bigint' ? String(value) : value,
        ),
      ).not.toContain(id)
    expect(await belongings()).toBe(before)
  },
)

test('without a tenant in the setting, the tenant role sees no row at all', async () => {
  const seen = await run(
    async (tx) => {
      const counted = await sql<{ count: bigint }>`
        SELECT (SELECT count(*) FROM tenants) + (SELECT count(*) FROM projects) + (SELECT count(*) FROM api_keys) + (SELECT count(*) FROM access_tokens) AS count`.execute(
        tx,
      )
      return counted.rows[0]?.count
    },
    { kind: 'tenant', tenantId: '' },
  )
  expect(seen).toBe(0n)
})
