/** What one seed holds in store: how many gateways, who asks for what, and everything that goes wrong, when. Drawn before the world begins. */
import {
  measures,
  type Enforcement,
  type LimitRecords,
  type LimitRuleRecord,
  type Measure,
} from '../../src/limits/rule.ts'
import type { DatabaseTroubles } from '../world/database.ts'
import type { DiskTroubles, Period } from '../world/disk.ts'
import type { EngineTroubles } from '../world/engine.ts'
import type { Plant } from '../world/plant.ts'
import type { Random } from '../world/random.ts'

export interface Scenario {
  readonly epochMs: number
  /** Requests arrive, and troubles begin, before this. */
  readonly trafficMs: number
  readonly gateways: readonly GatewayScenario[]
  readonly database: DatabaseTroubles & { readonly clockJumps: readonly ClockJump[] }
  readonly replicas: readonly {
    readonly id: string
    readonly modelId: string
    readonly troubles: EngineTroubles
  }[]
  readonly prices: readonly PriceScenario[]
  readonly keys: readonly KeyScenario[]
  readonly timeZone: string
  readonly limits: LimitRecords
  /** Asked one after the other once the world is at rest. */
  readonly probes: readonly CallScenario[]
  /** Asked all at once after that, by keys of one tenant, under a limit of requests alone. */
  readonly rush: readonly CallScenario[]
  readonly calls: readonly CallScenario[]
}

export interface GatewayScenario {
  readonly disk: DiskTroubles
  readonly segmentBytes: number
  readonly segmentsMax: number
  readonly deaths: readonly DeathScenario[]
  readonly clockJumps: readonly ClockJump[]
  /** It is stopped in order, and started again. */
  readonly restarts: readonly { readonly atMs: number; readonly downMs: number }[]
}

export interface ClockJump {
  readonly atMs: number
  readonly byMs: number
}

export type Moment = 'asked' | 'written' | 'committed' | 'engine-accepted' | 'answer-ended'

export interface DeathScenario {
  readonly cause: 'kill' | 'power'
  readonly at: { readonly ms: number } | { readonly moment: Moment; readonly count: number }
  /** Whether the process sees what happened at that moment before it dies. */
  readonly seesIt: boolean
  readonly downMs: number
}

export interface PriceScenario {
  readonly modelId: string
  readonly fromMs: number
  readonly inputNanos: bigint
  readonly cachedInputNanos: bigint
  readonly outputNanos: bigint
  readonly reasoningNanos: bigint
}

export interface KeyScenario {
  readonly secret: string
  readonly apiKeyId: string
  readonly projectId: string
  readonly tenantId: string
}

export interface CallScenario {
  readonly requestId: string
  readonly atMs: number
  readonly key: KeyScenario
  readonly body: string
  readonly gateway: number
  readonly latencyMs: number
  readonly readMs: number
  /** So long after it asked, the client leaves; `undefined`: it stays. */
  readonly leavesAfterMs: number | undefined
}

const hourMs = 3_600_000
/** In Paris: the ends of a month, a year and a leap day, and the nights in which clocks change. */
const turns = [
  '2026-03-31T22:00:00Z',
  '2026-12-31T23:00:00Z',
  '2028-02-28T23:00:00Z',
  '2028-02-29T23:00:00Z',
  '2026-03-28T23:00:00Z',
  '2026-03-29T01:00:00Z',
  '2026-10-25T01:00:00Z',
  '2026-10-25T23:00:00Z',
] as const
export const modelIds = ['small', 'large'] as const
export const rushRuleId = 'lim_rush000000000000'
const rushTenantId = 'ten_0'

export function drawScenario(random: Random, plant: Plant | undefined): Scenario {
  const shape = random.fork('shape')
  const trafficMs = shape.whole(5_000, 40_000)
  const isCalm = shape.chance(0.1)
  const gateways = Array.from({ length: shape.whole(1, 3) }, (_, index) =>
    drawGateway(random.fork(`gateway ${index}`), trafficMs, isCalm, plant),
  )
  const epochMs = shape.chance(0.3)
    ? Date.parse(shape.pick(turns)) - shape.whole(0, trafficMs)
    : Date.UTC(2026, 0, 1) + shape.whole(0, 364 * 24 * hourMs)
  const keys = drawKeys(shape)
  const calls = drawCalls(random.fork('calls'), {
    trafficMs,
    isCalm,
    keys,
    gateways: gateways.length,
  })
  const isRush = shape.chance(0.2)
  return {
    timeZone: 'Europe/Paris',
    rush: isRush ? drawRush(random.fork('rush'), keys, gateways.length) : [],
    limits: isRush ? drawRushLimit(shape) : drawLimits(random.fork('limits'), keys),
    probes: drawProbes(random.fork('probes'), keys, gateways.length),
    epochMs,
    trafficMs,
    gateways,
    database: drawDatabase(random.fork('database'), trafficMs, isCalm),
    replicas: drawReplicas(random.fork('replicas'), isCalm),
    prices: drawPrices(random.fork('prices'), epochMs, trafficMs),
    keys,
    calls,
  }
}

