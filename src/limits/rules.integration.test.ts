/** Plans, rules, credit and reports on real PostgreSQL: what gateways load, what is refused, and the walls around a tenant. */
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import {
  openDatabase,
  platformScope,
  type Database,
  type Scope,
  type Sql,
} from '../platform/postgres/database.ts'
import {
  createPlan,
  createRule,
  findTenantPlan,
  getCreditBalance,
  getPlan,
  grantCredit,
  importShippedPlans,
  retireGateway,
  limitMax,
  listGrants,
  listPlanRules,
  listPlans,
  listTenantRules,
  loadLimitRecords,
  removePlan,
  removeRule,
  reportRefusals,
  reportUses,
  updatePlan,
  updateRule,
  type NewRule,
} from './rules.ts'
import { newId } from '../platform/ids.ts'
import * as store from './rules-store.ts'

const nowMs = Date.parse('2026-11-21T12:30:00Z')
const mine = 'ten_AAAAAAAAAAAAAAAA'
const theirs = 'ten_BBBBBBBBBBBBBBBB'
const asMine: Scope = { kind: 'tenant', tenantId: mine }
const page = { limit: 100 }
const requests: NewRule = {
  measure: 'requests',
  window: 'minute',
  limit: 7n,
  enforcement: 'hard',
  onOutage: 'closed',
}

let created: TestDatabase
let database: Database

const run = <Result>(
  work: (tx: Sql<unknown>) => Promise<Result>,
  scope: Scope = platformScope,
): Promise<Result> => database.transaction(scope, work)

beforeAll(async () => {
  created = await (await postgresForTests()).createDatabase()
  database = openDatabase({
    url: created.appUrl,
    connectionsMax: 12,
    statementTimeoutMs: 10_000,
    applicationName: 'test',
    onError: () => {},
  })
  await run(async (tx) => {
    await sql`INSERT INTO price_lists VALUES ('standard', 'Standard', 'EUR', 'test')`.execute(tx)
    await sql`INSERT INTO models (id, category, enabled) VALUES ('offered', 'chat', true), ('hidden', 'chat', false)`.execute(
      tx,
    )
    for (const [letter, tenantId] of [
      ['A', mine],
      ['B', theirs],
    ] as const) {
      const [project, other, key] = ['prj', 'prj', 'key'].map(
        (prefix, index) =>
          `${prefix}_${index === 1 ? '0' : ''}${letter.repeat(index === 1 ? 15 : 16)}`,
      )
      await sql`INSERT INTO tenants (id, name, price_list_id) VALUES (${tenantId}, ${letter}, 'standard')`.execute(
        tx,
      )
      await sql`INSERT INTO projects (tenant_id, id, name) VALUES (${tenantId}, ${project}, 'main'), (${tenantId}, ${other}, 'other')`.execute(
        tx,
      )
      await sql`INSERT INTO api_keys (tenant_id, project_id, id, name) VALUES (${tenantId}, ${project}, ${key}, 'main')`.execute(
        tx,
      )
    }
    await importShippedPlans(tx)
  })
})
afterAll(async () => {
  await database?.close()
  await created?.close()
})

/** Runs the work and takes everything back, so that tests do not see each other. */
async function tryOut<Result>(work: (tx: Sql<unknown>) => Promise<Result>): Promise<Result> {
  let result: { value: Result } | undefined
  const done = new Error('taken back')
  await run(async (tx) => {
    result = { value: await work(tx) }
    throw done
  }).catch((error: unknown) => {
    if (error !== done) throw error
  })
  if (!result) throw new Error('the work did not end')
  return result.value
}

const putOn = (tx: Sql<unknown>, tenantId: string, planId: string | null) =>
  sql`UPDATE tenants SET plan_id = ${planId} WHERE id = ${tenantId}`.execute(tx)

