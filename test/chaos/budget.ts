/**
 * The budget proof: many requests at once against a budget for some of them, on two gateways. Each round has a key of its own with a lifetime
 * budget for `k` requests of one fixed price, so exactly `k` must be served, whatever dies in between. What was served is counted by the
 * clients, and by SQL over the ledger.
 */
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../e2e/until.ts'
import { below, seededRandom } from './random.ts'
import { openScene, type Scene } from './scene.ts'

export interface BudgetOptions {
  readonly rounds: number
  /** Requests at once. */
  readonly concurrency: number
  /** Rounds in which a gateway is killed in the middle. */
  readonly kills: number
  readonly seed: number
  readonly say: (line: string) => void
  /** Something that goes on all the while, until the signal. */
  readonly meanwhile?: (scene: Scene, signal: AbortSignal) => Promise<void>
}

export interface BudgetReport {
  readonly rounds: number
  readonly kills: number
  readonly requests: number
  readonly served: number
  readonly refused: number
  /** Nano-units spent beyond budgets, over all rounds. */
  readonly overshootNanos: bigint
  /** Requests that were not served though their budget had room. */
  readonly falseRefusals: number
  readonly faults: readonly string[]
}

interface Round {
  readonly number: number
  /** How many requests the budget is for. */
  readonly k: number
  readonly apiKeyId: string
  readonly secret: string
  readonly ruleId: string
  readonly killed: boolean
}

interface Answers {
  readonly served: number
  readonly refused: number
  /** Neither: no answer, or one that nothing here explains. */
  readonly other: readonly string[]
}

const model = 'stub/brief:1'
const tokens = 8
const tokenNanos = 1_000n
const costNanos = BigInt(tokens) * tokenNanos
/** Keys and rules of so many rounds are made at once, and then known to all gateways. */
const batchRounds = 25
const knownWithinMs = 5_000
const killMsMax = 400
const followUpRequests = 20
const followUpTimeoutMs = 90_000
const bookedTimeoutMs = 60_000
const requestTimeoutMs = 60_000

export async function budgetRounds(options: BudgetOptions): Promise<BudgetReport> {
  const { rounds, concurrency, say } = options
  const random = seededRandom(options.seed)
  await using scene = await openScene({ random })
  const place = await preparePlace(scene)
  const killedRounds = new Set<number>()
  while (killedRounds.size < Math.min(options.kills, rounds))
    killedRounds.add(1 + below(random, rounds))

  const over = new AbortController()
  const meanwhile = options.meanwhile?.(scene, over.signal)
  const total = { requests: 0, served: 0, refused: 0, falseRefusals: 0, overshootNanos: 0n }
  const faults: string[] = []
  for (let first = 1; first <= rounds; first += batchRounds) {
    const numbers = Array.from(
      { length: Math.min(batchRounds, rounds - first + 1) },
      (_, index) => first + index,
    )
    const batch: Round[] = []
    for (const number of numbers) {
      const k = below(random, concurrency + 1)
      batch.push(await prepareRound(scene, place, { number, k, killed: killedRounds.has(number) }))
    }
    await sleep(knownWithinMs)
    for (const round of batch) {
      const answers = await playRound(scene, round, concurrency)
      const booked = await bookedRequests(scene, round, answers.served)
      const overshoot = booked > round.k ? booked - round.k : 0
      const missing = booked < round.k ? round.k - booked : 0
      total.requests += answers.served + answers.refused + answers.other.length
      total.served += booked
      total.refused += answers.refused
      total.falseRefusals += missing
      total.overshootNanos += BigInt(overshoot) * costNanos
      faults.push(
        ...judgeRound(round, answers, booked).map((fault) => `round ${round.number}: ${fault}`),
      )
      await scene.platform.control(
        'DELETE',
        `/api/v1/tenants/${place.tenantId}/limits/${round.ruleId}`,
      )
    }
    say(
      `${batch.at(-1)?.number} of ${rounds} rounds; ${total.served} served, ${faults.length} faults`,
    )
  }
  over.abort()
  await meanwhile
  const verdict = await scene.books.sums()
  if (verdict.charged !== verdict.usage || verdict.allEntries !== 0n)
    faults.push('the ledger does not balance')
  return { rounds, kills: killedRounds.size, ...total, faults }
}

function judgeRound(round: Round, answers: Answers, booked: number): readonly string[] {
  const { k, killed } = round
  const what = `a budget for ${k}${killed ? ', with a kill,' : ''}`
  return [
    ...(booked > k ? [`${what} served ${booked}`] : []),
    ...(booked < k ? [`${what} served only ${booked}`] : []),
    // A client whose gateway died may not have seen what was served.
    ...((killed ? answers.served <= booked : answers.served === booked)
      ? []
      : [`clients saw ${answers.served} answers, the ledger has ${booked}`]),
    ...(killed ? [] : answers.other.map((other) => `an answer that is neither: ${other}`)),
  ]
}

