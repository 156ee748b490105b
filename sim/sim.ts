/** One world from one seed: built, run to its end with all its troubles, healed, brought to rest, and judged. */
import { createCatalogue, type Catalogue } from '../src/catalog/catalogue.ts'
import type { KeyDirectory } from '../src/identity/key-directory.ts'
import { judgeBooks, type World } from './checkers/books.ts'
import {
  judgeLimits,
  type ChargedAccount,
  type LeaseAccount,
  type ProbeAccount,
  type RuleAccount,
  type RushAccount,
} from './checkers/limits.ts'
import { readJournal } from './checkers/journal-reader.ts'
import { ask, type ClientTruth } from './world/client.ts'
import { createDatabase } from './world/database.ts'
import { createEngineFarm, type EngineFarm } from './world/engine.ts'
import { createGatewayMachine, type GatewayMachine } from './world/gateway.ts'
import { periodOf } from '../src/limits/rule.ts'
import { createLeaseAuthority, type LeaseAuthorityModel } from './world/lease-authority.ts'
import { createLedger, type LedgerModel } from './world/ledger.ts'
import { createLoop, type Loop } from './world/loop.ts'
import type { Plant } from './world/plant.ts'
import { createRandom, type Random } from './world/random.ts'
import {
  drawScenario,
  rushRuleId,
  type PriceScenario,
  type Scenario,
} from './workloads/scenario.ts'

export interface SeedOptions {
  readonly seed: number
  readonly plant?: Plant | undefined
  /** A folder on the real disk, for locks and ids only. */
  readonly directory: string
  readonly onLine?: ((line: string) => void) | undefined
}

export interface SeedResult {
  /** What the checkers found: empty for a clean run. */
  readonly violations: readonly string[]
  readonly virtualMs: number
  readonly events: number
  readonly historyHash: string
  readonly counts: SeedCounts
}

export interface SeedCounts {
  readonly requests: number
  readonly completed: number
  readonly tokens: number
  readonly deaths: number
  readonly refused: number
}

/** Sent while a gateway's connection was broken: it hears that it missed some when it listens again. */
const lostNotices = 0.1
const listenAgainMs = 1_000
/** With all troubles over, a world comes to rest in this time: streams end, gateways start, journals are shipped. */
const restMs = 3_600_000
const restPollMs = 200
const convalescenceMs = 10_000
const replays = 3
const replayLinesMax = 40

export async function runSeed(options: SeedOptions): Promise<SeedResult> {
  const { seed, plant } = options
  const random = createRandom(seed)
  const loop = createLoop(random.fork('loop'), options.onLine)
  const scenario = drawScenario(random.fork('scenario'), plant)
  const violations: string[] = []
  const engines = createEngineFarm(loop, random.fork('engines'))
  let databaseOffsetMs = 0
  for (const { atMs, byMs } of scenario.database.clockJumps)
    loop.after(atMs, () => void (databaseOffsetMs += byMs))
  const databaseNowMs = (): number => scenario.epochMs + loop.nowMs + databaseOffsetMs
  const notices = random.fork('notices')
  const authority = createLeaseAuthority({
    nowMs: databaseNowMs,
    limitOf: limitsOf(scenario),
    periodMsOf: periodsOf(scenario),
    notify(payload) {
      for (const gateway of gateways) {
        const isLost = notices.chance(lostNotices)
        const delayMs = notices.exponential(
          isLost ? listenAgainMs : scenario.database.meanLatencyMs,
        )
        loop.after(delayMs, () => gateway.heard(isLost ? undefined : payload))
      }
    },
  })
  const ledger = createLedger({
    hasUniqueKeys: plant !== 'drop-unique-key',
    nowMs: () => loop.nowMs,
    onCharge: (lifeId, charge) => authority.charge(lifeId, [charge]),
  })
  const database = createDatabase({
    loop,
    random: random.fork('database'),
    troubles: scenario.database,
  })
  const surroundings = {
    loop,
    random: random.fork('gateways'),
    scenario,
    catalogue: catalogueOf(scenario),
    keys: keysOf(scenario),
    database,
    ledger,
    authority,
    engines,
    plant,
    directory: options.directory,
    onViolation: (what: string) => void violations.push(what),
  }
  const gateways = scenario.gateways.map((own, index) =>
    createGatewayMachine(index, own, surroundings),
  )
  const clients = openDoors(loop, scenario, gateways)
  await loop.runUntil(() => false, healedMs(scenario))
  let isAtRest = await comeToRest(loop, gateways, clients)
  const leases = isAtRest ? leasesOfTheDead(authority, gateways) : []
  const probes: ProbeAccount[] = []
  for (const call of scenario.probes) {
    if (!isAtRest) break
    const askedAtMs = databaseNowMs()
    const chargedBefore = ledger.usageRows.flatMap(({ charges, bookedAtMs }) =>
      charges.map((charge) => ({ ...charge, bookedAtMs })),
    )
    const atMs = loop.nowMs
    const client = ask(call, gateways[call.gateway] ?? firstOf(gateways), loop)
    clients.push(client)
    isAtRest = await comeToRest(loop, gateways, clients)
    const moments = { atMs, askedAtMs, answeredAtMs: databaseNowMs() }
    probes.push(toProbe(client, { ...moments, chargedBefore, scenario }))
  }
  let rush: RushAccount | undefined
  if (isAtRest && scenario.rush.length > 0) {
    const chargedBefore = chargedTo(rushRuleId, ledger)
    const rushers = scenario.rush.map((call) =>
      ask(call, gateways[call.gateway] ?? firstOf(gateways), loop),
    )
    clients.push(...rushers)
    isAtRest = await comeToRest(loop, gateways, clients)
    rush = toRush(rushers, scenario, {
      chargedBefore,
      chargedAfter: chargedTo(rushRuleId, ledger),
    })
  }
  if (!isAtRest || !(await stopAll(loop, gateways)))
    violations.push('the world does not come to rest: requests are under way, or not shipped')
  replayJournals(gateways, ledger, random.fork('replay'), (what) => violations.push(what))
  violations.push(
    ...judgeBooks(accountsOf({ scenario, clients, engines, gateways, ledger })),
    ...judgeLimits({
      timeZone: scenario.timeZone,
      clockJumped: scenario.database.clockJumps.length > 0,
      rules: rulesOf(scenario),
      usage: withMoments(ledger, clients),
      leases,
      probes,
      rush,
    }),
  )
  for (const violation of violations) loop.note(`violation: ${violation}`)
  return {
    violations,
    virtualMs: loop.nowMs,
    events: loop.events,
    historyHash: loop.historyHash(),
    counts: countsOf(clients, engines, gateways),
  }
}

