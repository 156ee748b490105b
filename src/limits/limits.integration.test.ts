import { afterAll, beforeAll, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import { systemClock } from '../platform/clock.ts'
import { newId } from '../platform/ids.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'
import { listen } from '../platform/postgres/listen.ts'
import { sql } from 'kysely'
import { openLimits, type Decision, type Grip, type Limits } from './limits.ts'
import type { LimitRecords, LimitRuleRecord, Measure } from './rule.ts'
import { leaseAuthority } from './store.ts'

let testDatabase: TestDatabase
let database: Database
const tenantId = newId('ten')

beforeAll(async () => {
  testDatabase = await (await postgresForTests()).createDatabase()
  database = openDatabase({
    url: testDatabase.appUrl,
    connectionsMax: 8,
    statementTimeoutMs: 5_000,
    applicationName: 'limits-test',
    onError: () => {},
  })
  await database.transaction(platformScope, async (tx) => {
    await sql`INSERT INTO price_lists VALUES ('list', 'List', 'EUR', 'test') ON CONFLICT DO NOTHING`.execute(
      tx,
    )
    await sql`INSERT INTO tenants (id, name, price_list_id) VALUES (${tenantId}, 'Acme', 'list')`.execute(
      tx,
    )
  })
})

afterAll(async () => {
  await database.close()
  await testDatabase.close()
})

interface Gateway {
  readonly limits: Limits
  readonly gatewayId: string
  stop(): Promise<void>
}

function startGateway(records: LimitRecords): Gateway {
  const gatewayId = newId('gw')
  const limits = openLimits({
    authority: leaseAuthority(database),
    clock: systemClock,
    timeZone: 'Europe/Paris',
    gatewayId,
    newLifeId: () => newId('lif'),
    onFailure: (error) => {
      throw error
    },
  })
  limits.apply(records)
  const listener = listen({
    url: testDatabase.appUrl,
    channel: 'limits',
    onNotice: limits.heard,
    onError: () => {},
  })
  return {
    limits,
    gatewayId,
    async stop() {
      await listener.close()
      await limits.close(false)
    },
  }
}

async function createRule(
  rule: Partial<LimitRuleRecord> & { measure: Measure; limit: string },
): Promise<LimitRuleRecord> {
  const record: LimitRuleRecord = {
    id: newId('lim'),
    tenantId,
    per: 'tenant',
    window: 'lifetime',
    enforcement: 'hard',
    onOutage: 'closed',
    ...rule,
  }
  await database.transaction(platformScope, (tx) =>
    sql`INSERT INTO limit_rules (id, tenant_id, per, measure, time_window, limit_value, enforcement, on_outage)
      VALUES (${record.id}, ${tenantId}, ${record.per}, ${record.measure}, ${record.window}, ${record.limit}::bigint, ${record.enforcement}, ${record.onOutage})`.execute(
      tx,
    ),
  )
  return record
}

const recordsOf = (rules: readonly LimitRuleRecord[]): LimitRecords => ({
  plans: [],
  rules,
  tenantPlans: [],
  credits: [],
})
const scope = { tenantId, projectId: newId('prj'), apiKeyId: newId('key'), modelId: 'm' }

function grip(decision: Decision): Grip {
  if (decision.outcome !== 'admitted') throw new Error(`refused: ${decision.refusal.cause}`)
  return decision.grip
}

function spend(decision: Decision, amount: bigint): void {
  const held = grip(decision)
  held.settle((measure) => (measure === 'concurrency' ? 0n : amount))
  held.release()
}

const grantedOf = async (rule: LimitRuleRecord): Promise<bigint> => {
  const rows = await database.transaction(platformScope, (tx) =>
    sql<{
      granted: bigint
    }>`SELECT sum(granted)::bigint AS granted FROM limit_leases WHERE rule_id = ${rule.id}`.execute(
      tx,
    ),
  )
  return rows.rows[0]?.granted ?? 0n
}

test('one gateway admits exactly what a lifetime amount allows', async () => {
  const rule = await createRule({ measure: 'amount', limit: '1000' })
  const gateway = startGateway(recordsOf([rule]))
  try {
    const decisions = await Promise.all(
      Array.from({ length: 40 }, async () => {
        const decision = await gateway.limits.reserve(scope, { amount: 100n }, { amount: 150n })
        if (decision.outcome === 'admitted') {
          await new Promise((resolve) => setTimeout(resolve, 5))
          spend(decision, 100n)
        }
        return decision.outcome
      }),
    )
    expect(decisions.filter((outcome) => outcome === 'admitted')).toHaveLength(10)
  } finally {
    await gateway.stop()
  }
})

test('three gateways together admit exactly what is left, and refuse nothing before', async () => {
  for (const k of [0, 1, 7, 50]) {
    const rule = await createRule({ measure: 'amount', limit: String(k * 100 + 99) })
    const gateways = [1, 2, 3].map(() => startGateway(recordsOf([rule])))
    try {
      const outcomes = await Promise.all(
        Array.from({ length: 100 }, async (_, index) => {
          const gateway = gateways[index % 3]
          if (!gateway) throw new Error('three gateways')
          const decision = await gateway.limits.reserve(scope, { amount: 100n }, { amount: 180n })
          if (decision.outcome === 'admitted') {
            await new Promise((resolve) => setTimeout(resolve, index % 20))
            spend(decision, 100n)
          }
          return decision.outcome
        }),
      )
      expect(
        outcomes.filter((outcome) => outcome === 'admitted'),
        `k = ${k}`,
      ).toHaveLength(k)
      expect(await grantedOf(rule)).toBeLessThanOrEqual(BigInt(k * 100 + 99))
    } finally {
      await Promise.all(gateways.map((gateway) => gateway.stop()))
    }
  }
})

test('a slice that another gateway does not use is recalled for whoever needs it', async () => {
  const rule = await createRule({ measure: 'tokens', limit: '1000' })
  const [first, second] = [startGateway(recordsOf([rule])), startGateway(recordsOf([rule]))]
  try {
    // The first one holds a slice beyond what it uses.
    spend(await first.limits.reserve(scope, { tokens: 10n }, { tokens: 10n }), 10n)
    spend(await first.limits.reserve(scope, { tokens: 10n }, { tokens: 10n }), 10n)
    const decision = await second.limits.reserve(scope, { tokens: 980n }, { tokens: 980n })
    expect(decision.outcome).toBe('admitted')
    const refused = await first.limits.reserve(scope, { tokens: 1n }, { tokens: 1n })
    expect(refused.outcome).toBe('refused')
  } finally {
    await Promise.all([first.stop(), second.stop()])
  }
})

test('what a dead life held and did not spend comes back with its journal', async () => {
  const rule = await createRule({ measure: 'amount', limit: '100' })
  const dead = startGateway(recordsOf([rule]))
  grip(await dead.limits.reserve(scope, { amount: 60n }, { amount: 60n }))
  await dead.stop()
  const alive = startGateway(recordsOf([rule]))
  try {
    const waiting = alive.limits.reserve(scope, { amount: 80n }, { amount: 80n })
    await database.transaction(platformScope, async (tx) => {
      // As apply_journal notes what the crashed request is billed for.
      await sql`UPDATE limit_leases SET spent = 20 WHERE rule_id = ${rule.id} AND life_id IN (SELECT id FROM gateway_lives WHERE gateway_id = ${dead.gatewayId})`.execute(
        tx,
      )
      await sql`SELECT reclaim_leases(${dead.gatewayId}, '', true)`.execute(tx)
    })
    expect((await waiting).outcome).toBe('admitted')
  } finally {
    await alive.stop()
  }
})

test('requests under way are counted, and their places come back at once', async () => {
  const rule = await createRule({ measure: 'concurrency', limit: '3' })
  const [first, second] = [startGateway(recordsOf([rule])), startGateway(recordsOf([rule]))]
  try {
    const held = [
      await first.limits.reserve(scope, { concurrency: 1n }, {}),
      await second.limits.reserve(scope, { concurrency: 1n }, {}),
      await first.limits.reserve(scope, { concurrency: 1n }, {}),
    ]
    expect(held.map((decision) => decision.outcome)).toEqual(['admitted', 'admitted', 'admitted'])
    const waiting = second.limits.reserve(scope, { concurrency: 1n }, {})
    for (const decision of held) spend(decision, 0n)
    expect((await waiting).outcome).toBe('admitted')
  } finally {
    await Promise.all([first.stop(), second.stop()])
  }
})

test('a refusal names the rule, what is left and when it clears', async () => {
  const rule = await createRule({ measure: 'requests', limit: '1', window: 'day' })
  const gateway = startGateway(recordsOf([rule]))
  try {
    spend(await gateway.limits.reserve(scope, { requests: 1n }, {}), 1n)
    const decision = await gateway.limits.reserve(scope, { requests: 1n }, {})
    expect(decision).toMatchObject({
      outcome: 'refused',
      refusal: {
        cause: 'exhausted',
        limit: 1n,
        needed: 1n,
        remaining: 0n,
        rule: { ruleId: rule.id },
      },
    })
    if (decision.outcome === 'refused') {
      expect(decision.refusal.clearsInMs).toBeGreaterThan(0)
      expect(decision.refusal.clearsInMs).toBeLessThanOrEqual(25 * 3_600_000)
    }
  } finally {
    await gateway.stop()
  }
})

test('a shadow rule refuses nothing, and its report tells what it would have refused', async () => {
  const rule = await createRule({ measure: 'requests', limit: '2', enforcement: 'shadow' })
  const gateway = startGateway(recordsOf([rule]))
  for (let index = 0; index < 5; index += 1)
    spend(await gateway.limits.reserve(scope, { requests: 1n }, {}), 1n)
  // Its counter is judged with the next reply.
  await new Promise((resolve) => setTimeout(resolve, 200))
  await gateway.stop()
  const rows = await database.transaction(platformScope, (tx) =>
    sql<{
      refusals: bigint
      shadow: boolean
    }>`SELECT refusals, shadow FROM limit_refusals WHERE rule_id = ${rule.id}`.execute(tx),
  )
  expect(rows.rows).toEqual([{ refusals: 3n, shadow: true }])
})

test('a raised limit lets in at once, a lowered one refuses', async () => {
  const rule = await createRule({ measure: 'requests', limit: '1' })
  const gateway = startGateway(recordsOf([rule]))
  const change = async (limit: string): Promise<void> => {
    await database.transaction(platformScope, (tx) =>
      sql`UPDATE limit_rules SET limit_value = ${limit}::bigint WHERE id = ${rule.id}`.execute(tx),
    )
    gateway.limits.apply(recordsOf([{ ...rule, limit }]))
  }
  const next = async (): Promise<string> => {
    const decision = await gateway.limits.reserve(scope, { requests: 1n }, {})
    if (decision.outcome === 'admitted') spend(decision, 1n)
    return decision.outcome
  }
  try {
    expect([await next(), await next()]).toEqual(['admitted', 'refused'])
    await change('3')
    expect([await next(), await next(), await next()]).toEqual(['admitted', 'admitted', 'refused'])
    await change('1000')
    expect(await next()).toBe('admitted')
    await change('2')
    expect(await next()).toBe('refused')
  } finally {
    await gateway.stop()
  }
})

test('room per hour comes back evenly, never beyond the limit, and the refusal says when enough of it will be there', async () => {
  const rule = await createRule({ measure: 'tokens', limit: '36000', window: 'hour' })
  const [first, second] = [startGateway(recordsOf([rule])), startGateway(recordsOf([rule]))]
  const reserve = (gateway: Gateway, tokens: bigint): Promise<Decision> =>
    gateway.limits.reserve(scope, { tokens }, {})
  const letPass = (seconds: number): Promise<unknown> =>
    database.transaction(platformScope, (tx) =>
      sql`UPDATE limit_counters SET allowed_at = allowed_at - make_interval(secs => ${seconds}) WHERE rule_id = ${rule.id}`.execute(
        tx,
      ),
    )
  try {
    spend(await reserve(first, 36_000n), 36_000n)
    const refused = await reserve(second, 500n)
    if (refused.outcome !== 'refused') throw new Error('nothing was left')
    // Ten come back each second.
    expect(refused.refusal.clearsInMs).toBeGreaterThan(20_000)
    expect(refused.refusal.clearsInMs).toBeLessThanOrEqual(50_001)
    await letPass(50)
    spend(await reserve(second, 500n), 500n)
    expect((await reserve(second, 500n)).outcome).toBe('refused')
    // The bucket is full, and not fuller.
    await letPass(86_400)
    const decisions = [await reserve(first, 35_000n), await reserve(first, 5_000n)]
    expect(decisions.map((decision) => decision.outcome)).toEqual(['admitted', 'refused'])
  } finally {
    await Promise.all([first.stop(), second.stop()])
  }
})

test('a stream under way waits for room per minute that comes back, and goes before new requests', async () => {
  const rule = await createRule({ measure: 'output_tokens', limit: '6000', window: 'minute' })
  const gateway = startGateway(recordsOf([rule]))
  try {
    const held = grip(await gateway.limits.reserve(scope, { output_tokens: 6_000n }, {}))
    const extension = held.extend({ output_tokens: 20n }, { output_tokens: 64n })
    const fresh = await gateway.limits.reserve(scope, { output_tokens: 900n }, {})
    expect(fresh.outcome).toBe('refused')
    expect((await extension).outcome).toBe('extended')
    expect(held.reserved('output_tokens')).toBeGreaterThanOrEqual(6_020n)
    held.settle(() => 6_020n)
    held.release()
  } finally {
    await gateway.stop()
  }
})
