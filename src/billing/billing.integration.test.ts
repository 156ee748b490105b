import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import type { TokenUsage } from '../engines/engine.ts'
import { systemClock } from '../platform/clock.ts'
import { createLogger, type Logger } from '../platform/log.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'
import { openBilling, type Billing, type BillingOptions, type Hold } from './billing.ts'
import { systemFiles } from './journal/files.ts'
import type { OpenedRequest, Outcome } from './usage.ts'

const tenantId = 'ten_AAAAAAAAAAAAAAAA'
const canary = 'a prompt that must be nowhere'
let place: TestDatabase
let database: Database
let directory: string

beforeAll(async () => {
  place = await (await postgresForTests()).createDatabase()
  database = openDatabase({
    url: place.appUrl,
    connectionsMax: 4,
    statementTimeoutMs: 5_000,
    applicationName: 'test',
    onError: () => {},
  })
  await database.transaction(platformScope, async (tx) => {
    await sql`INSERT INTO price_lists VALUES ('standard', 'Standard', 'EUR', 'test')`.execute(tx)
    await sql`INSERT INTO tenants (id, name, price_list_id) VALUES (${tenantId}, 'A', 'standard')`.execute(
      tx,
    )
  })
}, 90_000)
afterAll(async () => {
  await database.close()
  await place.close()
})
beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-billing-'))
})
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }))

/** Records have fixed times; the shipper waits in real time. */
const clock = { ...systemClock, nowMs: () => Date.parse('2026-05-01T10:00:00Z') }

function start(
  from = directory,
  db = database,
  more: Partial<BillingOptions> = {},
): Promise<Billing> {
  return openBilling({
    directory: from,
    segmentBytes: 256 * 1024,
    bytesMax: 4 * 1024 * 1024,
    database: db,
    clock,
    log: createLogger('test', 'silent'),
    onFatal: () => {},
    ...more,
  })
}

function request(requestId: string, more: Partial<OpenedRequest> = {}): OpenedRequest {
  return {
    requestId,
    leg: 0,
    tenantId,
    projectId: 'prj_AAAAAAAAAAAAAAAA',
    apiKeyId: 'key_AAAAAAAAAAAAAAAA',
    modelId: 'm',
    endpoint: '/v1/chat/completions',
    streamed: true,
    price: {
      version: 'standard@2026',
      currency: 'EUR',
      inputNanos: 900n,
      cachedInputNanos: 900n,
      outputNanos: 4_000n,
      reasoningNanos: 21_000n,
    },
    estimatedInputTokens: 10,
    maxOutputTokens: 100,
    heldNanos: 2_109_000n,
    startedAtMs: clock.nowMs(),
    lifeId: '',
    takes: [],
    alreadyChargedNanos: 0n,
    ...more,
  }
}
const usage = (inputTokens: number, outputTokens: number): TokenUsage => ({
  inputTokens,
  cachedInputTokens: 0,
  outputTokens,
  reasoningTokens: 0,
})
const noted = (outputTokens: number) => () => ({
  usage: usage(8, outputTokens),
  replicaId: undefined,
})
const settlement = (outcome: Outcome, used: TokenUsage) => ({
  outcome,
  usage: used,
  usageSuspect: false,
  replicaId: undefined,
  timeToFirstTokenMs: 12,
  durationMs: 30,
  amountMaxNanos: undefined,
  chargeLimits: () => [],
})