function drawGateway(
  random: Random,
  trafficMs: number,
  isCalm: boolean,
  plant: Plant | undefined,
): GatewayScenario {
  const some = (probability: number, max: number): number =>
    !isCalm && random.chance(probability) ? random.whole(1, max) : 0
  const list = <Item>(count: number, draw: () => Item): Item[] =>
    Array.from({ length: count }, draw)
  const moment = (): number => random.between(0, trafficMs)
  return {
    segmentBytes: random.pick([24, 32, 64]) * 1024,
    segmentsMax: random.chance(0.1) ? 4 : 64,
    disk: {
      meanWriteMs: random.pick([0.1, 0.5, 2, 10]),
      failingWrites: new Set(list(some(0.15, 2), () => random.whole(1, 150))),
      failingUntilMs: trafficMs,
      stalls: list(some(0.2, 2), () => drawPeriod(random, trafficMs, 6_000)),
      full: list(some(0.15, 2), () => drawPeriod(random, trafficMs, 10_000)),
      forgetsSyncs: plant === 'skip-fsync',
    },
    deaths: list(some(0.7, 4), () => drawDeath(random, trafficMs)),
    clockJumps: list(some(0.2, 2), () => drawClockJump(random, trafficMs)),
    restarts: list(some(0.2, 1), () => ({ atMs: moment(), downMs: random.exponential(500) })),
  }
}

function drawClockJump(random: Random, trafficMs: number): ClockJump {
  return {
    atMs: random.between(0, trafficMs),
    byMs: random.pick([-hourMs, 24 * hourMs, -1_500, 90_000]),
  }
}

function drawPeriod(random: Random, trafficMs: number, lengthMs: number): Period {
  const fromMs = random.between(0, trafficMs)
  return { fromMs, toMs: fromMs + random.between(0, lengthMs) }
}

function drawDeath(random: Random, trafficMs: number): DeathScenario {
  return {
    cause: random.pick(['kill', 'power']),
    at: random.chance(0.3)
      ? { ms: random.between(0, trafficMs) }
      : {
          moment: random.pick(['asked', 'written', 'committed', 'engine-accepted', 'answer-ended']),
          count: random.whole(1, random.pick([5, 50])),
        },
    seesIt: random.chance(0.5),
    downMs: random.exponential(random.pick([50, 2_000])),
  }
}

function drawDatabase(random: Random, trafficMs: number, isCalm: boolean): Scenario['database'] {
  const outages = !isCalm && random.chance(0.4) ? random.whole(1, 3) : 0
  return {
    meanLatencyMs: random.pick([1, 5, 40]),
    clockJumps: !isCalm && random.chance(0.05) ? [drawClockJump(random, trafficMs)] : [],
    brokenConnections: isCalm ? 0 : random.pick([0, 0.02, 0.2]),
    brokenUntilMs: trafficMs,
    away: Array.from({ length: outages }, () => drawPeriod(random, trafficMs, trafficMs)),
  }
}

function drawReplicas(random: Random, isCalm: boolean): Scenario['replicas'] {
  return modelIds.flatMap((modelId) =>
    Array.from({ length: random.whole(1, 2) }, (_, index) => ({
      id: `replica-${modelId}-${index}`,
      modelId,
      troubles: {
        refusals: isCalm ? 0 : random.pick([0, 0.05]),
        deaths: isCalm ? 0 : random.pick([0, 0.1]),
        silences: isCalm ? 0 : random.pick([0, 0.03]),
        lies: isCalm ? 0 : random.pick([0, 0.1]),
        overruns: isCalm ? 0 : random.pick([0, 0.05]),
        tokenMs: random.pick([2, 10, 30]),
        continuousUsage: random.chance(0.5),
      },
    })),
  )
}

function drawPrices(random: Random, epochMs: number, trafficMs: number): PriceScenario[] {
  const price = (modelId: string, fromMs: number): PriceScenario => ({
    modelId,
    fromMs,
    inputNanos: BigInt(random.whole(1, 2_000)),
    cachedInputNanos: BigInt(random.whole(1, 500)),
    outputNanos: BigInt(random.whole(1, 20_000)),
    reasoningNanos: BigInt(random.whole(1, 40_000)),
  })
  const longAgoMs = epochMs - 30 * 24 * hourMs
  const changeMs = epochMs + Math.floor(random.between(0, trafficMs))
  return modelIds.flatMap((modelId) => [price(modelId, longAgoMs), price(modelId, changeMs)])
}

function drawKeys(random: Random): KeyScenario[] {
  return Array.from({ length: random.whole(1, 4) }, (_, index) => ({
    secret: `secret-${index}`,
    apiKeyId: `key_${index}`,
    projectId: `prj_${Math.floor(index / 2)}`,
    tenantId: `ten_${Math.floor(index / 2)}`,
  }))
}

