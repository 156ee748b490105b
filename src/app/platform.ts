/** Everything on one machine: database, roles, first start, and the order in which they come and go. */
import { accessSync, constants, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../platform/clock.ts'
import { Fault } from '../platform/fault.ts'
import { createHttpClient } from '../platform/http/client.ts'
import { createLogger } from '../platform/log.ts'
import { openDatabase } from '../platform/postgres/database.ts'
import { takeProcessLock } from '../platform/process-lock.ts'
import { settleAbandonedJournals } from './abandoned-journals.ts'
import { bootstrap, makeFirstKey, type FirstSecrets } from './bootstrap.ts'
import { roleEnvironment, type Config } from './config.ts'
import { prepareGivenDatabase, startDatabaseServer } from './database-server.ts'
import { removeEndpoints, waitForLeftovers, writeEndpoints } from './leftovers.ts'
import { addressesToLookAt, findLocalEngines, type LocalEngine } from './local-engines.ts'
import { listEngineAddresses, waitForChatModel, type ModelProgress } from './model-watch.ts'
import { choosePorts } from './ports.ts'
import { loadSecrets, secretPath, type Secrets } from './secrets.ts'
import { createSupervisor, type Supervisor, type SupervisorEvent } from './supervisor.ts'

export type PlatformEvent =
  | { readonly event: 'starting'; readonly what: 'database' | 'roles' | 'models' }
  | ({ readonly event: 'model' } & ModelProgress)
  | { readonly event: 'stopping' }
  | { readonly event: 'stopped' }
  | SupervisorEvent

export interface RunningPlatform {
  /** With `/v1`: what SDKs call the base URL. */
  readonly apiUrl: string
  readonly controlUrl: string
  /** Resolves with the chat model that answers; with `undefined` once it is clear that none will for now. */
  waitForModel(signal: AbortSignal): Promise<string | undefined>
  /** Engines on this machine that could be connected and are not. Takes a second or two. */
  findLocalEngines(signal: AbortSignal): Promise<readonly LocalEngine[]>
  /** The secrets of the first start, known to the gateways already; `undefined` on later starts. */
  makeFirstSecrets(): Promise<FirstSecrets | undefined>
  /** Lets running streams end, then ends everything in order. May be called twice: the second time without mercy. */
  stop(): Promise<void>
}

/** The gateways' own limit for streams is ten minutes; then they still bring their journals home. */
const gatewayStopMs = 660_000
const roleStopMs = 30_000
const hurriedStopMs = 5_000
const knownKeyTimeoutMs = 5_000

/** Resolves when every role is ready. When one cannot start, nothing is left running. */
export async function startPlatform(
  config: Config,
  tell: (event: PlatformEvent) => void,
  onLog: (line: string) => void,
): Promise<RunningPlatform> {
  await using started = new AsyncDisposableStack()
  makeDataFolder(config.dataDirectory)
  const what = `the data folder ${config.dataDirectory}`
  started.defer(takeProcessLock(join(config.dataDirectory, 'lock'), what))
  await waitForLeftovers(config.dataDirectory)
  const ports = await choosePorts(config)
  const secrets = loadSecrets(secretPath(config))

  tell({ event: 'starting', what: 'database' })
  const appUrl = await openDatabaseServer(config, secrets, started, tell)
  const database = openDatabase({
    url: appUrl,
    connectionsMax: 2,
    statementTimeoutMs: 10_000,
    applicationName: 'colonnade-serve',
    onError: () => {
      // The next query connects again, or says what is wrong.
    },
  })
  started.defer(() => database.close())
  await bootstrap(database, config, secrets)
  const log = createLogger('serve', config.logLevel)
  await settleAbandonedJournals(config, database, systemClock, log)

  tell({ event: 'starting', what: 'roles' })
  const supervisor = createSupervisor({
    clock: systemClock,
    onLog,
    onEvent(event) {
      tell(event)
      if (event.event === 'role-restarted') saveEndpoints()
    },
  })
  const roles = rolesOf(config, ports, appUrl)
  let hurried = false
  started.defer(async () => {
    const limit = (ms: number): number => (hurried ? hurriedStopMs : ms)
    await supervisor.stop(roles.gateways, limit(gatewayStopMs))
    await supervisor.stop(['agent'], limit(roleStopMs))
    await supervisor.stop(['control'], limit(roleStopMs))
    removeEndpoints(config.dataDirectory)
  })
  const [controlUrl, gatewayUrl] = await startRoles(supervisor, roles)
  const apiUrl = `${gatewayUrl}/v1`
  const saveEndpoints = (): void =>
    writeEndpoints(config.dataDirectory, {
      apiUrl,
      controlUrl,
      pid: process.pid,
      roles: supervisor.roles(),
    })
  saveEndpoints()

  const running = started.move()
  let stopping: Promise<void> | undefined
  return {
    apiUrl,
    controlUrl,
    waitForModel: (signal) =>
      waitForChatModel({
        database,
        clock: systemClock,
        signal,
        onProgress: (progress) => tell({ event: 'model', ...progress }),
      }),
    async findLocalEngines(signal) {
      const addresses = addressesToLookAt(config.discovery)
      if (addresses.length === 0) return []
      const connected = await listEngineAddresses(database, systemClock)
      return await findLocalEngines(addresses, connected, signal)
    },
    async makeFirstSecrets() {
      const made = await makeFirstKey(database, config, secrets)
      if (made) await untilKnown(gatewayUrl, made.apiKey, config.gateway.count)
      return made
    },
    stop() {
      if (stopping) {
        hurried = true
        void supervisor.stop([...roles.gateways, 'agent', 'control'], hurriedStopMs)
        return stopping
      }
      tell({ event: 'stopping' })
      stopping = running.disposeAsync().then(() => tell({ event: 'stopped' }))
      return stopping
    },
  }
}

function makeDataFolder(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    accessSync(directory, constants.W_OK)
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    throw new Fault({
      code: 'client.invalid_request',
      public: `The data folder ${directory} cannot be used (${reason}). Choose another one with --data.`,
      cause: error,
    })
  }
}