interface Books {
  readonly events: {
    request_id: string
    outcome: string
    amount_nanos: bigint
    output_tokens: bigint
  }[]
  readonly balances: Record<string, bigint>
  readonly charged: bigint
  readonly sum: bigint
}
async function books(prefix: string): Promise<Books> {
  return database.transaction(platformScope, async (tx) => {
    const events = await sql<
      Books['events'][number]
    >`SELECT request_id, outcome, amount_nanos, output_tokens FROM usage_events WHERE request_id LIKE ${`${prefix}%`} ORDER BY request_id`.execute(
      tx,
    )
    const accounts = await sql<{
      id: string
      balance: bigint
      derived: bigint
    }>`SELECT a.id, a.balance_nanos AS balance, coalesce(sum(e.amount_nanos), 0)::bigint AS derived FROM ledger_accounts a LEFT JOIN ledger_entries e ON e.account_id = a.id GROUP BY a.id`.execute(
      tx,
    )
    for (const account of accounts.rows) expect(account.balance, account.id).toBe(account.derived)
    const charged = await sql<{
      sum: bigint
    }>`SELECT coalesce(sum(e.amount_nanos), 0)::bigint AS sum FROM ledger_entries e JOIN ledger_transactions t ON t.id = e.transaction_id WHERE t.kind = 'charge' AND e.amount_nanos > 0 AND t.request_id LIKE ${`${prefix}%`}`.execute(
      tx,
    )
    return {
      events: events.rows,
      balances: Object.fromEntries(
        accounts.rows.map((row) => [row.id.split(':')[0] ?? '', row.balance]),
      ),
      charged: charged.rows[0]?.sum ?? 0n,
      sum: accounts.rows.reduce((total, row) => total + row.balance, 0n),
    }
  })
}

test('a settled request is charged once, exactly, and the books balance', async () => {
  const billing = await start()
  const hold = await billing.open(request('one-1'))
  const settled = await hold.settle(settlement('completed', usage(7, 20)))
  expect(settled.amountNanos).toBe(7n * 900n + 20n * 4_000n)
  expect(await billing.drain(5_000)).toBe(true)
  await billing.close()
  const after = await books('one-')
  expect(after.events).toEqual([
    { request_id: 'one-1', outcome: 'completed', amount_nanos: 86_300n, output_tokens: 20n },
  ])
  expect(after.charged).toBe(86_300n)
  expect(after.sum).toBe(0n)
})

test('a charge never exceeds its hold, and a voided request costs nothing', async () => {
  const billing = await start()
  const greedy = await (
    await billing.open(request('cap-1', { heldNanos: 1_000n }))
  ).settle(settlement('completed', usage(7, 20)))
  const voided = await (
    await billing.open(request('cap-2'))
  ).settle(settlement('voided', usage(7, 20)))
  expect([greedy.amountNanos, voided.amountNanos]).toEqual([1_000n, 0n])
  await billing.drain(5_000)
  await billing.close()
  const after = await books('cap-')
  expect(after.events.map((event) => event.amount_nanos)).toEqual([1_000n, 0n])
  expect(after.charged).toBe(1_000n)
})

test('a request under way is held on the books, and released when it settles', async () => {
  const billing = await start()
  const before = (await books('x')).balances['held'] ?? 0n
  const hold = await billing.open(request('held-1'))
  await billing.drain(5_000)
  expect((await books('held-')).balances['held']).toBe(before + 2_109_000n)
  await hold.settle(settlement('completed', usage(1, 1)))
  await billing.drain(5_000)
  const after = await books('held-')
  expect(after.balances['held']).toBe(before)
  expect(after.sum).toBe(0n)
  await billing.close()
})

test('however much is shipped and deleted after it, an open request is still known after a crash', async () => {
  const sizes = { segmentBytes: 64 * 1024, bytesMax: 4 * 1024 * 1024 }
  const billing = await start(directory, database, sizes)
  const hold = await billing.open(request('kept-open'))
  for (let i = 0; i < 200; i += 1) await serveOne(billing, `kept-${i}`)
  expect(await billing.drain(10_000)).toBe(true)
  const copy = `${directory}-copy`
  fs.cpSync(directory, copy, { recursive: true })
  fs.rmSync(join(copy, 'lock'))
  const survivor = await start(copy, database, sizes)
  expect(await survivor.drain(5_000)).toBe(true)
  await survivor.close()
  fs.rmSync(copy, { recursive: true })
  await hold.settle(settlement('completed', usage(1, 1)))
  await billing.close()
  const open = (await books('kept-')).events.find((event) => event.request_id === 'kept-open')
  expect(open).toMatchObject({ outcome: 'crashed', amount_nanos: 9_000n })
})