/** When the last trouble that has an hour is over, and everybody has noticed. */
function healedMs({ trafficMs, gateways, database }: Scenario): number {
  const periods = [
    ...database.away,
    ...gateways.flatMap(({ disk }) => [...disk.stalls, ...disk.full]),
  ]
  return Math.max(trafficMs, ...periods.map((period) => period.toMs)) + convalescenceMs
}

/** Gateways start, clients come, and people stop and start gateways. */
function openDoors(
  loop: Loop,
  scenario: Scenario,
  gateways: readonly GatewayMachine[],
): ClientTruth[] {
  const clients: ClientTruth[] = []
  for (const gateway of gateways) gateway.start()
  for (const [index, { restarts }] of scenario.gateways.entries()) {
    for (const { atMs, downMs } of restarts) {
      loop.after(atMs, () => {
        void gateways[index]?.stop().then(() => loop.after(downMs, () => gateways[index]?.start()))
      })
    }
  }
  for (const call of scenario.calls) {
    loop.after(call.atMs, () => {
      const gateway = gateways[call.gateway]
      if (gateway) clients.push(ask(call, gateway, loop))
    })
  }
  return clients
}

async function comeToRest(
  loop: Loop,
  gateways: readonly GatewayMachine[],
  clients: readonly ClientTruth[],
): Promise<boolean> {
  const deadlineMs = loop.nowMs + restMs
  const isAtRest = (): boolean =>
    clients.every((client) => client.isOver) && gateways.every((gateway) => gateway.isSettled())
  while (!isAtRest()) {
    if (loop.nowMs > deadlineMs) return false
    for (const gateway of gateways) gateway.start()
    await loop.runUntil(() => false, loop.nowMs + restPollMs)
  }
  return true
}

async function stopAll(loop: Loop, gateways: readonly GatewayMachine[]): Promise<boolean> {
  let stopped = 0
  for (const gateway of gateways) void gateway.stop().then(() => (stopped += 1))
  return await loop.runUntil(() => stopped === gateways.length, loop.nowMs + restMs)
}

/** Applies every journal again, from its first event, in batches of any size; the books may not change. */
function replayJournals(
  gateways: readonly GatewayMachine[],
  ledger: LedgerModel,
  random: Random,
  onViolation: (what: string) => void,
): void {
  const before = summaryOf(ledger)
  for (let replay = 0; replay < replays; replay += 1) {
    for (const { gatewayId, disk } of gateways) {
      const events = readJournal(disk.everySegment())
      for (let start = 0; start < events.length;) {
        const batch = events.slice(start, start + random.whole(1, replayLinesMax))
        const lines = batch
          .filter(({ fields }) => fields['kind'] === 'open' || fields['kind'] === 'settle')
          .map(({ line }) => line)
        ledger.apply(gatewayId, lines, batch.at(-1)?.sequence ?? 0n)
        start += batch.length
      }
    }
    const after = summaryOf(ledger)
    if (after !== before)
      onViolation(`replay ${replay + 1} changes the books: ${before} → ${after}`)
  }
}