function drawCalls(
  random: Random,
  world: { trafficMs: number; isCalm: boolean; keys: readonly KeyScenario[]; gateways: number },
): CallScenario[] {
  const { trafficMs, isCalm, keys, gateways } = world
  const [first, ...rest] = keys
  if (!first) throw new Error('a world has a key')
  return Array.from({ length: random.whole(5, 60) }, (_, index) => ({
    requestId: `req_${String(index).padStart(16, '0')}`,
    atMs: random.between(0, trafficMs),
    key: random.pick([first, ...rest]),
    body: JSON.stringify({
      model: random.pick(modelIds),
      messages: [{ role: 'user', content: 'word '.repeat(random.whole(1, 40)) }],
      stream: random.chance(0.7),
      ...(random.chance(0.5) ? { stream_options: { include_usage: true } } : {}),
      ...(random.chance(0.8) ? { max_tokens: random.whole(1, random.pick([30, 64, 300])) } : {}),
    }),
    gateway: random.whole(0, gateways - 1),
    latencyMs: random.pick([0.2, 5, 40]),
    readMs: !isCalm && random.chance(0.1) ? random.pick([20, 200, 100_000]) : 0,
    leavesAfterMs: !isCalm && random.chance(0.2) ? random.exponential(800) : undefined,
  }))
}

/** Small enough that a good part of the traffic meets them. */
const largestLimits: Readonly<Record<Measure, number>> = {
  requests: 50,
  input_tokens: 2_000,
  output_tokens: 2_500,
  tokens: 4_000,
  concurrency: 8,
  amount: 30_000_000,
}

function drawRushLimit(random: Random): LimitRecords {
  const limit = String(random.whole(1, 80))
  const rule: LimitRuleRecord = {
    id: rushRuleId,
    tenantId: rushTenantId,
    per: 'tenant',
    measure: 'requests',
    window: 'lifetime',
    limit,
    enforcement: 'hard',
    onOutage: 'closed',
  }
  return { plans: [], rules: [rule], tenantPlans: [], credits: [] }
}

function drawRush(random: Random, keys: readonly KeyScenario[], gateways: number): CallScenario[] {
  const own = keys.filter((key) => key.tenantId === rushTenantId)
  return Array.from({ length: random.whole(2, 40) }, (_, index) => ({
    ...drawQuickCall(random, `req_rush${String(index).padStart(12, '0')}`, own),
    gateway: random.whole(0, gateways - 1),
  }))
}

function drawLimits(random: Random, keys: readonly KeyScenario[]): LimitRecords {
  if (random.chance(0.25)) return { plans: [], rules: [], tenantPlans: [], credits: [] }
  const tenantIds = [...new Set(keys.map((key) => key.tenantId))]
  const isPrepaid = random.chance(0.3)
  const amount = (): string => String(random.whole(100_000, largestLimits.amount))
  return {
    plans: [{ id: 'plan', name: 'Plan', rank: 1, priority: 'normal', prepaid: isPrepaid }],
    tenantPlans: tenantIds.map((tenantId) => ({ tenantId, planId: 'plan' })),
    credits: isPrepaid ? tenantIds.map((tenantId) => ({ tenantId, nanos: amount() })) : [],
    rules: Array.from({ length: random.whole(1, 4) }, (_, index) => drawRule(random, index, keys)),
  }
}

function drawRule(random: Random, index: number, keys: readonly KeyScenario[]): LimitRuleRecord {
  const measure = random.pick(measures)
  const isOfPlan = random.chance(0.5)
  const key = keys[random.whole(0, keys.length - 1)]
  const enforcement = random.pick<Enforcement>(['hard', 'hard', 'hard', 'soft', 'shadow'])
  return {
    id: `lim_${String(index).padStart(16, '0')}`,
    planId: isOfPlan ? 'plan' : undefined,
    tenantId: isOfPlan ? undefined : key?.tenantId,
    apiKeyId: !isOfPlan && random.chance(0.3) ? key?.apiKeyId : undefined,
    modelId: random.chance(0.2) ? random.pick(modelIds) : undefined,
    per: random.pick(['tenant', 'tenant', 'project', 'key']),
    measure,
    window:
      measure === 'concurrency'
        ? 'lifetime'
        : random.pick(['minute', 'minute', 'hour', 'lifetime']),
    limit: String(random.whole(1, largestLimits[measure])),
    enforcement,
    onOutage: enforcement !== 'hard' && random.chance(0.5) ? 'open' : 'closed',
  }
}

function drawProbes(
  random: Random,
  keys: readonly KeyScenario[],
  gateways: number,
): CallScenario[] {
  return Array.from({ length: 6 }, (_, index) => ({
    ...drawQuickCall(random, `req_probe${String(index).padStart(11, '0')}`, keys),
    gateway: random.whole(0, gateways - 1),
  }))
}

/** One word in, a few out, from a client that stays. */
function drawQuickCall(
  random: Random,
  requestId: string,
  keys: readonly KeyScenario[],
): Omit<CallScenario, 'gateway'> {
  const [first, ...rest] = keys
  if (!first) throw new Error('a world has a key')
  return {
    requestId,
    atMs: 0,
    key: random.pick([first, ...rest]),
    body: JSON.stringify({
      model: random.pick(modelIds),
      messages: [{ role: 'user', content: 'word' }],
      stream: true,
      max_tokens: random.whole(1, 20),
    }),
    latencyMs: random.pick([0.2, 5]),
    readMs: 0,
    leavesAfterMs: undefined,
  }
}
