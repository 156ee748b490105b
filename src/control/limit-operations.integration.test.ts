/** Plans, limits and credit through the control API: what the provider decides, what a tenant may, and what is refused in words. */
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startControlPlatform, type ControlPlatform } from '../../test/control-platform.ts'
import { importShippedPlans } from '../limits/rules.ts'

let platform: ControlPlatform
let own: string
let other: string

beforeAll(async () => {
  platform = await startControlPlatform()
  await platform.run(importShippedPlans)
  own = `/tenants/${platform.own.id}`
  other = `/tenants/${platform.other.id}`
})
afterAll(() => platform?.close())

const as =
  (side: 'platform' | 'tenant', role: string) => (method: string, path: string, body?: unknown) =>
    platform.call({ method, path, body, token: platform.actor(side, role).secret })
const operator = (...call: Parameters<ReturnType<typeof as>>) => as('platform', 'operator')(...call)
const owner = (...call: Parameters<ReturnType<typeof as>>) => as('tenant', 'owner')(...call)

const budget = { measure: 'amount', window: 'month', limit: '50000000000' }

test('a tenant gets a plan, reads it as its own, and is taken off it again', async () => {
  expect((await owner('GET', `${own}/plan`)).body).toEqual({ plan: null })
  const changed = await operator('PATCH', own, { planId: 'tier-2' })
  expect(changed.body).toMatchObject({ planId: 'tier-2' })
  const { plan } = (await owner('GET', `${own}/plan`)).body
  expect(plan).toMatchObject({ id: 'tier-2', prepaid: true, upfrontCreditNanos: '500000000000' })
  expect(plan.rules).toContainEqual(
    expect.objectContaining({ measure: 'output_tokens', window: 'day', limit: '7200000' }),
  )
  expect((await owner('GET', own)).body.planId).toBe('tier-2')
  const bound = (await owner('GET', `${own}/limits`)).body.data
  expect(bound.map(({ planId }: { planId: string }) => planId)).toEqual(Array(4).fill('tier-2'))
  expect((await operator('PATCH', own, { planId: null })).body.planId).toBeNull()
  expect((await owner('GET', `${own}/limits`)).body.data).toEqual([])
})

test('a tenant is made with a plan; one that does not exist, or has another currency, is refused', async () => {
  const made = await operator('POST', '/tenants', { name: 'on a plan', planId: 'monthly' })
  expect(made.body).toMatchObject({ planId: 'monthly' })
  await operator('POST', '/plans', { id: 'dollar', name: 'Dollar', rank: 1, currency: 'USD' })
  for (const planId of ['none', 'dollar']) {
    for (const answer of [
      await operator('POST', '/tenants', { name: `on ${planId}`, planId }),
      await operator('PATCH', own, { planId }),
    ])
      expect(answer.body.error).toMatchObject({ code: 'client.invalid_request', param: 'planId' })
  }
  const removed = await operator('DELETE', '/plans/monthly')
  expect(removed.body.error).toMatchObject({ code: 'client.conflict' })
})

test('a plan is made, gets limits, is changed and removed', async () => {
  const made = await operator('POST', '/plans', {
    id: 'startup',
    name: 'Startup',
    rank: 15,
    prepaid: true,
    upfrontCreditNanos: '100000000000',
  })
  expect(made.body).toMatchObject({ priority: 'normal', currency: 'EUR' })
  const rule = (await operator('POST', '/plans/startup/limits', { ...budget, per: 'key' })).body
  expect(rule).toMatchObject({ planId: 'startup', tenantId: null, per: 'key', setBy: 'platform' })
  const path = `/plans/startup/limits/${rule.id}`
  await operator('PATCH', path, { limit: '7', enforcement: 'shadow', onOutage: 'open' })
  const { rules } = (await operator('GET', '/plans/startup')).body
  expect(rules).toMatchObject([{ limit: '7', enforcement: 'shadow', onOutage: 'open' }])
  expect((await operator('DELETE', path)).body.id).toBe(rule.id)
  expect((await operator('DELETE', path)).status).toBe(404)
  const changed = await operator('PATCH', '/plans/startup', { upfrontCreditNanos: null })
  expect(changed.body).toMatchObject({ upfrontCreditNanos: null, prepaid: true })
  await operator('DELETE', '/plans/startup')
  expect((await operator('GET', '/plans/startup')).status).toBe(404)
})

test.each<[string, Record<string, unknown>, string]>([
  ['a number where a text belongs', { limit: 5 }, 'limit'],
  ['a negative limit', { limit: '-1' }, 'limit'],
  ['a fraction', { limit: '1.5' }, 'limit'],
  ['an exponent', { limit: '1e3' }, 'limit'],
  ['more than any counter holds', { limit: '1000000000000000001' }, 'limit'],
  ['no measure', { measure: undefined }, 'measure'],
  ['an unknown measure', { measure: 'bytes' }, 'measure'],
  ['no window', { window: undefined }, 'window'],
  ['an unknown window', { window: 'year' }, 'window'],
  ['a hard limit that opens', { onOutage: 'open' }, 'onOutage'],
  ['an unknown field', { setBy: 'platform' }, 'setBy'],
  ['an unknown subject', { per: 'model' }, 'per'],
])('%s is refused by its name, without effect', async (_what, change, param) => {
  const before = await platform.fingerprint()
  for (const path of [`${own}/limits`, '/plans/tier-1/limits']) {
    const answer = await operator('POST', path, { ...budget, ...change })
    expect(answer.status, answer.text).toBe(400)
    expect(answer.body.error).toMatchObject({ code: 'client.invalid_request', param })
  }
  expect(await platform.fingerprint()).toBe(before)
})