describe('shipped plans', () => {
  test('an installation without plans gets them, with their rules, once', async () => {
    const { rows } = await run((tx) => listPlans(tx, page))
    expect(rows.map(({ id }) => id)).toEqual(['monthly', 'tier-1', 'tier-2', 'tier-3', 'tier-4'])
    const rules = await run((tx) => listPlanRules(tx, 'tier-2'))
    expect(rules).toHaveLength(4)
    expect(rules).toContainEqual(
      expect.objectContaining({
        measure: 'amount',
        time_window: 'month',
        limit_value: 3_000_000_000_000n,
        set_by: 'platform',
        enforcement: 'hard',
      }),
    )
    await tryOut(async (tx) => {
      await removePlan(tx, 'tier-1')
      await updatePlan(tx, 'tier-2', { name: 'Ours', rank: 3 })
      await importShippedPlans(tx)
      expect((await listPlans(tx, page)).rows).toHaveLength(4)
      expect(await getPlan(tx, 'tier-2')).toMatchObject({ name: 'Ours', rank: 3 })
      expect(await listPlanRules(tx, 'tier-2')).toHaveLength(4)
    })
  })
})

describe('plans', () => {
  const plan = {
    id: 'startup',
    name: 'Startup',
    rank: 15,
    priority: 'normal',
    prepaid: true,
    upfrontCreditNanos: 100n,
    currency: 'EUR',
  } as const

  test('one is made, changed, and removed with its rules', async () => {
    await tryOut(async (tx) => {
      expect(await createPlan(tx, plan)).toMatchObject({
        id: 'startup',
        upfront_credit_nanos: 100n,
      })
      const rule = await createRule(tx, { planId: 'startup' }, requests, 'platform')
      expect(
        await updatePlan(tx, 'startup', { upfrontCreditNanos: null, prepaid: false }),
      ).toMatchObject({ prepaid: false, upfront_credit_nanos: null })
      await removePlan(tx, 'startup')
      await expect(getPlan(tx, 'startup')).rejects.toMatchObject({ code: 'client.not_found' })
      expect((await loadLimitRecords(tx)).rules.map(({ id }) => id)).not.toContain(rule.id)
    })
  })

  test('an id is taken once, and a plan with tenants stays', async () => {
    await expect(run((tx) => createPlan(tx, { ...plan, id: 'tier-1' }))).rejects.toMatchObject({
      code: 'client.conflict',
    })
    const removal = run(async (tx) => {
      await putOn(tx, mine, 'tier-1')
      await removePlan(tx, 'tier-1')
    })
    await expect(removal).rejects.toMatchObject({ code: 'client.conflict' })
  })

  test('only a prepaid plan has an upfront credit', async () => {
    for (const attempt of [
      run((tx) => createPlan(tx, { ...plan, prepaid: false })),
      run((tx) => updatePlan(tx, 'tier-1', { prepaid: false })),
    ]) {
      await expect(attempt).rejects.toMatchObject({ param: 'upfrontCreditNanos' })
    }
  })

  test.each<[string, (tx: Sql<unknown>) => Promise<unknown>]>([
    ['updatePlan', (tx) => updatePlan(tx, 'none', { rank: 1 })],
    ['removePlan', (tx) => removePlan(tx, 'none')],
    ['createRule', (tx) => createRule(tx, { planId: 'none' }, requests, 'platform')],
    ['updateRule', (tx) => updateRule(tx, { planId: 'tier-1' }, 'lim_none', {}, 'platform')],
    ['removeRule', (tx) => removeRule(tx, { tenantId: mine }, 'lim_none', 'platform')],
  ])('%s of what does not exist says so', async (_name, attempt) => {
    await expect(run(attempt)).rejects.toMatchObject({ code: 'client.not_found' })
  })
})

