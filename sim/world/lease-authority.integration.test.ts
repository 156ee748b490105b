/**
 * The model of the authority against the real one: the same calls at the same moments, and every answer, row and notice is compared. The real one
 * runs in PostgreSQL under a clock that the test sets.
 */
import fc from 'fast-check'
import { sql } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { newId } from '../../src/platform/ids.ts'
import { openDatabase, platformScope, type Database } from '../../src/platform/postgres/database.ts'
import type {
  CounterId,
  GatewayLife,
  LeaseAnswer,
  LeaseAuthority,
  LeaseReply,
  LeaseWish,
} from '../../src/limits/authority.ts'
import { leaseAuthority } from '../../src/limits/store.ts'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import {
  createLeaseAuthority,
  type CounterState,
  type LeaseAuthorityModel,
} from './lease-authority.ts'

const startMs = Date.UTC(2026, 0, 15, 12)
const minuteMs = 60_000
const dayMs = 86_400_000
const tenantId = newId('ten')

let testDatabase: TestDatabase
let owner: pg.Client
let database: Database
let notices: string[]

beforeAll(async () => {
  testDatabase = await (await postgresForTests()).createDatabase()
  owner = new pg.Client({ connectionString: testDatabase.ownerUrl })
  await owner.connect()
  await owner.query(`
    CREATE SCHEMA test_clock;
    CREATE TABLE test_clock.moment (at timestamptz NOT NULL);
    INSERT INTO test_clock.moment VALUES (now());
    CREATE FUNCTION test_clock.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM test_clock.moment';
    CREATE FUNCTION test_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM test_clock.moment';
    GRANT USAGE ON SCHEMA test_clock TO public;
    GRANT SELECT ON test_clock.moment TO public;
    ALTER TABLE gateway_lives ALTER COLUMN seen_at SET DEFAULT test_clock.now();
    DO $$ BEGIN
      EXECUTE format('ALTER DATABASE %I SET search_path = test_clock, pg_catalog, public', current_database());
    END $$;
    INSERT INTO price_lists VALUES ('list', 'List', 'EUR', 'test') ON CONFLICT DO NOTHING;
    INSERT INTO tenants (id, name, price_list_id) VALUES ('${tenantId}', 'Acme', 'list');
  `)
  owner.on('notification', ({ payload }) => notices.push(payload ?? ''))
  await owner.query('LISTEN limits')
  database = openDatabase({
    url: testDatabase.appUrl,
    connectionsMax: 8,
    statementTimeoutMs: 5_000,
    applicationName: 'lease-authority-test',
    onError: () => {},
  })
})

afterAll(async () => {
  await database.close()
  await owner.end()
  await testDatabase.close()
})

beforeEach(() => {
  notices = []
})

/** What a gateway knows of one counter, and the books have yet to hear. */
interface Holding {
  granted: bigint
  used: bigint
  held: bigint
  /** Spent, and not in the ledger yet. */
  unshipped: bigint
  recall: number
  ownRecall: number | undefined
}

interface Gateway {
  life: GatewayLife
  holdings: Holding[]
  /** Earlier lives, whose journals are not settled. */
  readonly dead: { readonly life: GatewayLife; readonly holdings: Holding[] }[]
}

interface Subject {
  readonly counter: CounterId
  readonly window: 'minute' | 'day' | 'lifetime'
  readonly windowEndMs: number | undefined
  limit: bigint | undefined
  /** Nothing has happened that lets leases exceed the limit. */
  isHard: boolean
}

/** Both authorities, side by side. */
interface World {
  readonly real: LeaseAuthority
  readonly model: LeaseAuthorityModel
  readonly subjects: readonly Subject[]
  readonly gateways: readonly Gateway[]
  readonly modelNotices: string[]
  nowMs: number
}

const gatewayCount = 4
const counterCount = 3
const gatewayIndex = fc.nat(gatewayCount - 1)
const counterIndex = fc.nat(counterCount - 1)
const percent = fc.constantFrom(0n, 1n, 30n, 99n, 100n)