function summaryOf({ usageRows, entries, balances }: LedgerModel): string {
  const sums = [...balances].map(([account, balance]) => `${account} ${balance}`).toSorted()
  return `${usageRows.length} rows, ${entries.length} entries, ${sums.join(', ')}`
}

function accountsOf(scope: {
  readonly scenario: Scenario
  readonly clients: readonly ClientTruth[]
  readonly engines: EngineFarm
  readonly gateways: readonly GatewayMachine[]
  readonly ledger: LedgerModel
}): World {
  const { scenario, clients, engines, gateways, ledger } = scope
  return {
    clients: clients.map((client) => {
      const body: { model: string; stream: boolean; max_tokens?: number } = JSON.parse(
        client.call.body,
      )
      return {
        ...client,
        requestId: client.call.requestId,
        tenantId: client.call.key.tenantId,
        streamed: body.stream,
        maxTokens: body.max_tokens,
        modelId: body.model,
      }
    }),
    engines: engines.truths,
    journals: gateways.map(({ gatewayId, disk, deaths, diskFailures }, index) => ({
      gatewayId,
      wasWell: deaths === 0 && diskFailures === 0,
      clockJumped: (scenario.gateways[index]?.clockJumps.length ?? 0) > 0,
      events: readJournal(disk.everySegment()),
    })),
    usage: ledger.usageRows,
    entries: ledger.entries,
    balances: ledger.balances,
    prices: scenario.prices,
  }
}

/** A probe reads one word, and answers with no more than it asks for: see `drawProbes`. */
const probeInputTokensMax = 60n

function toProbe(
  client: ClientTruth,
  at: Pick<ProbeAccount, 'atMs' | 'askedAtMs' | 'answeredAtMs' | 'chargedBefore'> & {
    readonly scenario: Scenario
  },
): ProbeAccount {
  const { call, refusal } = client
  const { scenario, ...moments } = at
  const body: { model: string; max_tokens: number } = JSON.parse(call.body)
  const prices = scenario.prices.filter((price) => price.modelId === body.model)
  const dearest = (unit: (price: PriceScenario) => bigint): bigint =>
    prices.map(unit).reduce((most, nanos) => (nanos > most ? nanos : most), 0n)
  const output = BigInt(body.max_tokens)
  return {
    ...moments,
    ...call.key,
    requestId: call.requestId,
    modelId: body.model,
    isRefused: isRefused(client),
    refusal,
    most: {
      requests: 1n,
      concurrency: 1n,
      input_tokens: probeInputTokensMax,
      output_tokens: output,
      tokens: probeInputTokensMax + output,
      amount:
        probeInputTokensMax *
          dearest((price) => largest(price.inputNanos, price.cachedInputNanos)) +
        output * dearest((price) => largest(price.outputNanos, price.reasoningNanos)),
    },
  }
}

function isRefused({ status, refusal }: ClientTruth): boolean {
  return status === 429 || status === 402 || refusal.includes('limits_unavailable')
}

function toRush(
  rushers: readonly ClientTruth[],
  { limits }: Scenario,
  charged: Pick<RushAccount, 'chargedBefore' | 'chargedAfter'>,
): RushAccount {
  return {
    ruleId: rushRuleId,
    limit: BigInt(limits.rules.find((rule) => rule.id === rushRuleId)?.limit ?? 0),
    asked: rushers.length,
    refused: rushers.filter(isRefused).length,
    ...charged,
  }
}

/** Of the one tenant that the rule is for. */
function chargedTo(ruleId: string, { usageRows }: LedgerModel): bigint {
  return usageRows
    .flatMap((row) => row.charges)
    .filter((charge) => charge.ruleId === ruleId)
    .reduce((sum, charge) => sum + charge.amount, 0n)
}

