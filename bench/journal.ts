/**
 * What the journal costs: `node bench/journal.ts`. First a hold and its settlement, both durable, one request at a time and many at once; then opening a
 * journal of 1,000,000 records, as a gateway does that was killed while the ledger was away.
 */
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openBilling, type Billing } from '../src/billing/billing.ts'
import type { LedgerSink } from '../src/billing/shipper.ts'
import type { OpenedRequest } from '../src/billing/usage.ts'
import { systemClock } from '../src/platform/clock.ts'
import { createLogger } from '../src/platform/log.ts'
import { openDatabase } from '../src/platform/postgres/database.ts'

const sequentialRequests = 2_000
const concurrency = 64
const concurrentRequests = 40_000
const records = 1_000_000
const segmentBytes = 16 * 1024 * 1024
const bytesMax = 4 * 1024 * 1024 * 1024

/** The ledger is away all the while: only the disk is measured. */
const away: LedgerSink = {
  findCheckpoint: () => Promise.reject(new Error('away')),
  apply: () => Promise.reject(new Error('away')),
}

const directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-journal-bench-'))
// Never reached: there is a sink in its place.
const database = openDatabase({
  url: 'postgres://nobody@127.0.0.1:9/none',
  connectionsMax: 1,
  statementTimeoutMs: 1_000,
  applicationName: 'bench',
  onError: () => {},
})

let count = 0
const take = (ruleId: string, measure: 'requests' | 'tokens' | 'amount') =>
  ({ ruleId, subject: 'ten_AAAAAAAAAAAAAAAA', windowStartMs: 0, measure }) as const
/** As many counters as a request of a tenant on a plan takes from. */
const takes = [
  take('lim_AAAAAAAAAAAAAAAA', 'requests'),
  take('lim_BBBBBBBBBBBBBBBB', 'tokens'),
  take('lim_CCCCCCCCCCCCCCCC', 'amount'),
]

const charges = takes.map(({ ruleId, subject, windowStartMs }) => ({
  ruleId,
  subject,
  windowStartMs,
  amount: 28n,
}))

function open(): Promise<Billing> {
  return openBilling({
    directory,
    segmentBytes,
    bytesMax,
    database,
    ledger: away,
    clock: systemClock,
    log: createLogger('bench', 'silent'),
    onFatal: (error) => {
      throw error
    },
  })
}

function newRequest(): OpenedRequest {
  count += 1
  return {
    requestId: `req_${String(count).padStart(24, '0')}`,
    leg: 0,
    tenantId: 'ten_AAAAAAAAAAAAAAAA',
    projectId: 'prj_AAAAAAAAAAAAAAAA',
    apiKeyId: 'key_AAAAAAAAAAAAAAAA',
    modelId: 'smollm2-135m-instruct',
    endpoint: '/v1/chat/completions',
    streamed: true,
    price: {
      version: 'standard@2026-01-01T00:00:00.000Z',
      currency: 'EUR',
      inputNanos: 900n,
      cachedInputNanos: 900n,
      outputNanos: 4_000n,
      reasoningNanos: 21_000n,
    },
    estimatedInputTokens: 10,
    maxOutputTokens: 400,
    heldNanos: 10_000_000n,
    startedAtMs: Date.now(),
    lifeId: 'lif_AAAAAAAAAAAAAAAA',
    takes,
    alreadyChargedNanos: 0n,
  }
}

async function serve(billing: Billing): Promise<void> {
  const hold = await billing.open(newRequest())
  await hold.settle({
    outcome: 'completed',
    usage: { inputTokens: 8, cachedInputTokens: 0, outputTokens: 20, reasoningTokens: 0 },
    usageSuspect: false,
    replicaId: 'rep_AAAAAAAAAAAAAAAA',
    timeToFirstTokenMs: 20,
    durationMs: 400,
    amountMaxNanos: undefined,
    chargeLimits: () => charges,
  })
}

/** Milliseconds from the first step to the last, for each request. */
async function measure(billing: Billing, requests: number, atOnce: number): Promise<number[]> {
  const times: number[] = []
  let left = requests
  const work = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      const startMs = performance.now()
      await serve(billing)
      times.push(performance.now() - startMs)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return times.toSorted((a, b) => a - b)
}

function say(name: string, times: readonly number[]): void {
  const at = (q: number): string => (times[Math.floor(q * (times.length - 1))] ?? 0).toFixed(2)
  process.stdout.write(`${name}: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, p99 ${at(0.99)} ms\n`)
}

try {
  const billing = await open()
  await measure(billing, 200, 1)
  say('open + settle, one at a time', await measure(billing, sequentialRequests, 1))
  say(
    `open + settle, ${concurrency} at once`,
    await measure(billing, concurrentRequests, concurrency),
  )
  while (count * 2 < records) await measure(billing, Math.min(50_000, records / 2 - count), 1_024)
  await billing.close()
  const bytes = fs
    .readdirSync(join(directory, 'segments'))
    .reduce((sum, name) => sum + fs.statSync(join(directory, 'segments', name)).size, 0)
  for (let round = 1; round <= 3; round += 1) {
    const startMs = performance.now()
    const again = await open()
    const seconds = (performance.now() - startMs) / 1_000
    process.stdout.write(
      `opening ${(count * 2).toLocaleString('en-US')} records (${Math.round(bytes / 1024 / 1024)} MiB): ${seconds.toFixed(2)} s\n`,
    )
    await again.close()
  }
} finally {
  await database.close()
  fs.rmSync(directory, { recursive: true, force: true })
}