test('applying the journal again, even without its checkpoint, changes nothing', async () => {
  const billing = await start()
  for (let i = 0; i < 30; i += 1)
    await (await billing.open(request(`again-${i}`))).settle(settlement('completed', usage(3, i)))
  await billing.drain(5_000)
  await billing.close()
  const once = await books('again-')
  for (let round = 0; round < 3; round += 1) {
    await database.transaction(platformScope, (tx) =>
      sql`UPDATE journal_checkpoints SET applied_sequence = 0 WHERE gateway_id = ${billing.gatewayId}`.execute(
        tx,
      ),
    )
    const replay = await start()
    expect(await replay.drain(5_000)).toBe(true)
    await replay.close()
    expect(await books('again-')).toEqual(once)
  }
  expect(once.events).toHaveLength(30)
})

test('what a crash left open is settled by rule at the next start: input, and the last durable progress', async () => {
  const billing = await start()
  await billing.open(request('dead-1'))
  const spoke = await billing.open(request('dead-2'))
  void spoke.progress(64, noted(64))
  const copy = `${directory}-copy`
  // An append that resolves makes everything before it durable.
  await (await billing.open(request('dead-3'))).settle(settlement('completed', usage(2, 2)))
  fs.cpSync(directory, copy, { recursive: true })
  fs.rmSync(join(copy, 'lock'))
  await billing.close()
  const survivor = await start(copy)
  expect(await survivor.drain(5_000)).toBe(true)
  await survivor.close()
  fs.rmSync(copy, { recursive: true })
  const after = await books('dead-')
  expect(after.events).toEqual([
    { request_id: 'dead-1', outcome: 'crashed', amount_nanos: 9_000n, output_tokens: 0n },
    {
      request_id: 'dead-2',
      outcome: 'crashed',
      amount_nanos: 8n * 900n + 64n * 4_000n,
      output_tokens: 64n,
    },
    { request_id: 'dead-3', outcome: 'completed', amount_nanos: 9_800n, output_tokens: 2n },
  ])
  expect(after.sum).toBe(0n)
})

/** No server listens there. */
function unreachable(): Database {
  return openDatabase({
    url: 'postgresql://nobody@127.0.0.1:1/none',
    connectionsMax: 1,
    statementTimeoutMs: 500,
    applicationName: 'test',
    onError: () => {},
  })
}

async function serveOne(billing: Billing, requestId: string): Promise<bigint> {
  const hold = await billing.open(request(requestId))
  return (await hold.settle(settlement('completed', usage(1, 1)))).amountNanos
}

test('the database may be away: requests settle, and the ledger catches up', async () => {
  const away = unreachable()
  const alone = await start(directory, away)
  for (let i = 0; i < 10; i += 1) await serveOne(alone, `away-${i}`)
  expect(alone.lagEvents()).toBe(20)
  await alone.close()
  await away.close()
  const back = await start()
  expect(await back.drain(5_000)).toBe(true)
  await back.close()
  expect((await books('away-')).events).toHaveLength(10)
})

test('a commit whose answer was lost is repeated without effect', async () => {
  let lost = 0
  const flaky: Database = {
    async transaction(scope, work) {
      const result = await database.transaction(scope, work)
      // The first look-up, then every other batch.
      if ((lost += 1) % 2 === 0) throw new Error('the connection ended after COMMIT')
      return result
    },
    close: async () => {},
  }
  const billing = await start(directory, flaky)
  for (let i = 0; i < 3; i += 1) {
    await serveOne(billing, `lost-${i}`)
    expect(await billing.drain(10_000)).toBe(true)
  }
  await billing.close()
  const after = await books('lost-')
  expect(after.events).toHaveLength(3)
  expect(after.charged).toBe(3n * 4_900n)
  expect(after.sum).toBe(0n)
})