/** All at once; after a kill, again and again until the budget is used up. */
async function playRound(scene: Scene, round: Round, concurrency: number): Promise<Answers> {
  const running = ask(scene, round, concurrency)
  if (!round.killed) return await running
  await sleep(scene.random() * killMsMax)
  const living = scene.gateways()
  const victim = living[below(scene.random, living.length)]
  if (victim) process.kill(victim.pid, 'SIGKILL')
  let answers = await running
  await scene.whole(victim ? [victim.pid] : [])
  const deadlineMs = performance.now() + followUpTimeoutMs
  while (performance.now() < deadlineMs) {
    if ((await countBooked(scene, round)) >= round.k) break
    const more = await ask(scene, round, followUpRequests)
    answers = {
      served: answers.served + more.served,
      refused: answers.refused + more.refused,
      other: [...answers.other, ...more.other],
    }
    await sleep(1_000)
  }
  // With the budget spent, not one more.
  const last = await ask(scene, round, followUpRequests)
  return {
    served: answers.served + last.served,
    refused: answers.refused + last.refused,
    other: [...answers.other, ...last.other],
  }
}

async function ask(scene: Scene, round: Round, count: number): Promise<Answers> {
  // A connection for each, so that the kernel deals them out to both gateways.
  const agent = new Agent({ maxSockets: count })
  const all = Array.from({ length: count }, (_, index) =>
    askOnce(scene, round, agent, index % 2 === 0),
  )
  const outcomes = await Promise.all(all)
  agent.destroy()
  return {
    served: outcomes.filter((outcome) => outcome === 'served').length,
    refused: outcomes.filter((outcome) => outcome === 'refused').length,
    other: outcomes.filter((outcome) => outcome !== 'served' && outcome !== 'refused'),
  }
}

function askOnce(scene: Scene, round: Round, agent: Agent, stream: boolean): Promise<string> {
  const body = JSON.stringify({
    model,
    stream,
    max_completion_tokens: tokens,
    messages: [{ role: 'user', content: 'tick' }],
  })
  return new Promise((resolve) => {
    const outgoing = request(`${scene.platform.apiUrl}/chat/completions`, {
      method: 'POST',
      agent,
      timeout: requestTimeoutMs,
      headers: {
        authorization: `Bearer ${round.secret}`,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      },
    })
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer')))
    outgoing.on('error', (error) => resolve(error.message))
    outgoing.on('response', (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1')
      })
      response.on('error', (error) => resolve(error.message))
      response.on('end', () => resolve(outcomeOf(response.statusCode, text, stream)))
    })
    outgoing.end(body)
  })
}

function outcomeOf(status: number | undefined, text: string, stream: boolean): string {
  if (status === 200) {
    const isWhole = stream ? text.includes('data: [DONE]') : text.endsWith('}')
    // Cut short for want of money is not served.
    return isWhole && text.split('tick').length - 1 === tokens
      ? 'served'
      : `cut: ${text.slice(-200)}`
  }
  if ((status === 429 || status === 402) && text.includes('"insufficient_quota"')) return 'refused'
  return `${status} ${text.slice(0, 200)}`
}

interface Place {
  readonly tenantId: string
  readonly projectId: string
}

async function preparePlace(scene: Scene): Promise<Place> {
  const [row] = await scene.books.query(
    'SELECT t.id AS tenant, p.id AS project, t.price_list_id AS list FROM tenants t JOIN projects p ON p.tenant_id = t.id LIMIT 1',
  )
  // The input is free, so that the price does not rest on an estimate of it.
  await scene.platform.control('POST', '/api/v1/prices', {
    modelId: model,
    priceListId: row?.['list'],
    amounts: { input_token: '0', output_token: String(tokenNanos) },
  })
  return { tenantId: row?.['tenant'] ?? '', projectId: row?.['project'] ?? '' }
}

async function prepareRound(
  scene: Scene,
  { tenantId, projectId }: Place,
  round: Pick<Round, 'number' | 'k' | 'killed'>,
): Promise<Round> {
  const { control } = scene.platform
  // Their schemas are documented in openapi.json.
  const made = (await control('POST', `/api/v1/tenants/${tenantId}/keys`, {
    projectId,
    name: `round ${round.number}`,
  })) as { key: { id: string }; secret: string }
  const rule = (await control('POST', `/api/v1/tenants/${tenantId}/limits`, {
    apiKeyId: made.key.id,
    per: 'key',
    measure: 'amount',
    window: 'lifetime',
    limit: String(BigInt(round.k) * costNanos),
    enforcement: 'hard',
  })) as { id: string }
  return { ...round, apiKeyId: made.key.id, secret: made.secret, ruleId: rule.id }
}

/** Of the ledger, once it has at least what clients have seen. */
async function bookedRequests(scene: Scene, round: Round, seen: number): Promise<number> {
  await until('what was served is in the ledger', bookedTimeoutMs, async () => {
    return (await countBooked(scene, round)) >= seen
  }).catch(() => {
    // The comparison says so.
  })
  return await countBooked(scene, round)
}

async function countBooked(scene: Scene, round: Round): Promise<number> {
  const [row] = await scene.books.query(
    `SELECT coalesce(sum(amount_nanos), 0)::text AS nanos FROM usage_events WHERE api_key_id = '${round.apiKeyId}'`,
  )
  const nanos = BigInt(row?.['nanos'] ?? 0)
  return Number(nanos) / Number(costNanos)
}
