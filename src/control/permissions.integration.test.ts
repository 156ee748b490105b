/**
 * Every operation × every role × {own tenant, other tenant}: allowed exactly as role.ts says, and refused without effect otherwise. An operation
 * that is added without a line in `requests` fails here.
 */
import { sql } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  startControlPlatform,
  type Answer,
  type ControlPlatform,
  type TestActor,
} from '../../test/control-platform.ts'
import { newId, randomBase62 } from '../platform/ids.ts'
import { platformScope } from '../platform/postgres/database.ts'
import { platformRights, tenantRights } from '../identity/role.ts'
import type { Operation } from './operation.ts'
import { operations } from './operations.ts'

interface Request {
  /** Values of the path's parameters besides `tenantId`. */
  readonly params?: Readonly<Record<string, string>>
  readonly query?: string
  readonly body?: unknown
}

let platform: ControlPlatform
let count = 0
const next = (): string => {
  count += 1
  return `thing-${count}`
}

beforeAll(async () => {
  platform = await startControlPlatform()
  await asOperator('POST', '/engines', { url: platform.engineUrl, name: 'house' })
  const node = { nodeName: 'here', hardware: {}, replicas: [] }
  const { secret } = platform.actor('platform', 'agent')
  await platform.call({ method: 'POST', path: '/agent/report', token: secret, body: node })
})
afterAll(() => platform?.close())

async function asOperator(method: string, path: string, body?: unknown) {
  const { secret } = platform.actor('platform', 'operator')
  const answer = await platform.call({ method, path, token: secret, body })
  expect(answer.status, answer.text).toBe(200)
  return answer.body
}

async function newKey(tenantId: string): Promise<string> {
  const { data } = await asOperator('GET', `/tenants/${tenantId}/projects`)
  const body = { projectId: data[0].id, name: next() }
  return (await asOperator('POST', `/tenants/${tenantId}/keys`, body)).key.id
}

async function newToken(path: string): Promise<string> {
  return (await asOperator('POST', path, { name: next(), role: 'auditor' })).token.id
}

async function newModel(): Promise<string> {
  const body = { id: next(), weightSources: ['file:/models/a.gguf'] }
  return (await asOperator('POST', '/models', body)).id
}

const existing = { params: { modelId: 'gemma3:27b' } }
async function newPlan(): Promise<string> {
  return (await asOperator('POST', '/plans', { id: next(), name: next(), rank: 1 })).id
}

/** One that was last heard of long ago. */
async function newGateway(): Promise<string> {
  const gatewayId = newId('gw')
  await platform.database.transaction(platformScope, (tx) =>
    sql`INSERT INTO gateway_lives (id, gateway_id, seen_at) VALUES (${newId('lif')}, ${gatewayId}, '2026-01-01')`.execute(
      tx,
    ),
  )
  return gatewayId
}

async function newUsage(tenantId: string): Promise<string> {
  const requestId = newId('req')
  const price = { version: 'standard', nanos: { input_token: '900', output_token: '4000' } }
  await platform.database.transaction(platformScope, (tx) =>
    sql`
      INSERT INTO usage_events (tenant_id, request_id, leg, project_id, api_key_id, model_id, gateway_id, journal_sequence, endpoint, streamed, outcome,
        input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, amount_nanos, currency, price, duration_ms, started_at, settled_at)
      VALUES (${tenantId}, ${requestId}, 0, 'prj', 'key', 'm', 'gw', 1, '/v1/chat/completions', false, 'completed', 1, 0, 1, 0, 4900, 'EUR',
        ${JSON.stringify(price)}, 1, now(), now())`.execute(tx),
  )
  return requestId
}

const conformanceRun = {
  suiteVersion: '2026-01-01',
  programVersion: '1.0.0',
  startedAt: '2026-01-01T00:00:00.000Z',
  finishedAt: '2026-01-01T00:01:00.000Z',
  checks: [{ id: 'chat.n', title: 'n', required: true, result: 'passed', durationMs: 1 }],
}

const limit = { measure: 'requests', window: 'minute', limit: '7' }