/** A logger whose lines can be read. */
function listen(): { log: Logger; said: string[] } {
  const said: string[] = []
  return { log: pino({ level: 'error' }, { write: (line: string) => said.push(line) }), said }
}

test('a journal that was replaced begins again below its checkpoint: that is told, and what comes is billed', async () => {
  const first = await start()
  for (let i = 0; i < 5; i += 1) await serveOne(first, `replaced-a-${i}`)
  await first.drain(5_000)
  await first.close()
  fs.rmSync(join(directory, 'segments'), { recursive: true })
  const { log, said } = listen()
  const second = await start(directory, database, { log })
  await serveOne(second, 'replaced-b')
  expect(await second.drain(5_000)).toBe(true)
  await second.close()
  expect(second.gatewayId).toBe(first.gatewayId)
  expect((await books('replaced-')).events).toHaveLength(6)
  expect(said).toHaveLength(1)
  expect(said[0]).toContain('the journal was cut or replaced')
})

test('a ledger that was set back: that is told, and it gets what the journal still has', async () => {
  const sizes = { segmentBytes: 64 * 1024, bytesMax: 1024 * 1024 }
  const first = await start(directory, database, sizes)
  for (let i = 0; i < 100; i += 1) await serveOne(first, `back-${String(i).padStart(3, '0')}`)
  await first.drain(5_000)
  await first.close()
  await database.transaction(platformScope, (tx) =>
    sql`UPDATE journal_checkpoints SET applied_sequence = 1 WHERE gateway_id = ${first.gatewayId}`.execute(
      tx,
    ),
  )
  const { log, said } = listen()
  const second = await start(directory, database, { ...sizes, log })
  await serveOne(second, 'back-100')
  expect(await second.drain(5_000)).toBe(true)
  await second.close()
  expect((await books('back-')).events).toHaveLength(101)
  expect(said).toHaveLength(1)
  expect(said[0]).toContain('the database was set back')
})

test('two gateways post to the same accounts side by side, and each charge is there', async () => {
  const gateways = await Promise.all(['a', 'b'].map((name) => start(join(directory, name))))
  await Promise.all(
    gateways.flatMap((gateway, index) =>
      Array.from({ length: 300 }, (_, count) => serveOne(gateway, `both-${index}-${count}`)),
    ),
  )
  const drained = await Promise.all(gateways.map((gateway) => gateway.drain(10_000)))
  expect(drained).toEqual([true, true])
  for (const gateway of gateways) await gateway.close()
  const after = await books('both-')
  expect(after.events).toHaveLength(600)
  expect(after.charged).toBe(600n * 4_900n)
  expect(after.sum).toBe(0n)
})

test('with the space used up nobody is admitted, and everybody who was is settled, progress left out', async () => {
  const away = unreachable()
  const billing = await start(directory, away, {
    segmentBytes: 64 * 1024,
    bytesMax: 256 * 1024,
  })
  const holds: Hold[] = []
  const admitAll = async (): Promise<never> => {
    for (;;) holds.push(await billing.open(request(`space-${holds.length}`)))
  }
  await expect(admitAll()).rejects.toMatchObject({ code: 'billing.journal_full' })
  expect(holds.length).toBeGreaterThan(10)
  for (let tokens = 64; tokens < 64 * 50; tokens += 64)
    for (const hold of holds) void hold.progress(tokens, noted(tokens))
  for (const hold of holds) await hold.settle(settlement('completed', usage(1, 1)))
  await billing.close()
  await away.close()
  const back = await start(directory, database)
  expect(await back.drain(5_000)).toBe(true)
  await back.close()
  const events = (await books('space-')).events
  expect(events).toHaveLength(holds.length)
  expect(new Set(events.map((event) => event.outcome))).toEqual(new Set(['completed']))
})