test.each([
  ['an id of other letters', { id: 'Tier 9' }, 'id'],
  ['a negative rank', { rank: -1 }, 'rank'],
  [
    'an upfront credit of nothing',
    { prepaid: true, upfrontCreditNanos: '0' },
    'upfrontCreditNanos',
  ],
  ['an upfront credit that is no number', { upfrontCreditNanos: 'x' }, 'upfrontCreditNanos'],
  ['an upfront credit without prepayment', { upfrontCreditNanos: '1' }, 'upfrontCreditNanos'],
  ['a currency that is none', { currency: 'euro' }, 'currency'],
])('a plan with %s is refused by its name', async (_what, change, param) => {
  const body = { id: 'wrong', name: 'Wrong', rank: 1, ...change }
  const answer = await operator('POST', '/plans', body)
  expect(answer.body.error).toMatchObject({ code: 'client.invalid_request', param })
})

test('what a limit names must exist, and be of that tenant', async () => {
  for (const [scope, param] of [
    [{ projectId: platform.other.projectId }, 'projectId'],
    [{ apiKeyId: platform.other.apiKeyId }, 'apiKeyId'],
    [{ modelId: 'none' }, 'modelId'],
  ] as const) {
    const answer = await operator('POST', `${own}/limits`, { ...budget, ...scope })
    expect(answer.status).toBe(404)
    expect(answer.body.error).toMatchObject({ param })
  }
  const scope = { projectId: platform.own.projectId, apiKeyId: platform.own.apiKeyId }
  const made = await operator('POST', `${own}/limits`, {
    ...budget,
    ...scope,
    modelId: 'gemma3:27b',
  })
  expect(made.body).toMatchObject({ ...scope, modelId: 'gemma3:27b', tenantId: platform.own.id })
})

test('a tenant tightens its own limits, and leaves those of the platform and of its plan alone', async () => {
  await operator('PATCH', own, { planId: 'tier-1' })
  const platforms = (await operator('POST', `${own}/limits`, budget)).body
  const tenants = (await owner('POST', `${own}/limits`, { ...budget, limit: '1' })).body
  expect([platforms.setBy, tenants.setBy]).toEqual(['platform', 'tenant'])
  const { plan } = (await owner('GET', `${own}/plan`)).body
  for (const id of [platforms.id, plan.rules[0].id]) {
    const before = await platform.fingerprint()
    for (const [method, body] of [['PATCH', { limit: '9' }], ['DELETE']] as const) {
      const answer = await owner(method, `${own}/limits/${id}`, body)
      expect(answer.status, answer.text).toBe(403)
      expect(answer.body.error.code).toBe('auth.permission_denied')
    }
    expect(await platform.fingerprint()).toBe(before)
  }
  const path = `${own}/limits/${tenants.id}`
  expect((await owner('PATCH', path, { limit: '2' })).body).toMatchObject({ limit: '2' })
  expect((await operator('PATCH', path, { limit: '3' })).body).toMatchObject({ setBy: 'tenant' })
  expect((await owner('DELETE', path)).status).toBe(200)
  const ofPlan = await operator('PATCH', `${own}/limits/${plan.rules[0].id}`, { limit: '9' })
  expect(ofPlan.status).toBe(409)
  expect(ofPlan.body.error.message).toContain("plan 'tier-1'")
  await operator('PATCH', own, { planId: null })
})

test("another tenant's limits and credit are out of reach, by path and by id", async () => {
  const foreign = (await operator('POST', `${other}/limits`, budget)).body
  await operator('POST', `${other}/credit`, { amountNanos: '42424242' })
  const before = await platform.fingerprint()
  for (const [method, path, body] of [
    ['GET', `${other}/limits`],
    ['GET', `${other}/limits/status`],
    ['GET', `${other}/credit`],
    ['PATCH', `${own}/limits/${foreign.id}`, { limit: '0' }],
    ['DELETE', `${own}/limits/${foreign.id}`],
    ['PATCH', `${other}/limits/${foreign.id}`, { limit: '0' }],
  ] as const) {
    const answer = await owner(method, path, body)
    expect(answer.status, `${method} ${path}`).toBe(404)
    expect(answer.text).not.toContain('42424242')
  }
  expect((await owner('POST', `${own}/credit`, { amountNanos: '1' })).status).toBe(403)
  expect(await platform.fingerprint()).toBe(before)
})