async function newPlanLimit(): Promise<{ planId: string; ruleId: string }> {
  const planId = await newPlan()
  const { id } = await asOperator('POST', `/plans/${planId}/limits`, limit)
  return { planId, ruleId: id }
}

/** Of the tenant's own making where it has members here: those may change no other. */
async function newLimit(tenantId: string): Promise<string> {
  const isOwn = tenantId === platform.own.id
  const { secret } = platform.actor(isOwn ? 'tenant' : 'platform', isOwn ? 'owner' : 'operator')
  const path = `/tenants/${tenantId}/limits`
  const answer = await platform.call({ method: 'POST', path, token: secret, body: limit })
  expect(answer.status, answer.text).toBe(200)
  return answer.body.id
}

async function newBatch(tenantId: string): Promise<string> {
  const { data } = await asOperator('GET', `/tenants/${tenantId}/projects`)
  const batchId = `batch_${randomBase62(24)}`
  await platform.database.transaction(platformScope, (tx) =>
    sql`
      INSERT INTO batches (id, tenant_id, project_id, api_key_id, endpoint, input_file_id, output_expires_after_s, created_at, expires_at)
      VALUES (${batchId}, ${tenantId}, ${data[0].id}, 'key', '/v1/chat/completions', 'file', 3600, now(), now())`.execute(
      tx,
    ),
  )
  return batchId
}

