/**
 * A gateway's machine: its disk and its clock stay, its processes come and go. A process is the product's own code, from the request to the
 * journal and the shipper; around it are the simulated disk, clock, network, database and engines.
 */
import fs from 'node:fs'
import { join } from 'node:path'
import type { Batches } from '../../src/batches/batches.ts'
import type { Files } from '../../src/batches/files.ts'
import { openBilling, type Billing } from '../../src/billing/billing.ts'
import { createReceiptSigner } from '../../src/billing/receipt.ts'
import type { LedgerSink } from '../../src/billing/shipper.ts'
import type { Catalogue } from '../../src/catalog/catalogue.ts'
import type { GatewayDeps } from '../../src/gateway/deps.ts'
import { chatCompletions } from '../../src/gateway/endpoints/chat-completions.ts'
import { createLatencyEstimator } from '../../src/gateway/latency-estimate.ts'
import type { GatewayMetrics } from '../../src/gateway/metrics.ts'
import { serve } from '../../src/gateway/pipeline.ts'
import { createReplicas } from '../../src/gateway/replicas.ts'
import { toWireError } from '../../src/gateway/wire/openai/errors.ts'
import type { AnswerBook } from '../../src/idempotency/answers.ts'
import type { Idempotency } from '../../src/idempotency/idempotency.ts'
import type { KeyDirectory } from '../../src/identity/key-directory.ts'
import type { LeaseAuthority } from '../../src/limits/authority.ts'
import { openLimits, type Limits } from '../../src/limits/limits.ts'
import { createOutputEstimator } from '../../src/limits/output-estimate.ts'
import { Fault, toFault } from '../../src/platform/fault.ts'
import { createLogger } from '../../src/platform/log.ts'
import type { Database } from '../../src/platform/postgres/database.ts'
import { createSeal } from '../../src/platform/seal.ts'
import type { StoredResponses } from '../../src/responses/responses.ts'
import type {
  CallScenario,
  DeathScenario,
  GatewayScenario,
  Moment,
  Scenario,
} from '../workloads/scenario.ts'
import { openConnection, type Arrivals, type Connection } from './connection.ts'
import type { SimulatedDatabase } from './database.ts'
import { createDisk, type SimulatedDisk } from './disk.ts'
import type { EngineFarm } from './engine.ts'
import type { LedgerModel } from './ledger.ts'
import { beginLife, type Life } from './life.ts'
import type { Loop } from './loop.ts'
import { settleTooEarly, type Plant } from './plant.ts'
import type { Random } from './random.ts'

export interface GatewayMachine {
  readonly gatewayId: string
  readonly disk: SimulatedDisk
  /** `undefined`: the connection is refused. */
  call(call: CallScenario, arrivals: Arrivals): Connection | undefined
  /** Starts a process, if none is up. */
  start(): void
  /** Stops the process in order: streams end, the ledger gets what is left. */
  stop(): Promise<void>
  noteMoment(moment: Moment): void
  /** A notice from the authority over limits; `undefined` when some may have been lost. */
  heard(payload: string | undefined): void
  /** No process is being started, stopped or mourned, and the ledger has everything. */
  isSettled(): boolean
  readonly deaths: number
  /** How often its journal's disk failed it. It ends soon after, by itself or because it was about to be stopped anyway. */
  readonly diskFailures: number
  /** Those that the present process has begun. */
  livingLifeIds(): readonly string[]
}

export interface GatewaySurroundings {
  readonly loop: Loop
  readonly random: Random
  readonly scenario: Scenario
  readonly catalogue: Catalogue
  readonly keys: KeyDirectory
  readonly database: SimulatedDatabase
  readonly ledger: LedgerModel
  readonly authority: LeaseAuthority
  readonly engines: EngineFarm
  readonly plant: Plant | undefined
  /** On the real disk: holds nothing but a lock and an id. */
  readonly directory: string
  readonly onViolation: (what: string) => void
}