const stepArbitrary = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      what: fc.constant('ask'),
      gateway: gatewayIndex,
      counters: fc.subarray([0, 1, 2], { minLength: 1 }),
      amount: fc.constantFrom(0n, 1n, 7n, 40n, 90n, 300n),
      slice: fc.constantFrom(0n, 1n, 10n, 60n, 500n),
      keepsAll: fc.boolean(),
      hasHeard: fc.boolean(),
      repeats: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      what: fc.constantFrom('take', 'settle', 'ship', 'spend', 'overtake'),
      gateway: gatewayIndex,
      counter: counterIndex,
      percent,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      what: fc.constant('wait'),
      ms: fc.constantFrom(1, 13, 1_000, 1_001, 4_999, 5_000, 5_001, 9_999, 10_000, 50_000, 60_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant('limit'),
      counter: counterIndex,
      limit: fc.constantFrom(0n, 50n, 100n, 101n, 4_321n, undefined),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      what: fc.constantFrom('die', 'reclaim', 'end', 'call of an ended life'),
      gateway: gatewayIndex,
    }),
  },
)
type Step = typeof stepArbitrary extends fc.Arbitrary<infer Value> ? Value : never

test('the model answers like PostgreSQL, notices included, and leases keep within hard limits', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(stepArbitrary, { minLength: 5, maxLength: 60 }), async (steps) => {
      const world = await createWorld()
      for (const step of steps) await perform(world, step)
      await expectSameState(world)
    }),
    { numRuns: 60 },
  )
}, 60_000)

test('windows that ended two days ago are forgotten by both', async () => {
  const world = await createWorld()
  const ask = { amount: 7n, slice: 1n, keepsAll: false, hasHeard: true, repeats: false } as const
  await perform(world, { what: 'ask', gateway: 0, counters: [0, 1, 2], ...ask })
  for (const waitMs of [2 * dayMs, dayMs, 1]) {
    await setTime(world, world.nowMs + waitMs)
    await world.real.purge()
    await world.model.purge()
    await expectSameState(world)
  }
  expect(world.model.counters()).toHaveLength(2)
})

test('refusals are added up alike', async () => {
  const world = await createWorld()
  const refusal = {
    ruleId: newId('lim'),
    subject: tenantId,
    tenantId,
    modelId: 'm',
    hourMs: startMs,
    shadow: false,
    refusals: 2,
  }
  for (const authority of [world.real, world.model]) {
    await authority.noteRefusals([refusal, { ...refusal, shadow: true }])
    await authority.noteRefusals([{ ...refusal, refusals: 3 }])
  }
  const rows = await owner.query(
    `SELECT shadow, refusals::integer FROM limit_refusals WHERE rule_id = $1 ORDER BY shadow`,
    [refusal.ruleId],
  )
  const model = world.model.refusals().map(({ shadow, refusals }) => ({ shadow, refusals }))
  expect(model).toEqual(rows.rows)
})

test('calls at the same time do not exceed a limit together', async () => {
  const world = await createWorld()
  const [subject] = world.subjects
  if (!subject) throw new Error('a world has counters')
  const ask = (life: GatewayLife, amount: bigint): Promise<LeaseAnswer> =>
    world.real.lease(life, [
      {
        ...subject.counter,
        tenantId,
        windowEndMs: undefined,
        used: 0n,
        keep: 0n,
        held: 0n,
        need: amount,
        wish: amount * 2n,
        answers: 1_000,
        recall: 1_000,
      },
    ])
  for (let round = 0; round < 10; round += 1) {
    await Promise.all(world.gateways.map(({ life }, index) => ask(life, BigInt(20 + 7 * index))))
    const [state] = await readState()
    expect(sumOf(state?.leases.map((lease) => lease.granted) ?? [])).toBeLessThanOrEqual(100n)
  }
})