/** A request that succeeds for whoever may make it. What it acts on is made afresh where it is used up. */
const requests: Readonly<Record<string, (tenantId: string) => Promise<Request> | Request>> = {
  'batches.list': () => ({}),
  'batches.get': async (tenantId) => ({ params: { batchId: await newBatch(tenantId) } }),
  'batches.cancel': async (tenantId) => ({ params: { batchId: await newBatch(tenantId) } }),
  'agent.desired': () => ({ query: 'node=here' }),
  'agent.report': () => ({ body: { nodeName: 'here', hardware: {}, replicas: [] } }),
  'aliases.list': () => ({}),
  'aliases.set': () => ({ params: { alias: next() }, body: { modelId: 'gemma3:27b' } }),
  async 'aliases.remove'() {
    const alias = next()
    await asOperator('PUT', `/aliases/${alias}`, { modelId: 'gemma3:27b' })
    return { params: { alias } }
  },
  'audit.list': () => ({}),
  'tenant-audit.list': () => ({}),
  'conformance.list': () => existing,
  'conformance.record': () => ({ ...existing, body: conformanceRun }),
  'credit.grant': () => ({ body: { amountNanos: '1000', note: next() } }),
  'credit.list': () => ({}),
  'engines.create': () => ({ body: { url: platform.engineUrl, name: next() } }),
  'engines.list': () => ({}),
  async 'engines.remove'() {
    const { data } = await asOperator('POST', '/engines', { url: platform.engineUrl, name: next() })
    return { params: { replicaId: data[0].id } }
  },
  async 'keys.create'(tenantId) {
    const { data } = await asOperator('GET', `/tenants/${tenantId}/projects`)
    return { body: { projectId: data[0].id, name: next() } }
  },
  'keys.list': () => ({}),
  'keys.revoke': async (tenantId) => ({ params: { keyId: await newKey(tenantId) } }),
  'keys.rotate': async (tenantId) => ({ params: { keyId: await newKey(tenantId) }, body: {} }),
  'keys.update': async (tenantId) => ({
    params: { keyId: await newKey(tenantId) },
    body: { name: next() },
  }),
  'gateways.list': () => ({}),
  'gateways.retire': async () => ({ params: { gatewayId: await newGateway() } }),
  'limits.create': () => ({ body: limit }),
  'limits.list': () => ({}),
  'limits.remove': async (tenantId) => ({ params: { ruleId: await newLimit(tenantId) } }),
  'limits.report': () => ({}),
  'limits.status': () => ({}),
  'limits.update': async (tenantId) => ({
    params: { ruleId: await newLimit(tenantId) },
    body: { limit: '8' },
  }),
  'tenant-limits.report': () => ({}),
  'models.create': () => ({ body: { id: next(), weightSources: ['file:/models/a.gguf'] } }),
  'models.disable': async () => ({ params: { modelId: await newModel() } }),
  'models.enable': async () => ({ params: { modelId: await newModel() }, body: {} }),
  'models.get': () => existing,
  'models.list': () => ({}),
  'models.remove': async () => ({ params: { modelId: await newModel() } }),
  'plans.create': () => ({ body: { id: next(), name: next(), rank: 1 } }),
  'plans.get': async () => ({ params: { planId: await newPlan() } }),
  'plans.list': () => ({}),
  'plans.remove': async () => ({ params: { planId: await newPlan() } }),
  'plans.update': async () => ({ params: { planId: await newPlan() }, body: { rank: 2 } }),
  'plan-limits.create': async () => ({ params: { planId: await newPlan() }, body: limit }),
  'plan-limits.remove': async () => ({ params: await newPlanLimit() }),
  'plan-limits.update': async () => ({ params: await newPlanLimit(), body: { limit: '8' } }),
  'tenant-plans.get': () => ({}),
  'prices.list': () => ({ query: 'modelId=gemma3:27b' }),
  'prices.set': async () => ({
    body: { modelId: await newModel(), priceListId: 'standard', amounts: { input_token: '7' } },
  }),
  'projects.create': () => ({ body: { name: next() } }),
  'projects.list': () => ({}),
  async 'projects.update'(tenantId) {
    const made = await asOperator('POST', `/tenants/${tenantId}/projects`, { name: next() })
    return { params: { projectId: made.id }, body: { state: 'archived' } }
  },
  'tenants.create': () => ({ body: { name: next() } }),
  'tenants.get': () => ({}),
  'tenants.list': () => ({}),
  'tenants.update': () => ({ body: { name: next() } }),
  'tokens.create': () => ({ body: { name: next(), role: 'auditor' } }),
  'tokens.list': () => ({}),
  'tokens.revoke': async () => ({ params: { tokenId: await newToken('/tokens') } }),
  'tenant-tokens.create': () => ({ body: { name: next(), role: 'auditor' } }),
  'tenant-tokens.list': () => ({}),
  'tenant-tokens.revoke': async (tenantId) => ({
    params: { tokenId: await newToken(`/tenants/${tenantId}/tokens`) },
  }),
  'reconciliation.list': () => ({}),
  'reconciliation.run': () => ({ body: {} }),
  'usage.report': () => ({}),
  'tenant-usage.report': () => ({}),
  'receipts.get': async (tenantId) => ({ params: { requestId: await newUsage(tenantId) } }),
}

const actsOnTenant = (operation: Operation): boolean => operation.path.includes(':tenantId')
const isAudited = (operation: Operation): boolean =>
  operation.method !== 'GET' && operation.audit !== 'none'

async function makeCall(operation: Operation, tenantId: string) {
  const make = requests[operation.id]
  expect(make, `requests has no line for ${operation.id}`).toBeDefined()
  const { params, query, body } = (await make?.(tenantId)) ?? {}
  return { method: operation.method, path: pathOf(operation, { tenantId, ...params }, query), body }
}

function pathOf(
  operation: Operation,
  params: Readonly<Record<string, string>>,
  query: string | undefined,
): string {
  const path = operation.path.replaceAll(/:(\w+)/g, (_, name: string) =>
    encodeURIComponent(params[name] ?? ''),
  )
  return query === undefined ? path : `${path}?${query}`
}

/** What role.ts promises, worked out here once more. */
function expectedStatus(operation: Operation, actor: TestActor, target: 'own' | 'other'): number {
  const table: Readonly<Record<string, readonly string[]>> =
    actor.tenantId === null ? platformRights : tenantRights
  const may = table[actor.role]?.includes(operation.permission) ?? false
  if (actor.tenantId === null) return may ? 200 : 403
  if (!actsOnTenant(operation)) return 403
  if (target === 'other') return 404
  return may ? 200 : 403
}

