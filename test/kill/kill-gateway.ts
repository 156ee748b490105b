/** Kills the gateway at random instants under mixed load, and hands the evidence to the judge. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openBooks, type Books } from '../e2e/books.ts'
import { descendantsOf } from '../e2e/processes.ts'
import { startWithStub, type StubbedPlatform } from '../e2e/stubbed-platform.ts'
import { until } from '../e2e/until.ts'
import { startLoad } from './load.ts'
import { judge, type Verdict } from './verdict.ts'

const clients = 16
const model = 'stub/quick:1'
const inputNanos = 1_000n
const outputNanos = 3_000n
const earliestKillMs = 100
const latestKillMs = 1_500
const restartTimeoutMs = 20_000
const shippingTimeoutMs = 60_000

export async function killRounds(options: {
  readonly rounds: number
  readonly seed: number
  readonly say: (line: string) => void
}): Promise<Verdict> {
  const random = seededRandom(options.seed)
  const dataDirectory = mkdtempSync(join(tmpdir(), 'colonnade-kill-'))
  const platform = await startWithStub(dataDirectory).catch((error: unknown) => {
    rmSync(dataDirectory, { recursive: true, force: true })
    throw error
  })
  let books: Books | undefined
  try {
    books = await openBooks(dataDirectory)
    await setPrices(platform, books)
    // Requests before the prices were set are not part of the case.
    const before = new Set((await books.usage()).map((row) => row.requestId))
    const load = startLoad({ ...platform, model, clients, random })
    for (let round = 1; round <= options.rounds; round += 1) {
      const waitMs = earliestKillMs + random() * (latestKillMs - earliestKillMs)
      await new Promise((resolve) => setTimeout(resolve, waitMs))
      const pid = await killGateway(platform)
      options.say(
        `round ${round} of ${options.rounds}: killed gateway ${pid} after ${Math.round(waitMs)} ms`,
      )
    }
    const seen = await load.stop()
    await shipped(books, platform)
    return judge({
      seen,
      truth: new Map([...platform.engine.truth].filter(([id]) => !before.has(id))),
      usage: (await books.usage()).filter((row) => !before.has(row.requestId)),
      sums: await books.sums(),
      inputNanos,
      outputNanos,
    })
  } finally {
    await books?.close()
    await platform.stop()
    rmSync(dataDirectory, { recursive: true, force: true })
  }
}

async function setPrices(platform: StubbedPlatform, books: Books): Promise<void> {
  const [tenant] = await books.query('SELECT price_list_id FROM tenants')
  await platform.control('POST', '/api/v1/prices', {
    modelId: model,
    priceListId: tenant?.['price_list_id'],
    amounts: { input_token: String(inputNanos), output_token: String(outputNanos) },
  })
  await until('the price is known to the gateway', 10_000, async () => {
    const before = (await books.usage()).length
    await platform.chat(model, 1)
    const usage = await until('the probe is billed', 10_000, async () => {
      const rows = await books.usage()
      return rows.length > before ? rows : undefined
    })
    return usage.some(
      (row) => row.amountNanos === BigInt(row.inputTokens) * inputNanos + outputNanos,
    )
  })
}

async function killGateway(platform: StubbedPlatform): Promise<number> {
  const gateway = platform.roleProcess('gateway')
  process.kill(gateway, 'SIGKILL')
  await until('another gateway answers', restartTimeoutMs, async () => {
    const alive = descendantsOf(platform.supervisorPid).map((entry) => entry.pid)
    if (alive.includes(gateway)) return undefined
    const response = await fetch(`${platform.apiUrl.replace(/\/v1$/, '')}/ready`)
    return response.ok
  })
  return gateway
}

/** The journal is shipped behind the requests: wait until each that reached the engine is in the ledger, and nothing is held. */
async function shipped(books: Books, platform: StubbedPlatform): Promise<void> {
  await until('the journal is in the ledger', shippingTimeoutMs, async () => {
    const known = new Set((await books.usage()).map((row) => row.requestId))
    const all = [...platform.engine.truth.keys()].every((id) => known.has(id))
    return all && (await books.sums()).held === 0n
  }).catch(() => {
    // The judge names what is missing better than this would.
  })
}

/** Mulberry32: small, and the same numbers from the same seed everywhere. */
function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