async function createWorld(): Promise<World> {
  await owner.query(
    `DELETE FROM limit_leases; DELETE FROM limit_counters; DELETE FROM gateway_lives; DELETE FROM limit_rules`,
  )
  const modelNotices: string[] = []
  const subjects = (['lifetime', 'day', 'minute'] as const).map((window): Subject => ({
    counter: {
      ruleId: newId('lim'),
      subject: tenantId,
      windowStartMs: window === 'day' ? startMs : 0,
    },
    window,
    windowEndMs: window === 'day' ? startMs + dayMs : undefined,
    limit: undefined,
    isHard: true,
  }))
  const subjectOf = (ruleId: string): Subject | undefined =>
    subjects.find(({ counter }) => counter.ruleId === ruleId)
  const world: World = {
    real: leaseAuthority(database),
    model: createLeaseAuthority({
      nowMs: () => world.nowMs,
      limitOf: (ruleId) => subjectOf(ruleId)?.limit,
      periodMsOf: (ruleId) => (subjectOf(ruleId)?.window === 'minute' ? minuteMs : undefined),
      notify: (payload) => void modelNotices.push(payload),
    }),
    subjects,
    gateways: Array.from({ length: gatewayCount }, () => newGateway()),
    modelNotices,
    nowMs: startMs,
  }
  for (const subject of subjects) await setLimit(subject, 100n)
  await setTime(world, startMs)
  await receivedNotices()
  notices = []
  return world
}

function newGateway(): Gateway {
  return { life: newLife(newId('gw')), holdings: emptyHoldings(), dead: [] }
}

function newLife(gatewayId: string): GatewayLife {
  return { id: newId('lif'), gatewayId }
}

function emptyHoldings(): Holding[] {
  return Array.from({ length: counterCount }, () => ({
    granted: 0n,
    used: 0n,
    held: 0n,
    unshipped: 0n,
    recall: 0,
    ownRecall: undefined,
  }))
}

async function setTime(world: World, nowMs: number): Promise<void> {
  world.nowMs = nowMs
  await owner.query('UPDATE test_clock.moment SET at = $1', [new Date(nowMs).toISOString()])
}

async function setLimit(subject: Subject, limit: bigint | undefined): Promise<void> {
  if (subject.limit !== undefined && (limit ?? 0n) < subject.limit) subject.isHard = false
  subject.limit = limit
  const id = subject.counter.ruleId
  if (limit === undefined) {
    await owner.query('DELETE FROM limit_rules WHERE id = $1', [id])
    return
  }
  await owner.query(
    `INSERT INTO limit_rules (id, tenant_id, measure, time_window, limit_value) VALUES ($1, $2, 'tokens', $4, $3)
    ON CONFLICT (id) DO UPDATE SET limit_value = excluded.limit_value`,
    [id, tenantId, String(limit), subject.window],
  )
}

async function perform(world: World, step: Step): Promise<void> {
  if ('ms' in step) return await setTime(world, world.nowMs + step.ms)
  if ('limit' in step) return await setLimit(subjectAt(world, step.counter), step.limit)
  const gateway = world.gateways[step.gateway]
  if (!gateway) throw new Error('steps name gateways that there are')
  if ('counters' in step) return await ask(world, gateway, step)
  if ('counter' in step) return await use(world, gateway, step)
  await changeLife(world, gateway, step.what)
}

async function ask(
  world: World,
  gateway: Gateway,
  step: Extract<Step, { readonly counters: number[] }>,
): Promise<void> {
  const wishes = step.counters.map((index): LeaseWish => {
    const subject = subjectAt(world, index)
    const holding = holdingAt(gateway, index)
    const keepsAll = step.keepsAll && step.amount === 0n && holding.granted > holding.used
    if (step.hasHeard) holding.recall = lastRecall(world, index, holding.recall)
    return {
      ...subject.counter,
      tenantId,
      windowEndMs: subject.windowEndMs,
      used: holding.used,
      keep: keepsAll ? holding.granted : holding.used,
      held: holding.held,
      need: holding.used + step.amount,
      wish: holding.used + step.amount + step.slice,
      answers: holding.recall,
      recall: step.amount > 0n ? holding.ownRecall : undefined,
    }
  })
  const answer = await bothAnswer(world, gateway.life, wishes)
  if (step.repeats) {
    const again = await bothAnswer(world, gateway.life, wishes)
    const granted = (of: LeaseAnswer) => of.replies.map((reply) => reply?.granted)
    expect(granted(again), 'a repeated call changes no lease').toEqual(granted(answer))
  }
  for (const [position, index] of step.counters.entries()) {
    const wish = wishes[position]
    const reply = answer.replies[position]
    if (wish && reply) hear(subjectAt(world, index), holdingAt(gateway, index), wish, reply)
  }
}