interface Process {
  readonly life: Life
  readonly connections: Set<Connection>
  readonly lifeIds: string[]
  deps: GatewayDeps | undefined
  billing: Billing | undefined
  limits: Limits | undefined
  /** What earlier lives held of limits has been freed. */
  hasReclaimed: boolean
  isDraining: boolean
}

const log = createLogger('simulation', 'silent')
const drainMs = 600_000
const shipTimeoutMs = 10_000
const drainPollMs = 50
/** As the gateway does: who waits is answered before the process ends. */
const fatalMs = 1_000
const startAgainMs = 500
const estimatesMax = 100
const reclaimRetryMs = 1_000

export function createGatewayMachine(
  index: number,
  own: GatewayScenario,
  world: GatewaySurroundings,
): GatewayMachine {
  const { loop, scenario } = world
  const gatewayId = `gw_${String(index).padStart(16, '0')}`
  const directory = join(world.directory, `gateway-${index}`)
  const random = world.random.fork(`gateway ${index}`)
  const moments = new Map<Moment, number>()
  let wallOffsetMs = 0
  let process: Process | undefined
  let deaths = 0
  let diskFailures = 0
  let lives = 0

  const disk = createDisk({
    loop,
    random: random.fork('disk'),
    troubles: own.disk,
    onWritten: () => noteMoment('written'),
  })

  const die = (cause: DeathScenario['cause'], downMs: number): void => {
    if (!process) return
    deaths += 1
    loop.note(`gateway ${index}: dies by ${cause}`)
    const { life, connections } = process
    process = undefined
    life.end()
    if (cause === 'power') disk.losePower()
    else disk.loseProcess()
    for (const connection of connections) connection.cut(cause === 'kill' && random.chance(0.5))
    loop.after(downMs, start)
  }

  const noteMoment = (moment: Moment): void => {
    const count = (moments.get(moment) ?? 0) + 1
    moments.set(moment, count)
    if (loop.nowMs >= scenario.trafficMs) return
    for (const death of own.deaths) {
      if ('ms' in death.at || death.at.moment !== moment || death.at.count !== count) continue
      if (death.seesIt || moment === 'answer-ended')
        loop.after(0, () => die(death.cause, death.downMs))
      else die(death.cause, death.downMs)
    }
  }

  const start = (): void => {
    if (process) return
    const life = beginLife(loop, () => scenario.epochMs + loop.nowMs + wallOffsetMs)
    const starting: Process = {
      life,
      connections: new Set(),
      lifeIds: [],
      deps: undefined,
      billing: undefined,
      limits: undefined,
      hasReclaimed: false,
      isDraining: false,
    }
    process = starting
    loop.note(`gateway ${index}: starts`)
    boot(starting).catch((error: unknown) => {
      if (process !== starting) return
      loop.note(`gateway ${index}: does not start`)
      if (!isOfDisk(error)) world.onViolation(`gateway ${index} does not start: ${String(error)}`)
      die('kill', startAgainMs)
    })
  }

  const boot = async (starting: Process): Promise<void> => {
    const { life } = starting
    prepareDirectory(directory, gatewayId)
    const opened = await openBilling({
      directory,
      segmentBytes: own.segmentBytes,
      bytesMax: own.segmentBytes * own.segmentsMax,
      database: noDatabase,
      ledger: sinkFor(life, world, () => noteMoment('committed')),
      clock: life.clock,
      log,
      files: disk.filesFor(life),
      onFatal: () => {
        diskFailures += 1
        loop.after(random.between(0, fatalMs), () => {
          if (process === starting) die('kill', startAgainMs)
        })
      },
    })
    const billing = world.plant === 'release-before-settle' ? settleTooEarly(opened) : opened
    const replicas = createReplicas({
      clock: life.clock,
      connect: (record) => {
        const replica = scenario.replicas.find((each) => each.id === record.id)
        if (!replica) throw new Error(`no replica is called ${record.id}`)
        return world.engines.connect(life, replica, () => noteMoment('engine-accepted'))
      },
      onCloseError: () => {},
    })
    replicas.apply(
      scenario.replicas.map(({ id, modelId }) => ({
        id,
        modelId,
        engineKind: 'simulated',
        baseUrl: 'http://engine.invalid',
        engineModel: modelId,
        sealedKey: undefined,
        location: 'local',
      })),
    )
    const limits = openLimits({
      authority: authorityFor(life, world),
      clock: life.clock,
      timeZone: scenario.timeZone,
      gatewayId,
      newLifeId: () => {
        lives += 1
        const lifeId = `lif_${index}${String(lives).padStart(15, '0')}`
        starting.lifeIds.push(lifeId)
        return lifeId
      },
      onFailure: () => {},
    })
    limits.apply(scenario.limits)
    starting.limits = limits
    void reclaim(starting, billing, limits)
    starting.billing = billing
    starting.deps = {
      keys: () => world.keys,
      catalogue: () => world.catalogue,
      replicas,
      billing,
      limits,
      outputs: createOutputEstimator({ entriesMax: estimatesMax }),
      inputs: createOutputEstimator({ entriesMax: estimatesMax }),
      latencies: createLatencyEstimator({ entriesMax: estimatesMax }),
      idempotency: noIdempotency,
      answers: noAnswers,
      files: noFiles,
      batches: noBatches,
      responses: noResponses,
      receipts,
      quotaStatus: 429,
      fieldPolicy: { unknown: 'ignore', forwarded: [] },
      metrics: noMetrics,
      clock: life.clock,
      log,
      keyUsed: () => {},
      isDraining: () => starting.isDraining,
      cacheSalt: () => '',
      sealFor: () => createSeal(Buffer.alloc(32)),
    }
    loop.note(`gateway ${index}: ready`)
  }

  for (const jump of own.clockJumps) {
    loop.after(jump.atMs, () => {
      loop.note(`gateway ${index}: the clock jumps by ${jump.byMs} ms`)
      wallOffsetMs += jump.byMs
    })
  }
  for (const death of own.deaths) {
    if ('ms' in death.at) loop.after(death.at.ms, () => die(death.cause, death.downMs))
  }

  const stop = async (): Promise<void> => {
    const stopping = process
    const billing = stopping?.billing
    if (!stopping || !billing || stopping.isDraining) return
    loop.note(`gateway ${index}: drains`)
    stopping.isDraining = true
    const deadlineMs = loop.nowMs + drainMs
    while (stopping.connections.size > 0 && loop.nowMs < deadlineMs) await loop.sleep(drainPollMs)
    const isShipped = await stopping.life.whileAlive(billing.drain(shipTimeoutMs))
    const isOver = isShipped && billing.openHolds() === 0
    await stopping.life.whileAlive(stopping.limits?.close(isOver) ?? Promise.resolve())
    await stopping.life.whileAlive(billing.close())
    if (process !== stopping) return
    loop.note(`gateway ${index}: stops`)
    process = undefined
    stopping.life.end()
    disk.loseProcess()
  }

  return {
    gatewayId,
    disk,
    get deaths() {
      return deaths
    },
    get diskFailures() {
      return diskFailures
    },
    call(call, arrivals) {
      const serving = process
      const deps = serving?.deps
      if (!serving || !deps || serving.isDraining) return undefined
      noteMoment('asked')
      if (serving.life.isOver) return undefined
      const connection = openConnection({
        loop,
        random: random.fork(call.requestId),
        life: serving.life,
        requestId: call.requestId,
        body: call.body,
        headers: { authorization: `Bearer ${call.key.secret}`, 'content-type': 'application/json' },
        latencyMs: call.latencyMs,
        readMs: call.readMs,
        arrivals,
        onEndSent: () => noteMoment('answer-ended'),
      })
      serving.connections.add(connection)
      void handle(connection.exchange, deps).finally(() => {
        connection.close()
        serving.connections.delete(connection)
      })
      return connection
    },
    start,
    stop,
    noteMoment,
    livingLifeIds: () => process?.lifeIds ?? [],
    heard: (payload) => process?.limits?.heard(payload),
    isSettled: () =>
      process?.billing?.lagEvents() === 0 &&
      process.connections.size === 0 &&
      process.billing.openHolds() === 0 &&
      process.hasReclaimed,
  }

  /** As the gateway does at its start. */
  async function reclaim(starting: Process, billing: Billing, limits: Limits): Promise<void> {
    while (await starting.life.whileAlive(billing.shipped())) {
      try {
        await limits.reclaim()
        starting.hasReclaimed = true
        return
      } catch {
        // The database is away.
        await starting.life.whileAlive(loop.sleep(reclaimRetryMs))
      }
    }
  }

  /** As the gateway's listener does it, without HTTP. */
  async function handle(exchange: Connection['exchange'], deps: GatewayDeps): Promise<void> {
    try {
      await serve(chatCompletions, exchange, deps)
    } catch (error) {
      const fault = toFault(error)
      loop.note(`gateway ${index}: ${exchange.requestId} fails: ${fault.code}`)
      if (fault.code === 'platform.bug')
        world.onViolation(`${exchange.requestId} meets a bug: ${fault.internal ?? ''}`)
      if (!exchange.streamStarted)
        await exchange.send(fault.status, {}, JSON.stringify(toWireError(fault)))
    }
  }
}