async function check(
  operation: Operation,
  target: 'own' | 'other',
  attempt: {
    readonly actor: TestActor
    readonly request: Awaited<ReturnType<typeof makeCall>>
    readonly expected: number
  },
): Promise<void> {
  const { actor, request, expected } = attempt
  const last = await platform.lastAuditSequence()
  const answer = await platform.call({ ...request, token: actor.secret })
  const entries = await platform.auditEntries(last)

  const who = `${actor.tenantId === null ? 'platform' : 'tenant'} ${actor.role}`
  expect(answer.status, `${who}: ${answer.text}`).toBe(expected)
  if (!isAudited(operation)) {
    expect(entries, who).toEqual([])
    return
  }
  expect(entries, who).toMatchObject([
    {
      action: operation.id,
      actor: actor.tokenId,
      role: actor.role,
      requestId: answer.headers['x-request-id'],
      outcome: expected === 200 ? 'done' : 'refused',
      tenantId: expected === 200 ? concernedTenant(operation, target, answer) : actor.tenantId,
    },
  ])
}

/** Whose log shows a change that was made: a refused one is in the log of who tried. */
function concernedTenant(
  operation: Operation,
  target: 'own' | 'other',
  answer: Answer,
): string | null {
  if (operation.id === 'tenants.create') return answer.body.id
  return actsOnTenant(operation) ? platform[target].id : null
}

test('every operation has a request here, and no request is left over', () => {
  expect(Object.keys(requests).toSorted()).toEqual(operations.map(({ id }) => id).toSorted())
})

test('ids and routes are taken once', () => {
  expect(new Set(operations.map(({ id }) => id)).size).toBe(operations.length)
  const routes = operations.map(({ method, path }) => `${method} ${path.replaceAll(/:\w+/g, ':')}`)
  expect(new Set(routes).size).toBe(operations.length)
})

describe.each(operations.map((operation) => [operation.id, operation] as const))(
  '%s',
  (_id, operation) => {
    const targets = actsOnTenant(operation) ? (['own', 'other'] as const) : (['own'] as const)

    test.each(targets)(
      'is open to the roles that may, and to no other (%s tenant)',
      async (target) => {
        const attempts = []
        for (const actor of platform.actors) {
          const request = await makeCall(operation, platform[target].id)
          attempts.push({ actor, request, expected: expectedStatus(operation, actor, target) })
        }
        const before = await platform.fingerprint()
        for (const attempt of attempts.filter(({ expected }) => expected !== 200))
          await check(operation, target, attempt)
        expect(await platform.fingerprint()).toBe(before)
        for (const attempt of attempts.filter(({ expected }) => expected === 200))
          await check(operation, target, attempt)
      },
    )

    test('is closed to callers without a valid token, who leave no trace', async () => {
      const request = await makeCall(operation, platform.own.id)
      const revoked = await newRevokedToken()
      const before = [await platform.fingerprint(), await platform.lastAuditSequence()]
      for (const token of [undefined, revoked, platform.own.apiKeySecret, 'cln_a_live_x', 'x']) {
        const answer = await platform.call({ ...request, token })
        expect(answer.status).toBe(401)
        expect(answer.body.error.code).toBe(
          token === undefined ? 'auth.missing_key' : 'auth.invalid_key',
        )
      }
      expect([await platform.fingerprint(), await platform.lastAuditSequence()]).toEqual(before)
    })

    if (actsOnTenant(operation)) {
      test("another tenant's answers like one that does not exist", async () => {
        const { secret } = platform.actor('tenant', 'owner')
        const foreign = await platform.call({
          ...(await makeCall(operation, platform.other.id)),
          token: secret,
        })
        const request = await makeCall(operation, platform.other.id)
        const path = request.path.replace(platform.other.id, 'ten_0000000000000000')
        const missing = await platform.call({ ...request, path, token: secret })
        const operator = platform.actor('platform', 'operator').secret
        const toOperator = await platform.call({ ...request, path, token: operator })
        expect(foreign.status).toBe(404)
        expect(foreign.text).toBe(missing.text)
        expect(toOperator.text).toBe(missing.text)
      })
    }
  },
)