test('credit is granted and corrected, shown with its balance, and found in the audit log', async () => {
  const last = await platform.lastAuditSequence()
  const made = await operator('POST', `${own}/credit`, {
    amountNanos: '500000000000',
    note: 'wire',
  })
  expect(made.body).toMatchObject({ amountNanos: '500000000000', currency: 'EUR', note: 'wire' })
  await operator('POST', `${own}/credit`, { amountNanos: '-100000000000' })
  const over = await operator('POST', `${own}/credit`, { amountNanos: '-400000000001' })
  expect(over.body.error).toMatchObject({ code: 'client.conflict', param: 'amountNanos' })
  const seen = await as('tenant', 'billing')('GET', `${own}/credit`)
  expect(seen.body.data).toHaveLength(2)
  expect(seen.body.balance).toEqual({
    currency: 'EUR',
    grantedNanos: '400000000000',
    spentNanos: '0',
    remainingNanos: '400000000000',
  })
  expect(await platform.auditEntries(last)).toMatchObject([
    {
      action: 'credit.grant',
      resource: made.body.id,
      tenantId: platform.own.id,
      details: { amountNanos: '500000000000', note: 'wire' },
    },
    { action: 'credit.grant', outcome: 'done' },
    { action: 'credit.grant', outcome: 'refused', details: { code: 'client.conflict' } },
  ])
  for (const amountNanos of ['0', '', '1.5', '--1', 5, '1000000000000000001'])
    expect((await operator('POST', `${own}/credit`, { amountNanos })).status).toBe(400)
})

test('where the counters stand is read by the tenant, by an exact sum over leases', async () => {
  const made = await operator('POST', `${own}/limits`, {
    measure: 'requests',
    window: 'lifetime',
    limit: '10',
  })
  const { id } = made.body
  const counter = [id, platform.own.id, '1970-01-01T00:00:00Z'] as const
  await platform.run(async (tx) => {
    await sql`INSERT INTO limit_counters (rule_id, subject, window_start, tenant_id) VALUES (${sql.join(counter)}, ${platform.own.id})`.execute(
      tx,
    )
    await sql`INSERT INTO limit_leases (rule_id, subject, window_start, life_id, spent, used) VALUES
      (${sql.join(counter)}, 'lif_1', 2, 4), (${sql.join(counter)}, 'lif_2', 3, 0)`.execute(tx)
  })
  for (const caller of [owner, operator]) {
    const { data } = (await caller('GET', `${own}/limits/status`)).body
    expect(data.find((use: { ruleId: string }) => use.ruleId === id)).toMatchObject({
      subject: platform.own.id,
      windowStart: null,
      windowEnd: null,
      limit: '10',
      used: '7',
      remaining: '3',
      rule: { id, measure: 'requests' },
    })
  }
})

test('refusals are reported to the tenant, and of all tenants to the platform', async () => {
  await platform.run((tx) =>
    sql`INSERT INTO limit_refusals (rule_id, subject, tenant_id, model_id, hour, shadow, refusals) VALUES
      ('credit', ${platform.own.id}, ${platform.own.id}, 'gemma3:27b', '2026-11-21T12:00:00Z', false, 3),
      ('lim_gone', ${platform.own.id}, ${platform.own.id}, 'gemma3:27b', '2026-11-21T13:00:00Z', true, 5),
      ('credit', ${platform.other.id}, ${platform.other.id}, 'gemma3:27b', '2026-11-21T13:00:00Z', false, 1)`.execute(
      tx,
    ),
  )
  const seen = await owner('GET', `${own}/limits/refusals`)
  expect(seen.body.data).toMatchObject([
    {
      hour: '2026-11-21T13:00:00.000Z',
      ruleId: 'lim_gone',
      rule: null,
      refused: 0,
      wouldHaveRefused: 5,
    },
    { hour: '2026-11-21T12:00:00.000Z', ruleId: 'credit', refused: 3, wouldHaveRefused: 0 },
  ])
  const all = await operator('GET', '/limits/refusals?from=2026-11-21T13:00:00Z')
  expect(all.body.data.map(({ tenantId }: { tenantId: string }) => tenantId).toSorted()).toEqual(
    [platform.own.id, platform.other.id].toSorted(),
  )
  const page = await operator('GET', '/limits/refusals?limit=1&to=2026-11-21T14:00:00Z')
  expect(page.body).toMatchObject({ hasMore: true })
})

test('a change of plans, limits or credit reaches the gateways by a new version of the snapshot', async () => {
  const version = async (): Promise<bigint> => {
    const found = await platform.run((tx) =>
      sql<{ version: bigint }>`SELECT version FROM snapshot_state`.execute(tx),
    )
    return found.rows[0]?.version ?? 0n
  }
  for (const change of [
    () => operator('PATCH', own, { planId: 'tier-3' }),
    () => operator('PATCH', '/plans/tier-3', { priority: 'high' }),
    () => owner('POST', `${own}/limits`, budget),
    () => operator('POST', `${own}/credit`, { amountNanos: '1' }),
  ]) {
    const before = await version()
    const answer = await change()
    expect(answer.status, answer.text).toBe(200)
    expect(await version()).toBeGreaterThan(before)
  }
})
