/**
 * A stage for one fault: two gateways and control as a user starts them, a real PostgreSQL that may be stopped and started, a stub engine
 * that knows what it emitted, and the ledger read by plain SQL.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import {
  startEmbeddedPostgres,
  type EmbeddedPostgres,
} from '../../src/platform/postgres/embedded.ts'
import { openBooks, type Books } from '../e2e/books.ts'
import { descendantsOf, isAlive } from '../e2e/processes.ts'
import { startWithStub, type StubbedPlatform } from '../e2e/stubbed-platform.ts'
import { startStubEngine, type StubEngine } from '../e2e/stub-engine.ts'
import { until } from '../e2e/until.ts'
import { startLoad, type Load, type LoadShape, type Seen } from '../kill/load.ts'
import { judge, type Evidence, type Verdict } from '../kill/verdict.ts'
import { arm, folderVariable, hasFired, type Act, type Point } from './injection/plan.ts'

export interface GatewayProcess {
  readonly index: number
  readonly pid: number
  readonly metricsUrl: string
}

export interface Armed {
  readonly fired: boolean
}

export interface Scene extends AsyncDisposable {
  readonly dataDirectory: string
  readonly engine: StubEngine
  readonly books: Books
  readonly random: () => number
  /** Of the moment: `restart` brings another. */
  readonly platform: StubbedPlatform
  /** Those that live. */
  gateways(): readonly GatewayProcess[]
  segments(gateway: number): string
  arm(gateway: number, point: Point, act: Act, passage?: number): Armed
  load(shape: Partial<LoadShape>): Load
  /** Waits until all gateways answer, each in a process other than the given. */
  whole(without?: readonly number[]): Promise<void>
  /** Waits until everything that reached the engine is in the ledger, then compares the three records. */
  verdict(seen: readonly Seen[], bounds?: Pick<Evidence, 'leavingTokensMax'>): Promise<Verdict>
  stopPlatform(): Promise<void>
  startPlatform(): Promise<void>
  readonly database: {
    readonly ownerUrl: string
    /** Without a checkpoint, as after a power cut. */
    stop(): Promise<void>
    start(): Promise<void>
    /** All its processes hang, or go on. */
    signal(signal: 'SIGSTOP' | 'SIGCONT'): void
  }
}

export interface SceneOptions {
  readonly random: () => number
  readonly gateways?: number
  /** More lines for colonnade.yaml. */
  readonly configuration?: string
  /** Something to do with the data folder before the first start, and how to undo it after the end. */
  readonly prepare?: (dataDirectory: string) => () => void
  readonly environment?: Readonly<Record<string, string>>
}

export const model = 'stub/quick:1'
const pricedModels = [model, 'stub/steady:1', 'stub/flooding:1']
export const inputNanos = 1_000n
export const outputNanos = 3_000n
const restartTimeoutMs = 60_000
const shippingTimeoutMs = 60_000

export async function openScene(options: SceneOptions): Promise<Scene> {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'colonnade-chaos-'))
  const cleanup = new AsyncDisposableStack()
  // Roles whose supervisor died write on for a moment.
  const patience = { maxRetries: 40, retryDelay: 250 }
  cleanup.defer(() => rmSync(dataDirectory, { recursive: true, force: true, ...patience }))
  try {
    return await openOn(dataDirectory, options, cleanup)
  } catch (error) {
    await cleanup.disposeAsync()
    throw error
  }
}

async function openOn(
  dataDirectory: string,
  options: SceneOptions,
  cleanup: AsyncDisposableStack,
): Promise<Scene> {
  const { random, gateways: count = 2 } = options
  const injections = join(dataDirectory, 'injections')
  mkdirSync(injections)
  const undo = options.prepare?.(dataDirectory)
  if (undo) cleanup.defer(undo)
  const postgresDirectory = join(dataDirectory, 'postgres')
  let server = await startEmbeddedPostgres(postgresDirectory)
  cleanup.defer(() => server.stop())
  const engine = await startStubEngine()
  cleanup.defer(() => engine.close())

  let platform: StubbedPlatform | undefined
  const start = async (): Promise<StubbedPlatform> =>
    startWithStub(dataDirectory, {
      engine,
      secrets: platform,
      configuration: options.configuration ?? '',
      args: ['--gateways', String(count)],
      environment: {
        ...options.environment,
        DATABASE_URL: server.ownerUrl,
        [folderVariable]: injections,
        NODE_OPTIONS: `--import=${pathToFileURL(join(import.meta.dirname, 'injection/preload.ts')).href}`,
      },
    })
  platform = await start()
  cleanup.defer(async () => platform?.stop())
  const books = await openBooks(dataDirectory)
  cleanup.defer(() => books.close())
  await setPrices(platform, books)
  // Requests before the prices were set are no part of the case.
  const before = new Set([
    ...engine.truth.keys(),
    ...(await books.usage()).map((row) => row.requestId),
  ])
  let armed = 0

  return {
    dataDirectory,
    engine,
    books,
    random,
    get platform() {
      return current(platform)
    },
    gateways: () => livingGateways(dataDirectory),
    segments: (gateway) => join(dataDirectory, 'gateways', String(gateway), 'segments'),
    arm(gateway, point, act, passage = 1) {
      armed += 1
      const plan = { id: String(armed), point, act, passage }
      arm(injections, gateway, plan)
      return {
        get fired() {
          return hasFired(injections, plan)
        },
      }
    },
    load: (shape) => startLoad({ ...current(platform), model, random, ...shape }),
    async whole(without = []) {
      await until(`${count} gateways answer`, restartTimeoutMs, async () => {
        const living = livingGateways(dataDirectory)
        if (living.length < count || living.some(({ pid }) => without.includes(pid))) return false
        const answers = await Promise.all(living.map(({ metricsUrl }) => fetch(metricsUrl)))
        await Promise.all(answers.map((answer) => answer.text()))
        return answers.every((answer) => answer.ok)
      })
    },
    async verdict(seen, bounds = {}) {
      await shipped(books, engine, before)
      return judge({
        ...bounds,
        seen,
        truth: new Map([...engine.truth].filter(([id]) => !before.has(id))),
        usage: (await books.usage()).filter((row) => !before.has(row.requestId)),
        sums: await books.sums(),
        inputNanos,
        outputNanos,
      })
    },
    stopPlatform: () => current(platform).stop(),
    async startPlatform() {
      platform = await start()
    },
    database: databaseOf(
      postgresDirectory,
      () => server,
      (next) => (server = next),
    ),
    [Symbol.asyncDispose]: () => cleanup.disposeAsync(),
  }
}