async function newRevokedToken(): Promise<string> {
  const { token, secret } = await asOperator('POST', '/tokens', { name: next(), role: 'operator' })
  await asOperator('POST', `/tokens/${token.id}/revoke`)
  return secret
}

test('an operator of one tenant cannot reach into another by ids below its own tenant', async () => {
  const { secret } = platform.actor('tenant', 'owner')
  const foreignKey = await newKey(platform.other.id)
  const foreignToken = await newToken(`/tenants/${platform.other.id}/tokens`)
  const before = await platform.fingerprint()
  const own = `/tenants/${platform.own.id}`
  for (const [method, path, body] of [
    ['POST', `${own}/keys/${foreignKey}/revoke`],
    ['POST', `${own}/keys/${foreignKey}/rotate`, {}],
    ['PATCH', `${own}/keys/${foreignKey}`, { name: 'mine now' }],
    ['POST', `${own}/tokens/${foreignToken}/revoke`],
    ['PATCH', `${own}/projects/${platform.other.projectId}`, { state: 'archived' }],
    ['POST', `${own}/keys`, { projectId: platform.other.projectId, name: 'planted' }],
  ] as const) {
    const answer = await platform.call({ method, path, body, token: secret })
    expect(answer.status, `${method} ${path}: ${answer.text}`).toBe(404)
  }
  const usage = await platform.call({
    method: 'GET',
    path: `${own}/usage?tenantId=${platform.other.id}`,
    token: secret,
  })
  expect(usage.text).not.toContain(platform.other.id)
  expect(await platform.fingerprint()).toBe(before)
})

test("members of a tenant work with the tenant's role of the database, operators with the platform's", async () => {
  const calls: Awaited<ReturnType<typeof makeCall>>[] = []
  for (const operation of operations.filter(actsOnTenant))
    calls.push(await makeCall(operation, platform.own.id))
  const statuses = async (actor: TestActor): Promise<ReadonlySet<number>> => {
    const answers = calls.map((request) => platform.call({ ...request, token: actor.secret }))
    return new Set((await Promise.all(answers)).map(({ status }) => status))
  }
  await asDatabaseOwner('REVOKE SELECT ON tenants FROM colonnade_tenant')
  try {
    // 403 for what owners may not do; the rest fails in the database, and nothing gets through.
    expect(await statuses(platform.actor('tenant', 'owner'))).toEqual(new Set([500, 403]))
    expect(await statuses(platform.actor('platform', 'operator'))).toEqual(new Set([200]))
  } finally {
    await asDatabaseOwner('GRANT SELECT ON tenants TO colonnade_tenant')
  }
})

async function asDatabaseOwner(statement: string): Promise<void> {
  const owner = new pg.Client({ connectionString: platform.ownerUrl })
  await owner.connect()
  try {
    await owner.query(statement)
  } finally {
    await owner.end()
  }
}

test('no change is kept when its audit entry cannot be written', async () => {
  const audited = operations.filter(isAudited)
  const calls = []
  for (const operation of audited) calls.push(await makeCall(operation, platform.own.id))
  const { secret } = platform.actor('platform', 'operator')
  const signature = 'append_audit(timestamptz, text, text, text, text)'
  await asDatabaseOwner(`REVOKE EXECUTE ON FUNCTION ${signature} FROM colonnade_platform`)
  try {
    const before = await platform.fingerprint()
    for (const request of calls) {
      const answer = await platform.call({ ...request, token: secret })
      expect(answer.status, `${request.method} ${request.path}: ${answer.text}`).toBe(500)
    }
    expect(await platform.fingerprint()).toBe(before)
  } finally {
    await asDatabaseOwner(`GRANT EXECUTE ON FUNCTION ${signature} TO colonnade_platform`)
  }
  for (const request of calls) {
    const answer = await platform.call({ ...request, token: secret })
    expect(answer.status, `${request.method} ${request.path}: ${answer.text}`).toBe(200)
  }
})