function hear(subject: Subject, holding: Holding, wish: LeaseWish, reply: LeaseReply): void {
  expect(reply.granted, 'what is used or kept stays').toBeGreaterThanOrEqual(wish.keep)
  if (subject.isHard) expect(reply.left, 'sum of leases ≤ limit').toBeGreaterThanOrEqual(0n)
  holding.granted = reply.granted
  holding.recall = Math.max(holding.recall, reply.recall)
  holding.ownRecall = reply.granted < wish.need ? reply.recall : undefined
}

async function bothAnswer(
  world: World,
  life: GatewayLife,
  wishes: readonly LeaseWish[],
): Promise<LeaseAnswer> {
  const [real, model] = [
    await world.real.lease(life, wishes),
    await world.model.lease(life, wishes),
  ]
  expect(model).toEqual(real)
  return real
}

async function use(
  world: World,
  gateway: Gateway,
  step: Extract<Step, { readonly percent: bigint }>,
): Promise<void> {
  const holding = holdingAt(gateway, step.counter)
  const part = (of: bigint): bigint => (of * step.percent) / 100n
  if (step.what === 'take' || step.what === 'spend') {
    const amount = part(holding.granted - holding.used)
    if (amount <= 0n) return
    holding.used += amount
    holding.held += amount
  }
  if (step.what === 'overtake') {
    // Soft and shadow rules let a request pass the limit.
    subjectAt(world, step.counter).isHard = false
    holding.used += 1n + step.percent
    holding.held += 1n + step.percent
  }
  if (step.what === 'settle' || step.what === 'spend') {
    const spent = step.what === 'spend' ? holding.held : part(holding.held)
    holding.used -= holding.held - spent
    holding.held = 0n
    holding.unshipped += spent
  }
  if (step.what === 'ship' || step.what === 'spend')
    await ship(world, gateway.life, step.counter, holding)
}

/** As the ledger notes what was spent. */
async function ship(
  world: World,
  life: GatewayLife,
  index: number,
  holding: Holding,
): Promise<void> {
  if (holding.unshipped === 0n) return
  const { counter } = subjectAt(world, index)
  world.model.charge(life.id, [{ ...counter, amount: holding.unshipped }])
  await owner.query(
    `INSERT INTO limit_leases AS lease (rule_id, subject, window_start, life_id, spent) VALUES ($1, $2, to_timestamp($3 / 1000.0), $4, $5)
    ON CONFLICT (rule_id, subject, window_start, life_id) DO UPDATE SET spent = lease.spent + excluded.spent`,
    [counter.ruleId, counter.subject, counter.windowStartMs, life.id, String(holding.unshipped)],
  )
  holding.unshipped = 0n
}

/** All that is under way is billed in full, as after a crash. */
async function settleAll(world: World, life: GatewayLife, holdings: Holding[]): Promise<void> {
  for (const [index, holding] of holdings.entries()) {
    holding.unshipped += holding.held
    holding.held = 0n
    await ship(world, life, index, holding)
  }
}

async function changeLife(world: World, gateway: Gateway, what: string): Promise<void> {
  const { life, holdings } = gateway
  if (what === 'die') {
    gateway.dead.push({ life, holdings })
    beginAnew(gateway)
  }
  if (what === 'reclaim') {
    for (const dead of gateway.dead.splice(0)) await settleAll(world, dead.life, dead.holdings)
    await world.real.reclaim(life)
    await world.model.reclaim(life)
  }
  if (what === 'end') {
    for (const dead of gateway.dead.splice(0)) await settleAll(world, dead.life, dead.holdings)
    await settleAll(world, life, holdings)
    await world.real.end(life)
    await world.model.end(life)
    beginAnew(gateway)
  }
  if (what === 'call of an ended life') {
    await world.real.lease(life, [])
    await world.model.lease(life, [])
    await changeLife(world, gateway, 'end')
    await expect(world.real.lease(life, [])).rejects.toThrow('has ended')
    await expect(world.model.lease(life, [])).rejects.toThrow('has ended')
  }
}

