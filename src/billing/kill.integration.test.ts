/** A process that opens, streams and settles is killed at random instants, and its journal and the ledger are held against what it really did. */
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import { systemClock } from '../platform/clock.ts'
import { createLogger } from '../platform/log.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'
import { openBilling } from './billing.ts'
import { reconcile, wholeHours } from './reconciliation.ts'

const rounds = 20
const tenantId = 'ten_AAAAAAAAAAAAAAAA'
/** A window, and as much again for a disk that other tests keep busy. */
const unbilledTokensMax = 64 + 64
let place: TestDatabase
let database: Database
let directory: string

beforeAll(async () => {
  place = await (await postgresForTests()).createDatabase()
  database = openDatabase({
    url: place.appUrl,
    connectionsMax: 2,
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
  directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-killed-'))
})
afterAll(async () => {
  await database.close()
  await place.close()
  fs.rmSync(directory, { recursive: true, force: true })
})

/** Runs until it is killed. Each line of the truth is written before, or after, the step that it names. */
const child = `
import fs from 'node:fs'
import { openBilling } from '${import.meta.dirname}/billing.ts'
import { systemClock } from '${import.meta.dirname}/../platform/clock.ts'
import { createLogger } from '${import.meta.dirname}/../platform/log.ts'
import { openDatabase } from '${import.meta.dirname}/../platform/postgres/database.ts'
const [directory, url, round] = process.argv.slice(1)
const truth = fs.openSync(directory + '/truth', 'a')
const say = (...words) => fs.writeSync(truth, words.join(' ') + '\\n')
const database = openDatabase({ url, connectionsMax: 2, statementTimeoutMs: 5000, applicationName: 'child', onError: () => {} })
const billing = await openBilling({
  directory: directory + '/gateway', segmentBytes: 128 * 1024, bytesMax: 32 * 1024 * 1024,
  database, clock: systemClock, log: createLogger('child', 'silent'), onFatal: () => process.exit(3),
})
const price = { version: 'v', currency: 'EUR', inputNanos: 900n, cachedInputNanos: 900n, outputNanos: 4000n, reasoningNanos: 21000n }
const take = (ruleId, windowStartMs, measure) => ({ ruleId, subject: '${tenantId}', windowStartMs, measure })
const minuteMs = Date.now() - (Date.now() % 60_000)
const takes = [take('lim_tokens', minuteMs, 'tokens'), take('lim_requests', 0, 'requests')]
const lifeId = 'lif_' + round.padStart(16, 'A')
let count = 0
const serve = async (worker) => {
  for (;;) {
    const requestId = 'req_' + round + '_' + worker + '_' + (count += 1)
    say('opening', requestId)
    const hold = await billing.open({
      requestId, leg: 0, tenantId: '${tenantId}', projectId: 'prj_AAAAAAAAAAAAAAAA', apiKeyId: 'key_AAAAAAAAAAAAAAAA', modelId: 'm',
      endpoint: '/v1/chat/completions', streamed: true, price, estimatedInputTokens: 10, maxOutputTokens: 400,
      heldNanos: 10_000_000n, startedAtMs: Date.now(), lifeId, takes, alreadyChargedNanos: 0n,
    })
    const tokens = (worker * 23) % 200
    const usage = (outputTokens) => ({ inputTokens: 8, cachedInputTokens: 0, outputTokens, reasoningTokens: 0 })
    for (let token = 1; token <= tokens; token += 1) {
      await new Promise((resolve) => setTimeout(resolve, 3))
      say('emitted', requestId, token)
      hold.progress(token, () => ({ usage: usage(token), replicaId: 'rep_A' }))
      // Into the next window.
      if (token === 20) hold.noteTakes([take('lim_tokens', minuteMs + 60_000, 'tokens')])
    }
    hold.noteEngine(usage(tokens))
    const settled = await hold.settle({ outcome: 'completed', usage: usage(tokens), usageSuspect: false, replicaId: undefined, timeToFirstTokenMs: 1.5, durationMs: 2.5, amountMaxNanos: undefined, chargeLimits: () => [{ ...takes[0], amount: BigInt(8 + tokens) }, { ...takes[1], amount: 1n }] })
    say('completed', requestId, settled.amountNanos)
  }
}
console.log('ready')
for (let worker = 0; worker < 12; worker += 1) serve(worker)
`

async function runAndKill(round: number): Promise<void> {
  const running = spawn(
    process.execPath,
    ['--input-type=module', '-e', child, directory, place.appUrl, String(round)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const ended = once(running, 'exit')
  await Promise.race([once(running.stdout, 'data'), ended])
  await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 300))
  running.kill('SIGKILL')
  expect(await ended).toEqual([null, 'SIGKILL'])
}

interface Truth {
  readonly opened: Set<string>
  readonly emitted: Map<string, number>
  readonly completed: Map<string, bigint>
}

function readTruth(): Truth {
  const truth: Truth = { opened: new Set(), emitted: new Map(), completed: new Map() }
  for (const line of fs.readFileSync(join(directory, 'truth'), 'utf8').trim().split('\n')) {
    const [what, requestId = '', figure = ''] = line.split(' ')
    if (what === 'opening') truth.opened.add(requestId)
    if (what === 'emitted') truth.emitted.set(requestId, Number(figure))
    if (what === 'completed') truth.completed.set(requestId, BigInt(figure))
  }
  return truth
}

interface Event {
  readonly request_id: string
  readonly outcome: string
  readonly input_tokens: bigint
  readonly output_tokens: bigint
  readonly amount_nanos: bigint
  readonly charges: readonly (readonly [string, string, number, string])[]
}

test('killed at random instants, nothing completed is unbilled, nothing is billed twice, and the books balance', async () => {
  for (let round = 1; round <= rounds; round += 1) await runAndKill(round)
  const survivor = await openBilling({
    directory: join(directory, 'gateway'),
    segmentBytes: 128 * 1024,
    bytesMax: 32 * 1024 * 1024,
    database,
    clock: systemClock,
    log: createLogger('test', 'silent'),
    onFatal: () => {},
  })
  expect(await survivor.drain(20_000)).toBe(true)
  await survivor.close()

  const truth = readTruth()
  const { events, sums } = await database.transaction(platformScope, async (tx) => ({
    events: (await sql<Event>`SELECT * FROM usage_events`.execute(tx)).rows,
    sums: (
      await sql<{ all: string; charged: string; held: string }>`
        SELECT sum(e.amount_nanos)::text AS all, sum(e.amount_nanos) FILTER (WHERE a.kind = 'receivable')::text AS charged,
          coalesce(sum(e.amount_nanos) FILTER (WHERE a.kind = 'held'), 0)::text AS held
        FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id`.execute(tx)
    ).rows[0],
  }))
  const billed = new Map(events.map((event) => [event.request_id, event]))
  expect(billed.size).toBe(events.length)
  for (const [requestId, amountNanos] of truth.completed)
    expect(billed.get(requestId), requestId).toMatchObject({
      outcome: 'completed',
      amount_nanos: amountNanos,
    })
  const crashed = events.filter((event) => event.outcome === 'crashed')
  for (const event of crashed) {
    const unbilled = (truth.emitted.get(event.request_id) ?? 0) - Number(event.output_tokens)
    expect(unbilled, event.request_id).toBeGreaterThanOrEqual(0)
    expect(unbilled, event.request_id).toBeLessThanOrEqual(unbilledTokensMax)
    expect(event.amount_nanos, event.request_id).toBe(
      event.input_tokens * 900n + event.output_tokens * 4_000n,
    )
    expect([8n, 10n]).toContain(event.input_tokens)
    // Each window that it had taken from durably, in full: whoever emitted more than a batch had noted the second one.
    const spent = event.charges.filter(([rule]) => rule === 'lim_tokens')
    for (const [, , , amount] of spent)
      expect(BigInt(amount)).toBe(event.input_tokens + event.output_tokens)
    expect(event.charges.filter(([rule]) => rule === 'lim_requests')).toHaveLength(1)
    if (event.output_tokens > 20n) expect(spent, event.request_id).toHaveLength(2)
  }
  expect(crashed.some((event) => event.output_tokens > 20n)).toBe(true)
  // Whatever emitted a token had been opened durably before, so it has an event; and nothing else has one.
  for (const requestId of truth.emitted.keys()) expect(billed.has(requestId), requestId).toBe(true)
  for (const requestId of billed.keys()) expect(truth.opened.has(requestId), requestId).toBe(true)
  // The test has met what it is about.
  expect(truth.completed.size).toBeGreaterThan(100)
  expect(crashed.length).toBeGreaterThan(rounds)

  const total = events.reduce((sum, event) => sum + event.amount_nanos, 0n)
  expect(sums).toEqual({ all: '0', charged: String(total), held: '0' })
  // What was spent of the counter, and what gateways and engines counted, is what the books say.
  const counted = await database.transaction(platformScope, (tx) =>
    sql<{
      spent: string
    }>`SELECT sum(spent)::text AS spent FROM limit_leases WHERE rule_id = 'lim_requests'`.execute(
      tx,
    ),
  )
  expect(counted.rows).toEqual([{ spent: String(events.length) }])
  const nowMs = systemClock.nowMs()
  const range = { ...wholeHours(nowMs - 3_600_000, nowMs), thorough: true }
  const run = await database.transaction(platformScope, (tx) => reconcile(tx, range))
  expect(run.findings).toEqual([])
  expect(run.totals.journal).toMatchObject([{ requests: String(events.length) }])
}, 180_000)