function largest(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

function leasesOfTheDead(
  authority: LeaseAuthorityModel,
  gateways: readonly GatewayMachine[],
): LeaseAccount[] {
  const living = new Set(gateways.flatMap((gateway) => gateway.livingLifeIds()))
  return authority
    .counters()
    .flatMap(({ leases, ...counter }) =>
      leases
        .filter((lease) => !living.has(lease.lifeId))
        .map((lease) => ({ ...counter, ...lease })),
    )
}

function rulesOf({ limits }: Scenario): RuleAccount[] {
  const credits = new Map(limits.credits.map(({ tenantId, nanos }) => [tenantId, BigInt(nanos)]))
  const rules = limits.rules.map((rule): RuleAccount => ({
    ...anyScope,
    ...rule,
    ruleId: rule.id,
    limitOf: () => BigInt(rule.limit),
  }))
  const isPrepaid = limits.plans.some((plan) => plan.prepaid)
  const credit: RuleAccount = {
    ...anyScope,
    ruleId: 'credit',
    per: 'tenant',
    measure: 'amount',
    window: 'lifetime',
    enforcement: 'hard',
    onOutage: 'closed',
    limitOf: (tenantId) => credits.get(tenantId) ?? 0n,
  }
  return isPrepaid ? [...rules, credit] : rules
}

const anyScope = {
  tenantId: undefined,
  projectId: undefined,
  apiKeyId: undefined,
  modelId: undefined,
} as const

function firstOf<Item>(items: readonly Item[]): Item {
  const [first] = items
  if (first === undefined) throw new Error('a world has a gateway')
  return first
}

function withMoments(
  { usageRows }: LedgerModel,
  clients: readonly ClientTruth[],
): ChargedAccount[] {
  const asked = new Map(clients.map((client) => [client.call.requestId, client.askedAtMs]))
  return usageRows.map((row) => ({ ...row, askedAtMs: asked.get(row.requestId) ?? 0 }))
}

function countsOf(
  clients: readonly ClientTruth[],
  engines: EngineFarm,
  gateways: readonly GatewayMachine[],
): SeedCounts {
  return {
    requests: clients.length,
    completed: clients.filter((client) => client.sawEnd).length,
    refused: clients.filter((client) => client.status !== undefined && client.status >= 400).length,
    tokens: [...engines.truths.values()].reduce((sum, truth) => sum + truth.takenTokens, 0),
    deaths: gateways.reduce((sum, gateway) => sum + gateway.deaths, 0),
  }
}

function limitsOf({ limits }: Scenario): (ruleId: string, tenantId: string) => bigint | undefined {
  const rules = new Map(limits.rules.map((rule) => [rule.id, BigInt(rule.limit)]))
  const credits = new Map(limits.credits.map(({ tenantId, nanos }) => [tenantId, BigInt(nanos)]))
  return (ruleId, tenantId) =>
    ruleId === 'credit' ? (credits.get(tenantId) ?? 0n) : rules.get(ruleId)
}

function periodsOf({ limits }: Scenario): (ruleId: string) => number | undefined {
  const periods = new Map(limits.rules.map((rule) => [rule.id, periodOf(rule.window)]))
  return (ruleId) => periods.get(ruleId)
}

const priceListId = 'standard'

function catalogueOf({ prices, replicas }: Scenario): Catalogue {
  const modelIds = new Set(replicas.map((replica) => replica.modelId))
  return createCatalogue({
    models: [...modelIds].map((id) => ({
      id,
      publisher: null,
      category: 'chat',
      contextWindowTokens: 4_096,
      capabilities: id === 'large' ? ['reasoning'] : [],
      phase: 'production',
      endOfSupport: null,
      successor: null,
      enabled: true,
      createdAtMs: 0,
    })),
    aliases: [],
    prices: prices.flatMap(({ modelId, fromMs, ...nanos }) =>
      (
        [
          ['input_token', nanos.inputNanos],
          ['cached_input_token', nanos.cachedInputNanos],
          ['output_token', nanos.outputNanos],
          ['reasoning_token', nanos.reasoningNanos],
        ] as const
      ).map(([unit, amount]) => ({
        priceListId,
        currency: 'EUR',
        modelId,
        unit,
        amountNanos: String(amount),
        effectiveFromMs: fromMs,
      })),
    ),
  })
}

/** Who a key belongs to; how keys are checked is not what is simulated. */
function keysOf({ keys }: Scenario): KeyDirectory {
  const bySecret = new Map(keys.map((key) => [key.secret, key]))
  return {
    authenticate({ secret }) {
      const key = bySecret.get(secret)
      if (!key) return { outcome: 'refused', code: 'auth.invalid_key', reason: 'no such key' }
      const { tenantId, projectId, apiKeyId } = key
      return {
        outcome: 'accepted',
        principal: {
          tenantId,
          projectId,
          apiKeyId,
          currency: 'EUR',
          priceListId,
          allowedModels: undefined,
          allowedLocations: [],
        },
      }
    },
    recall: () => ({ outcome: 'refused', code: 'auth.invalid_key', reason: 'no batches here' }),
  }
}