function beginAnew(gateway: Gateway): void {
  gateway.life = newLife(gateway.life.gatewayId)
  gateway.holdings = emptyHoldings()
}

function subjectAt(world: World, index: number): Subject {
  const subject = world.subjects[index]
  if (!subject) throw new Error('steps name counters that there are')
  return subject
}

function holdingAt(gateway: Gateway, index: number): Holding {
  const holding = gateway.holdings[index]
  if (!holding) throw new Error('steps name counters that there are')
  return holding
}

/** As a notice would have told. */
function lastRecall(world: World, index: number, heard: number): number {
  const { ruleId } = subjectAt(world, index).counter
  const counter = world.model.counters().find((each) => each.ruleId === ruleId)
  return Math.max(heard, counter?.recall ?? 0)
}

async function expectSameState(world: World): Promise<void> {
  const real = await readState()
  expect(inOrder(world.model.counters())).toEqual(real)
  const parsed = (payloads: readonly string[]) =>
    payloads.map((payload) => JSON.stringify(JSON.parse(payload))).toSorted()
  expect(parsed(world.modelNotices)).toEqual(parsed(await receivedNotices()))
}

async function readState(): Promise<CounterState[]> {
  const rows = await database.transaction(platformScope, (tx) =>
    sql<{ state: string }>`
      SELECT json_build_object('ruleId', rule_id, 'subject', subject, 'windowStartMs', extract(epoch FROM window_start) * 1000,
        'tenantId', tenant_id, 'windowEndMs', extract(epoch FROM window_end) * 1000, 'granted', granted::text, 'recall', recall,
        'allowance', CASE WHEN allowance IS NOT NULL THEN json_build_object('amount', allowance::text, 'capacity', capacity::text, 'atMicros', extract(epoch FROM allowed_at) * 1000000) END,
        'leases', (SELECT coalesce(json_agg(json_build_object('lifeId', life_id, 'granted', granted::text, 'spent', spent::text, 'used', used::text,
          'held', held::text, 'answered', answered)), '[]') FROM limit_leases l WHERE (l.rule_id, l.subject, l.window_start) = (c.rule_id, c.subject, c.window_start))
      )::text AS state FROM limit_counters c
    `.execute(tx),
  )
  const amounts = ['granted', 'spent', 'used', 'held', 'amount', 'capacity']
  const revive = (key: string, value: unknown): unknown => {
    if (amounts.includes(key)) return BigInt(String(value))
    return value ?? undefined
  }
  // The shape is that of the statement above.
  const states = rows.rows.map(({ state }) => JSON.parse(state, revive) as CounterState)
  return inOrder(states)
}

function inOrder(states: readonly CounterState[]): CounterState[] {
  const byText = (a: string, b: string): number => (a < b ? -1 : 1)
  return states
    .map(
      ({
        ruleId,
        subject,
        windowStartMs,
        tenantId: tenant,
        windowEndMs,
        granted,
        recall,
        allowance,
        leases,
      }) => ({
        ruleId,
        subject,
        windowStartMs,
        tenantId: tenant,
        windowEndMs,
        granted,
        recall,
        allowance,
        leases: leases.toSorted((a, b) => byText(a.lifeId, b.lifeId)),
      }),
    )
    .toSorted((a, b) => byText(a.ruleId, b.ruleId))
}

/** All notices so far: they come in the order of commits, so none is missing before the last one. */
async function receivedNotices(): Promise<readonly string[]> {
  await owner.query(`NOTIFY limits, 'last'`)
  while (notices.at(-1) !== 'last') await new Promise((resolve) => void setImmediate(resolve))
  notices.pop()
  return notices
}

function sumOf(amounts: readonly bigint[]): bigint {
  return amounts.reduce((sum, amount) => sum + amount, 0n)
}