describe('rules', () => {
  const owner = { tenantId: mine }
  const set = (tx: Sql<unknown>, rule: Partial<NewRule>) =>
    createRule(tx, owner, { ...requests, ...rule }, 'platform')

  test.each<[string, Partial<NewRule>, string, string]>([
    ['an unknown project', { projectId: 'prj_none' }, 'client.not_found', 'projectId'],
    [
      "another tenant's project",
      { projectId: 'prj_BBBBBBBBBBBBBBBB' },
      'client.not_found',
      'projectId',
    ],
    ["another tenant's key", { apiKeyId: 'key_BBBBBBBBBBBBBBBB' }, 'client.not_found', 'apiKeyId'],
    ['an unknown model', { modelId: 'none' }, 'client.not_found', 'modelId'],
    [
      'a key of another project',
      { projectId: 'prj_0AAAAAAAAAAAAAAA', apiKeyId: 'key_AAAAAAAAAAAAAAAA' },
      'client.invalid_request',
      'apiKeyId',
    ],
    ['no window', { window: undefined }, 'client.invalid_request', 'window'],
    ['a window of concurrency', { measure: 'concurrency' }, 'client.invalid_request', 'window'],
    ['a hard limit that opens', { onOutage: 'open' }, 'client.invalid_request', 'onOutage'],
  ])('%s is refused by its name', async (_what, rule, code, param) => {
    await expect(run((tx) => set(tx, rule))).rejects.toMatchObject({ code, param })
  })

  test('a project and its key, concurrency without a window, and an open soft limit are taken', async () => {
    await tryOut(async (tx) => {
      const scope = { projectId: 'prj_AAAAAAAAAAAAAAAA', apiKeyId: 'key_AAAAAAAAAAAAAAAA' }
      await set(tx, { ...scope, modelId: 'hidden', limit: limitMax })
      const concurrency = await set(tx, { measure: 'concurrency', window: undefined })
      expect(concurrency.time_window).toBe('lifetime')
      await set(tx, { enforcement: 'soft', onOutage: 'open', per: 'key' })
      expect((await listTenantRules(tx, mine, page)).rows).toHaveLength(3)
    })
  })

  test('a tenant sets no limit for a model that it is not offered', async () => {
    const attempt = (modelId: string) =>
      run((tx) => createRule(tx, owner, { ...requests, modelId }, 'tenant'))
    await expect(attempt('hidden')).rejects.toMatchObject({ code: 'client.not_found' })
  })

  test('a plan knows no project and no key', async () => {
    const attempt = run((tx) =>
      createRule(
        tx,
        { planId: 'tier-1' },
        { ...requests, apiKeyId: 'key_AAAAAAAAAAAAAAAA' },
        'platform',
      ),
    )
    await expect(attempt).rejects.toMatchObject({ param: 'apiKeyId' })
  })

  test('a change keeps the counter, and is checked as a whole', async () => {
    await tryOut(async (tx) => {
      const { id } = await set(tx, { limit: 5n })
      const changed = await updateRule(
        tx,
        owner,
        id,
        { limit: 9n, enforcement: 'soft' },
        'platform',
      )
      expect(changed).toMatchObject({
        id,
        limit_value: 9n,
        enforcement: 'soft',
        measure: 'requests',
      })
      await updateRule(tx, owner, id, { onOutage: 'open' }, 'platform')
      await expect(
        updateRule(tx, owner, id, { enforcement: 'hard' }, 'platform'),
      ).rejects.toMatchObject({ param: 'onOutage' })
    })
  })

  test("a plan's rule is changed at the plan, not at a tenant", async () => {
    await tryOut(async (tx) => {
      await putOn(tx, mine, 'tier-1')
      const [rule] = await listPlanRules(tx, 'tier-1')
      const id = rule?.id ?? ''
      await expect(updateRule(tx, owner, id, { limit: 1n }, 'platform')).rejects.toMatchObject({
        code: 'client.conflict',
      })
      await expect(removeRule(tx, owner, id, 'platform')).rejects.toThrow()
      expect(await removeRule(tx, { planId: 'tier-1' }, id, 'platform')).toMatchObject({ id })
    })
  })

  test('there is a bound to the rules of a tenant and of a plan, whoever sets them at the same time', async () => {
    const fill = (column: 'tenant_id' | 'plan_id', owned: string, count: number) =>
      run((tx) =>
        sql`INSERT INTO limit_rules (id, ${sql.ref(column)}, measure, time_window, limit_value)
          SELECT 'lim_' || lpad(number::text, 16, ${column.slice(0, 1)}), ${owned}, 'requests', 'minute', 1 FROM generate_series(1, ${count}) AS number`.execute(
          tx,
        ),
      )
    await fill('tenant_id', theirs, 998)
    await fill('plan_id', 'monthly', 97)
    for (const [rulesOwner, left] of [
      [{ tenantId: theirs }, 2],
      [{ planId: 'monthly' }, 2],
    ] as const) {
      const attempts = await Promise.allSettled(
        Array.from({ length: 6 }, () =>
          run((tx) => createRule(tx, rulesOwner, requests, 'platform')),
        ),
      )
      expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(left)
      for (const attempt of attempts)
        if (attempt.status === 'rejected')
          expect(attempt.reason).toMatchObject({ code: 'client.conflict' })
    }
    await run((tx) =>
      sql`DELETE FROM limit_rules WHERE tenant_id = ${theirs} OR id LIKE 'lim_ppp%'`.execute(tx),
    )
  })
})