test('after a failed write nobody is admitted, no settlement is promised, and the gateway is told to end', async () => {
  const away = unreachable()
  let isBroken = false
  const fatal: Error[] = []
  const billing = await start(directory, away, {
    onFatal: (error) => fatal.push(error),
    files: {
      ...systemFiles,
      write: (...write) =>
        isBroken ? Promise.reject(new Error('EIO')) : systemFiles.write(...write),
    },
  })
  const hold = await billing.open(request('broken-1'))
  isBroken = true
  const settling = hold.settle(settlement('completed', usage(1, 1)))
  await expect(settling).rejects.toMatchObject({ code: 'billing.journal_failed' })
  isBroken = false
  await expect(billing.open(request('broken-2'))).rejects.toMatchObject({
    code: 'billing.journal_failed',
  })
  expect(fatal).toHaveLength(1)
  await billing.close()
  await away.close()
  const back = await start()
  expect(await back.drain(5_000)).toBe(true)
  await back.close()
  // Its client saw no end, so it is billed as a crash: its input.
  expect((await books('broken-')).events).toMatchObject([
    { request_id: 'broken-1', outcome: 'crashed', amount_nanos: 9_000n },
  ])
})

test('a settlement with fractions of milliseconds does not stop the ledger', async () => {
  const billing = await start()
  const hold = await billing.open(request('fraction-1'))
  await hold.settle({
    ...settlement('completed', usage(1, 1)),
    timeToFirstTokenMs: 1.75,
    durationMs: -0.4,
    amountMaxNanos: undefined,
    chargeLimits: () => [],
  })
  expect(await billing.drain(5_000)).toBe(true)
  await billing.close()
  expect((await books('fraction-')).events).toHaveLength(1)
})

test('a hold is settled once, and a request opened once: anything else is a bug', async () => {
  const billing = await start()
  const hold = await billing.open(request('twice-1'))
  await expect(billing.open(request('twice-1'))).rejects.toThrow('opened once')
  await hold.settle(settlement('completed', usage(1, 1)))
  await expect(hold.settle(settlement('completed', usage(1, 1)))).rejects.toThrow('settled once')
  await billing.close()
})

test('two processes never write one journal', async () => {
  const billing = await start()
  await expect(start()).rejects.toMatchObject({ code: 'client.conflict' })
  await billing.close()
})

test('no byte of content reaches the journal: events have no field that could hold it', async () => {
  const billing = await start()
  const smuggled = { ...request('canary-1'), messages: canary } as OpenedRequest
  await (await billing.open(smuggled)).settle(settlement('completed', usage(1, 1)))
  await billing.close()
  for (const name of fs.readdirSync(join(directory, 'segments'))) {
    expect(fs.readFileSync(join(directory, 'segments', name)).includes(canary)).toBe(false)
  }
})

// A disk slower than an engine would otherwise widen the window that a crash may leave unbilled, without a bound.
test('an answer waits for its journal before a crash could lose more than 64 tokens of it', async () => {
  let gate = Promise.resolve()
  const billing = await start(directory, database, {
    files: {
      ...systemFiles,
      async write(...call) {
        await gate
        await systemFiles.write(...call)
      },
    },
  })
  const hold = await billing.open(request('slow-1'))
  let open = (): void => {}
  gate = new Promise((resolve) => (open = resolve))
  expect(hold.progress(32, noted(32))).toBeUndefined()
  expect(hold.progress(63, noted(63))).toBeUndefined()
  const pending = hold.progress(64, noted(64))
  expect(pending).toBeInstanceOf(Promise)
  open()
  await pending
  expect(hold.progress(127, noted(127))).toBeUndefined()
  await hold.settle(settlement('completed', usage(8, 127)))
  await billing.close()
})