function current(platform: StubbedPlatform | undefined): StubbedPlatform {
  if (!platform) throw new Error('the platform was not started')
  return platform
}

function databaseOf(
  directory: string,
  server: () => EmbeddedPostgres,
  replace: (server: EmbeddedPostgres) => void,
): Scene['database'] {
  const ownerUrl = server().ownerUrl
  return {
    ownerUrl,
    async stop() {
      process.kill(server().pid, 'SIGQUIT')
      await server().exited
    },
    async start() {
      replace(await startEmbeddedPostgres(directory))
    },
    signal(signal) {
      const { pid } = server()
      for (const each of [pid, ...descendantsOf(pid).map((entry) => entry.pid)]) {
        process.kill(each, signal)
      }
    },
  }
}

/** As the supervisor has written them down, less those that have died since. */
function livingGateways(dataDirectory: string): readonly GatewayProcess[] {
  const text = readFileSync(join(dataDirectory, 'run', 'endpoints.json'), 'utf8')
  // Written by src/app/leftovers.ts.
  const { roles } = JSON.parse(text) as {
    roles: Record<string, { pid: number; metricsUrl?: string }>
  }
  return Object.entries(roles).flatMap(([name, { pid, metricsUrl = '' }]) => {
    const index = /^gateway (\d+)$/.exec(name)?.[1]
    return index !== undefined && isAlive(pid) ? [{ index: Number(index), pid, metricsUrl }] : []
  })
}

async function setPrices(platform: StubbedPlatform, books: Books): Promise<void> {
  const [tenant] = await books.query('SELECT price_list_id FROM tenants')
  for (const modelId of pricedModels) {
    await platform.control('POST', '/api/v1/prices', {
      modelId,
      priceListId: tenant?.['price_list_id'],
      amounts: { input_token: String(inputNanos), output_token: String(outputNanos) },
    })
  }
  // Each gateway learns of it by itself; the last ones asked must all have known.
  let inARow = 0
  await until('all gateways know the price', 20_000, async () => {
    const response = await platform.chat(model, 1)
    await response.text()
    const id = response.headers.get('x-request-id') ?? ''
    const row = await until('the probe is billed', 10_000, async () =>
      (await books.usage()).find((entry) => entry.requestId === id),
    )
    inARow = row.amountNanos === BigInt(row.inputTokens) * inputNanos + outputNanos ? inARow + 1 : 0
    return inARow >= 4
  })
}

async function shipped(
  books: Books,
  engine: StubEngine,
  before: ReadonlySet<string>,
): Promise<void> {
  await until('the journals are in the ledger', shippingTimeoutMs, async () => {
    if (!(await hasRows(books, engine.truth.size))) return false
    const known = new Set((await books.usage()).map((row) => row.requestId))
    const all = [...engine.truth.keys()].every((id) => before.has(id) || known.has(id))
    return all && (await books.sums()).held === 0n
  }).catch(() => {
    // The judge names what is missing better than this would.
  })
}

/** Cheap, for a first look at a large ledger. */
export async function hasRows(books: Books, count: number): Promise<boolean> {
  const [row] = await books.query('SELECT count(*)::text AS rows FROM usage_events')
  return Number(row?.['rows']) >= count
}

/** Resident memory of a process, in bytes. */
export function memoryOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024
}

/** A file system of so many bytes, or `false` where this user may mount none. */
export function mountSmall(path: string, bytes: number): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path], {
      stdio: 'ignore',
    })
    return true
  } catch {
    return false
  }
}

export function unmount(path: string): void {
  execFileSync('umount', ['-l', path], { stdio: 'ignore' })
}