/** Returns what roles connect with. */
async function openDatabaseServer(
  config: Config,
  secrets: Secrets,
  started: AsyncDisposableStack,
  tell: (event: PlatformEvent) => void,
): Promise<string> {
  const given = config.database.url
  if (given !== undefined) return prepareGivenDatabase(given, secrets)
  const directory = join(config.dataDirectory, 'postgres')
  const server = await startDatabaseServer(directory, systemClock, tell)
  started.defer(() => server.stop())
  return server.appUrl
}

interface Roles {
  readonly gateways: readonly string[]
  readonly environment: (changes: Readonly<Record<string, unknown>>) => NodeJS.ProcessEnv
}

function rolesOf(
  config: Config,
  ports: { readonly gateway: number; readonly control: number },
  appUrl: string,
): Roles {
  const { count } = config.gateway
  const common: Config = {
    ...config,
    database: { appUrl },
    gateway: { ...config.gateway, port: ports.gateway },
    control: { ...config.control, port: ports.control },
  }
  return {
    gateways: Array.from({ length: count }, (_, index) => `gateway ${index + 1}`),
    environment: (changes) => roleEnvironment(common, changes),
  }
}

/** Returns the addresses of control and of the gateways, as programs on this machine reach them. */
async function startRoles(
  supervisor: Supervisor,
  roles: Roles,
): Promise<readonly [controlUrl: string, gatewayUrl: string]> {
  const env = roles.environment({})
  const gateways = roles.gateways.map((name, index) =>
    supervisor.start({
      name,
      command: 'gateway',
      env: roles.environment({ gateway: { index: index + 1 } }),
    }),
  )
  const control = supervisor.start({ name: 'control', command: 'control', env })
  const agent = control.then((url) =>
    supervisor.start({
      name: 'agent',
      command: 'agent',
      env: roles.environment({ agent: { controlUrl: reachable(url) } }),
    }),
  )
  const all = await Promise.allSettled([control, agent, ...gateways])
  const failure = all.find((result) => result.status === 'rejected')
  if (failure) throw failure.reason
  return [reachable(await control), reachable(await gateways[0])]
}

/** An address to listen on is not always one to connect to. */
function reachable(url: string | undefined): string {
  return (url ?? '').replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:')
}

/** A key that is shown must work. Gateways hear of it at once; each connection may meet another one of them. */
async function untilKnown(gatewayUrl: string, apiKey: string, gateways: number): Promise<void> {
  const signal = AbortSignal.timeout(knownKeyTimeoutMs)
  // A certificate of the operator's own would not be trusted here; the check is a courtesy.
  if (gatewayUrl.startsWith('https:')) return
  for (let known = 0; known < gateways * 4 && !signal.aborted;) {
    if (await isKnown(gatewayUrl, apiKey, signal)) known += 1
    else await sleep(20)
  }
}

async function isKnown(gatewayUrl: string, apiKey: string, signal: AbortSignal): Promise<boolean> {
  const client = createHttpClient(gatewayUrl)
  try {
    const { status } = await client.open({
      method: 'GET',
      path: '/v1/models',
      headers: { authorization: `Bearer ${apiKey}` },
      signal,
      firstByteTimeoutMs: knownKeyTimeoutMs,
      idleTimeoutMs: knownKeyTimeoutMs,
    })
    return status === 200
  } catch {
    return false
  } finally {
    await client.close()
  }
}