function sinkFor(
  life: Life,
  { database, ledger }: GatewaySurroundings,
  onCommitted: () => void,
): LedgerSink {
  return {
    findCheckpoint: (gatewayId) => database.read(life, () => ledger.findCheckpoint(gatewayId)),
    apply: (gatewayId, lines, through) =>
      database.write(life, `the journal of ${gatewayId} up to ${through}`, () => {
        ledger.apply(gatewayId, lines, through)
        onCommitted()
      }),
  }
}

/** Errors of the simulated disk have a code; damage is a fault without a cause, and the world damages nothing. */
function isOfDisk(error: unknown): boolean {
  if (error instanceof Fault)
    return error.code === 'billing.journal_full' || error.cause !== undefined
  return error instanceof Error && 'code' in error
}

/** Each call is one transaction of the simulated database. */
function authorityFor(life: Life, { database, authority }: GatewaySurroundings): LeaseAuthority {
  return {
    lease: (ofGateway, wishes) =>
      database.write(life, 'a lease', () => authority.lease(ofGateway, wishes)),
    reclaim: (ofGateway) => database.write(life, 'a reclaim', () => authority.reclaim(ofGateway)),
    end: (ofGateway) => database.write(life, 'the end of a life', () => authority.end(ofGateway)),
    noteRefusals: (refusals) =>
      database.write(life, 'refusals', () => authority.noteRefusals(refusals)),
    purge: () => database.write(life, 'a purge', () => authority.purge()),
  }
}

/** The lock of a dead process is of this very process, which lives: it is taken away, as the death of a real one does. */
function prepareDirectory(directory: string, gatewayId: string): void {
  fs.mkdirSync(directory, { recursive: true })
  fs.writeFileSync(join(directory, 'id'), gatewayId)
  fs.rmSync(join(directory, 'lock'), { force: true })
}

const noDatabase: Database = {
  transaction: () => Promise.reject(new Error('the simulated ledger is reached without SQL')),
  close: () => Promise.resolve(),
}

const receipts = createReceiptSigner(Buffer.alloc(32))

/** No client here sends a key. */
// Simulated clients ask for chat completions only.
const noFiles = {} as Files
const noBatches = {} as Batches
const noResponses = {} as StoredResponses
const noAnswers = {} as AnswerBook

const noIdempotency: Idempotency = {
  begin: () => Promise.reject(new Error('no idempotency key was sent')),
  close: () => {},
}

const noMetrics: GatewayMetrics = {
  answered() {},
  failed() {},
  firstToken() {},
  settled() {},
  render: () => Promise.resolve(''),
  contentType: '',
}