describe('what a tenant may do in its own scope', () => {
  const byTenant = { ...requests, limit: 3n }
  const owner = { tenantId: mine }

  async function makeBoth(): Promise<{ platform: string; tenant: string; foreign: string }> {
    const platform = await run((tx) => createRule(tx, owner, requests, 'platform'))
    const tenant = await run((tx) => createRule(tx, owner, byTenant, 'tenant'), asMine)
    const foreign = await run((tx) => createRule(tx, { tenantId: theirs }, byTenant, 'tenant'))
    return { platform: platform.id, tenant: tenant.id, foreign: foreign.id }
  }

  test('it reads all that binds it, and changes and removes what it set itself', async () => {
    const ids = await makeBoth()
    await run((tx) => putOn(tx, mine, 'tier-3'))
    await run(async (tx) => {
      const seen = (await listTenantRules(tx, mine, page)).rows
      expect(seen.map(({ id }) => id)).toEqual(expect.arrayContaining([ids.platform, ids.tenant]))
      expect(seen.filter((rule) => rule.plan_id === 'tier-3')).toHaveLength(4)
      expect(await findTenantPlan(tx, mine)).toMatchObject({ id: 'tier-3' })
      expect((await listPlans(tx, page)).rows.map(({ id }) => id)).toEqual(['tier-3'])
      await updateRule(tx, owner, ids.tenant, { limit: 4n }, 'tenant')
      await removeRule(tx, owner, ids.tenant, 'tenant')
    }, asMine)
    await run((tx) => putOn(tx, mine, null))
  })

  test('it neither changes nor removes what the platform set, through the front door or past it', async () => {
    const { platform } = await makeBoth()
    for (const attempt of [
      () => run((tx) => updateRule(tx, owner, platform, { limit: limitMax }, 'tenant'), asMine),
      () => run((tx) => removeRule(tx, owner, platform, 'tenant'), asMine),
    ])
      await expect(attempt()).rejects.toMatchObject({ code: 'auth.permission_denied' })
    await run(async (tx) => {
      const past = tx as unknown as store.LimitSql
      expect(
        await store.updateRule(past, owner, platform, { limit_value: limitMax }),
      ).toBeUndefined()
      expect(await store.deleteRule(past, owner, platform)).toBeUndefined()
      const all =
        await sql`UPDATE limit_rules SET limit_value = 0 WHERE set_by = 'platform'`.execute(tx)
      expect(all.numAffectedRows).toBe(0n)
    }, asMine)
    const { rows } = await run((tx) => listTenantRules(tx, mine, page))
    expect(rows.find(({ id }) => id === platform)?.limit_value).toBe(7n)
  })

  test.each<[string, (tx: store.LimitSql, ids: { tenant: string }) => Promise<unknown>]>([
    [
      'a rule in the name of the platform',
      (tx) => store.insertRule(tx, { ...row(mine), set_by: 'platform' }),
    ],
    ["a rule of another tenant's", (tx) => store.insertRule(tx, row(theirs))],
    ["a plan's rule", (tx) => store.insertRule(tx, { ...row(null), plan_id: 'tier-1' })],
    [
      'its own rule given to the platform',
      (tx, { tenant }) =>
        sql`UPDATE limit_rules SET set_by = 'platform' WHERE id = ${tenant}`.execute(tx),
    ],
    [
      'its own rule given to another tenant',
      (tx, { tenant }) =>
        sql`UPDATE limit_rules SET tenant_id = ${theirs} WHERE id = ${tenant}`.execute(tx),
    ],
    ['a credit', (tx) => store.insertGrant(tx, { ...grant, tenant_id: mine })],
    ['another plan', (tx) => putOn(tx as unknown as Sql<unknown>, mine, 'tier-4')],
    ['a changed plan', (tx) => store.updatePlan(tx, 'tier-1', { rank: 0 })],
    ['a counter', (tx) => sql`DELETE FROM limit_counters`.execute(tx)],
    ['a lease', (tx) => sql`UPDATE limit_leases SET spent = 0`.execute(tx)],
    ['a refusal', (tx) => sql`DELETE FROM limit_refusals`.execute(tx)],
    ['a life', (tx) => sql`SELECT * FROM gateway_lives`.execute(tx)],
  ])('%s is refused by the database', async (_what, attempt) => {
    const ids = await makeBoth()
    const work = run((tx) => attempt(tx as unknown as store.LimitSql, ids), asMine)
    await expect(work).rejects.toMatchObject({ code: '42501' })
  })

  test("another tenant's rules, plan, credit, counters and refusals are not there", async () => {
    const ids = await makeBoth()
    await run(async (tx) => {
      await putOn(tx, theirs, 'tier-4')
      await grantCredit(tx, { tenantId: theirs, amountNanos: 5n, note: 'theirs' })
      await spend(tx, { ruleId: ids.foreign, subject: theirs, tenantId: theirs, spent: 2n })
      await refuse(tx, { ruleId: ids.foreign, tenantId: theirs })
    })
    const seen = await run(async (tx) => {
      const past = tx as unknown as store.LimitSql
      const counted = await sql<{ count: bigint }>`
        SELECT (SELECT count(*) FROM limit_counters) + (SELECT count(*) FROM limit_leases) + (SELECT count(*) FROM limit_refusals)
          + (SELECT count(*) FROM credit_grants) + (SELECT count(*) FROM plans) AS count`.execute(
        tx,
      )
      expect(counted.rows[0]?.count).toBe(0n)
      return [
        await listTenantRules(tx, theirs, page),
        await findTenantPlan(tx, theirs),
        await listGrants(tx, theirs, page),
        await reportUses(tx, theirs, { nowMs, limit: 100 }),
        await reportRefusals(tx, { tenantId: theirs, limit: 100 }),
        await reportRefusals(tx, { limit: 100 }),
        await store.findTenantRule(past, theirs, ids.foreign),
        await store.updateRule(past, { tenantId: theirs }, ids.foreign, { limit_value: 0n }),
        await store.deleteRule(past, { tenantId: theirs }, ids.foreign),
        await store.selectRulesById(past, [ids.foreign]),
        await store.findCredit(past, theirs),
        await store.findPlan(past, 'tier-4'),
        await store.selectPrepaidCredits(past),
        await store.selectTenantPlans(past),
      ]
    }, asMine)
    const text = JSON.stringify(seen, (_, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    )
    expect(text).not.toMatch(new RegExp(`${theirs}|${ids.foreign}|tier-4`))
    const still = await run((tx) => listTenantRules(tx, theirs, page))
    expect(still.rows.find(({ id }) => id === ids.foreign)?.limit_value).toBe(3n)
    await run((tx) => putOn(tx, theirs, null))
  })

  const row = (tenantId: string | null): store.NewRule => ({
    id: 'lim_CCCCCCCCCCCCCCCC',
    plan_id: null,
    tenant_id: tenantId,
    set_by: 'tenant',
    project_id: null,
    api_key_id: null,
    model_id: null,
    per: 'tenant',
    measure: 'requests',
    time_window: 'minute',
    limit_value: 1n,
    enforcement: 'hard',
    on_outage: 'closed',
  })
  const grant = { id: 'crd_CCCCCCCCCCCCCCCC', amount_nanos: 1n, currency: 'EUR', note: '' }
})

describe('credit', () => {
  test('it adds up, a correction takes from it, and what is spent stays covered', async () => {
    await tryOut(async (tx) => {
      const give = (amountNanos: bigint) =>
        grantCredit(tx, { tenantId: mine, amountNanos, note: '' })
      await give(500n)
      await give(-100n)
      expect(await getCreditBalance(tx, mine)).toEqual({
        currency: 'EUR',
        grantedNanos: 400n,
        spentNanos: 0n,
        remainingNanos: 400n,
      })
      await sql`INSERT INTO ledger_accounts (id, tenant_id, kind, currency, balance_nanos)
        VALUES ('receivable:test', ${mine}, 'receivable', 'EUR', 150), ('held:test', ${mine}, 'held', 'EUR', 9)`.execute(
        tx,
      )
      expect(await getCreditBalance(tx, mine)).toMatchObject({
        spentNanos: 150n,
        remainingNanos: 250n,
      })
      await expect(give(-251n)).rejects.toMatchObject({ code: 'client.conflict' })
      // Reserved for requests under way, as a gateway told last.
      await spend(tx, { ruleId: 'credit', subject: mine, tenantId: mine, spent: 150n, used: 200n })
      await expect(give(-201n)).rejects.toMatchObject({ code: 'client.conflict' })
      await give(-200n)
      await expect(give(limitMax)).rejects.toMatchObject({ code: 'client.invalid_request' })
      expect((await listGrants(tx, mine, { limit: 2 })).hasMore).toBe(true)
    })
  })

  test('a grant is never changed', async () => {
    const attempt = run(async (tx) => {
      await grantCredit(tx, { tenantId: mine, amountNanos: 1n, note: '' })
      await sql`UPDATE credit_grants SET amount_nanos = 2`.execute(tx)
    })
    await expect(attempt).rejects.toThrow(/permission denied|append-only/)
  })

  test('two corrections at the same time do not both take the same credit', async () => {
    await run((tx) => grantCredit(tx, { tenantId: theirs, amountNanos: 95n, note: '' }))
    const before = await run((tx) => getCreditBalance(tx, theirs))
    const attempts = await Promise.allSettled(
      Array.from({ length: 5 }, () =>
        run((tx) =>
          grantCredit(tx, { tenantId: theirs, amountNanos: -before.grantedNanos, note: '' }),
        ),
      ),
    )
    expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(await run((tx) => getCreditBalance(tx, theirs))).toMatchObject({ grantedNanos: 0n })
  })
})

describe('reports', () => {
  test('each counter of the window that runs is told, with what remains, and others are not', async () => {
    await tryOut(async (tx) => {
      const owner = { tenantId: mine }
      const make = (rule: Partial<NewRule>) =>
        createRule(tx, owner, { ...requests, ...rule }, 'platform')
      const hour = await make({ measure: 'output_tokens', window: 'hour', limit: 100n })
      const perKey = await make({ per: 'key', window: 'lifetime', limit: 10n })
      const unused = await make({ window: 'day', limit: 5n })
      const window = { windowStart: '2026-11-21T12:00:00Z', windowEnd: '2026-11-21T13:00:00Z' }
      const at = { ruleId: hour.id, subject: mine, tenantId: mine }
      await spend(tx, { ...at, ...window, spent: 30n, used: 45n, lifeId: 'lif_1' })
      await spend(tx, { ...at, ...window, spent: 20n, used: 5n, lifeId: 'lif_2' })
      const past = { windowStart: '2026-11-21T11:00:00Z', windowEnd: '2026-11-21T12:00:00Z' }
      await spend(tx, { ...at, ...past, spent: 99n })
      const key = { ruleId: perKey.id, subject: 'key_AAAAAAAAAAAAAAAA', tenantId: mine }
      await spend(tx, { ...key, spent: 12n })

      const { rows, hasMore } = await reportUses(tx, mine, { nowMs, limit: 100 })
      expect(hasMore).toBe(false)
      const of = (id: string) => rows.filter((each) => each.ruleId === id)
      expect(of(hour.id)).toMatchObject([
        {
          subject: mine,
          windowStart: new Date(window.windowStart),
          windowEnd: new Date(window.windowEnd),
          limit: 100n,
          used: 65n,
          remaining: 35n,
        },
      ])
      expect(of(perKey.id)).toMatchObject([
        {
          subject: 'key_AAAAAAAAAAAAAAAA',
          windowStart: undefined,
          windowEnd: undefined,
          used: 12n,
          remaining: 0n,
        },
      ])
      expect(of(unused.id)).toMatchObject([{ subject: undefined, used: 0n, remaining: 5n }])
      expect((await reportUses(tx, mine, { nowMs, limit: 1 })).hasMore).toBe(true)
    })
  })

  test("a prepaid tenant's credit is told with its plan's rules", async () => {
    await tryOut(async (tx) => {
      await putOn(tx, mine, 'tier-1')
      await grantCredit(tx, { tenantId: mine, amountNanos: 1_000n, note: '' })
      await spend(tx, { ruleId: 'credit', subject: mine, tenantId: mine, spent: 300n, used: 400n })
      const { rows } = await reportUses(tx, mine, { nowMs, limit: 100 })
      expect(rows[0]).toMatchObject({ ruleId: 'credit', measure: 'amount', window: 'lifetime' })
      expect(rows[0]).toMatchObject({ limit: 1_000n, used: 400n, remaining: 600n })
      expect(rows.filter((use) => use.rule?.plan_id === 'tier-1')).toHaveLength(4)
    })
  })

  test('refusals and what shadow rules let pass are summed by hour, tenant, rule and model', async () => {
    await tryOut(async (tx) => {
      await sql`DELETE FROM limit_refusals`.execute(tx)
      const rule = await createRule(tx, { tenantId: mine }, requests, 'platform')
      const at = { ruleId: rule.id, tenantId: mine }
      await refuse(tx, { ...at, subject: 'key_1', refusals: 3n })
      await refuse(tx, { ...at, subject: 'key_2', refusals: 4n })
      await refuse(tx, { ...at, subject: 'key_1', refusals: 5n, shadow: true })
      await refuse(tx, { ...at, hour: '2026-11-21T11:00:00Z', model: 'other' })
      await refuse(tx, { ruleId: 'credit', tenantId: theirs })

      const { rows } = await reportRefusals(tx, { limit: 100 })
      expect(rows).toMatchObject([
        { tenantId: mine, ruleId: rule.id, modelId: 'm', refused: 7n, wouldHaveRefused: 5n },
        { tenantId: theirs, ruleId: 'credit', rule: undefined, refused: 1n },
        { tenantId: mine, ruleId: rule.id, modelId: 'other', refused: 1n, wouldHaveRefused: 0n },
      ])
      expect(rows[0]?.rule?.id).toBe(rule.id)
      const from = new Date('2026-11-21T12:00:00Z')
      const own = await reportRefusals(tx, { tenantId: mine, from, limit: 100 })
      expect(own.rows.map(({ modelId }) => modelId)).toEqual(['m'])
      const earlier = await reportRefusals(tx, { tenantId: mine, to: from, limit: 100 })
      expect(earlier.rows.map(({ modelId }) => modelId)).toEqual(['other'])
      expect((await reportRefusals(tx, { limit: 2 })).hasMore).toBe(true)
    })
  })
})

test('gateways load plans, rules of plans and tenants, who is on which plan, and the credit of the prepaid', async () => {
  await tryOut(async (tx) => {
    await sql`DELETE FROM limit_rules`.execute(tx)
    await putOn(tx, mine, 'tier-1')
    await putOn(tx, theirs, 'monthly')
    const scoped = { ...requests, apiKeyId: 'key_AAAAAAAAAAAAAAAA', modelId: 'offered' }
    const own = await createRule(tx, { tenantId: mine }, { ...scoped, limit: limitMax }, 'tenant')
    const ofPlan = await createRule(
      tx,
      { planId: 'tier-1' },
      { ...requests, per: 'key' },
      'platform',
    )
    const records = async () => {
      const loaded = await loadLimitRecords(tx)
      // The snapshot keeps them as JSON.
      expect(JSON.parse(JSON.stringify(loaded))).toEqual(loaded)
      return loaded
    }
    const first = await records()
    expect(first.plans).toHaveLength(5)
    expect(first.plans[0]).toEqual({
      id: 'monthly',
      name: 'Monthly billing',
      rank: 50,
      priority: 'high',
      prepaid: false,
    })
    expect(first.tenantPlans).toEqual([
      { tenantId: mine, planId: 'tier-1' },
      { tenantId: theirs, planId: 'monthly' },
    ])
    expect(first.credits).toEqual([{ tenantId: mine, nanos: '0' }])
    expect(first.rules.find(({ id }) => id === own.id)).toEqual({
      id: own.id,
      planId: undefined,
      tenantId: mine,
      projectId: undefined,
      apiKeyId: 'key_AAAAAAAAAAAAAAAA',
      modelId: 'offered',
      per: 'tenant',
      measure: 'requests',
      window: 'minute',
      limit: String(limitMax),
      enforcement: 'hard',
      onOutage: 'closed',
    })
    expect(first.rules.find(({ id }) => id === ofPlan.id)).toMatchObject({
      planId: 'tier-1',
      tenantId: undefined,
      per: 'key',
    })
    await grantCredit(tx, { tenantId: mine, amountNanos: 70n, note: '' })
    await grantCredit(tx, { tenantId: mine, amountNanos: -20n, note: '' })
    await grantCredit(tx, { tenantId: theirs, amountNanos: 9n, note: '' })
    expect((await records()).credits).toEqual([{ tenantId: mine, nanos: '50' }])
  })
})

interface Spending {
  readonly ruleId: string
  readonly subject: string
  readonly tenantId: string
  readonly spent: bigint
  readonly used?: bigint
  readonly lifeId?: string
  readonly windowStart?: string
  readonly windowEnd?: string
}

async function spend(tx: Sql<unknown>, spending: Spending): Promise<void> {
  const {
    ruleId,
    subject,
    tenantId,
    spent,
    used = 0n,
    lifeId = 'lif_1',
    windowEnd = null,
  } = spending
  const start = spending.windowStart ?? '1970-01-01T00:00:00Z'
  await sql`INSERT INTO limit_counters (rule_id, subject, window_start, tenant_id, window_end)
    VALUES (${ruleId}, ${subject}, ${start}, ${tenantId}, ${windowEnd}) ON CONFLICT DO NOTHING`.execute(
    tx,
  )
  await sql`INSERT INTO limit_leases (rule_id, subject, window_start, life_id, granted, spent, used)
    VALUES (${ruleId}, ${subject}, ${start}, ${lifeId}, ${spent}, ${spent}, ${used})`.execute(tx)
}

interface Refusal {
  readonly ruleId: string
  readonly tenantId: string
  readonly subject?: string
  readonly model?: string
  readonly hour?: string
  readonly shadow?: boolean
  readonly refusals?: bigint
}

async function refuse(tx: Sql<unknown>, refusal: Refusal): Promise<void> {
  const {
    ruleId,
    tenantId,
    subject = tenantId,
    model = 'm',
    shadow = false,
    refusals = 1n,
  } = refusal
  await sql`INSERT INTO limit_refusals (rule_id, subject, tenant_id, model_id, hour, shadow, refusals)
    VALUES (${ruleId}, ${subject}, ${tenantId}, ${model}, ${refusal.hour ?? '2026-11-21T12:00:00Z'}, ${shadow}, ${refusals})`.execute(
    tx,
  )
}

test('a gateway that is gone can be retired, and one that may be running cannot', async () => {
  const [gone, running] = [newId('gw'), newId('gw')]
  const nowMs = Date.now()
  await run(async (tx) => {
    await sql`INSERT INTO gateway_lives (id, gateway_id, seen_at) VALUES (${newId('lif')}, ${gone}, now() - interval '2 minutes'), (${newId('lif')}, ${running}, now())`.execute(
      tx,
    )
    expect((await retireGateway(tx, gone, nowMs)).countersHeld).toBe(0)
  })
  await expect(run((tx) => retireGateway(tx, running, nowMs))).rejects.toMatchObject({
    code: 'client.conflict',
  })
  await expect(run((tx) => retireGateway(tx, newId('gw'), nowMs))).rejects.toMatchObject({
    code: 'client.not_found',
  })
})
