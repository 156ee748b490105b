/** Everything on one machine: database, roles, first start, and the order in which they come and go. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { randomBytes } from 'node:crypto'
import { sql } from 'kysely'
import pg from 'pg'
import type { Config } from './config.ts'
import { bootstrap, readToken, type FirstSecrets } from './bootstrap.ts'
import { afterExit, neverFailed } from './restart-policy.ts'
import { loadSecrets, secretPath } from './secrets.ts'
import { createSupervisor, type SupervisorEvent } from './supervisor.ts'
import { takeProcessLock } from '../platform/process-lock.ts'
import {
  ensureAppRole,
  startEmbeddedPostgres,
  type EmbeddedPostgres,
} from '../platform/postgres/embedded.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'
import { migrate } from '../platform/postgres/migrate.ts'

export type PlatformEvent =
  | { readonly event: 'starting'; readonly what: string }
  | { readonly event: 'pulling'; readonly model: string; readonly fraction: number | undefined }
  | { readonly event: 'note'; readonly text: string }
  | { readonly event: 'stopping' }
  | { readonly event: 'stopped' }
  | SupervisorEvent

export interface RunningPlatform {
  readonly apiUrl: string
  readonly controlUrl: string
  readonly firstSecrets: FirstSecrets | undefined
  /** Resolves with the chat model that answers, or with `undefined` once it is clear that none will for now. */
  waitForModels(): Promise<string | undefined>
  pids(): Readonly<Record<string, number>>
  isEnding(): boolean
  /** Drains the gateways, then ends the rest. */
  stop(): Promise<void>
  kill(): Promise<void>
}

const migrations = join(import.meta.dirname, '../../migrations')
const pollMs = 250

export async function startPlatform(
  config: Config,
  tell: (event: PlatformEvent) => void,
): Promise<RunningPlatform> {
  mkdirSync(config.dataDirectory, { recursive: true, mode: 0o700 })
  const unlock = takeProcessLock(
    join(config.dataDirectory, 'lock'),
    `the data folder ${config.dataDirectory}`,
  )
  const secrets = loadSecrets(secretPath(config))
  let ending = false
  tell({ event: 'starting', what: 'database' })
  const postgres = await openPostgres(config, tell, () => ending)
  await migrate(postgres.ownerUrl, migrations)
  const database = openDatabase({
    url: postgres.appUrl,
    connectionsMax: 2,
    statementTimeoutMs: 10_000,
    applicationName: 'colonnade-serve',
    onError: () => {
      // The next query connects again, or says what is wrong.
    },
  })
  const firstSecrets = await bootstrap(database, config, secrets)

  const supervisor = createSupervisor(roleEnvironment(config, postgres.appUrl), tell)
  tell({ event: 'starting', what: 'control, gateway and agent' })
  const gateways = Array.from(
    { length: config.gateway.count },
    (_, index) => `gateway ${index + 1}`,
  )
  const agentToken = config.agent.token ?? readToken(config.dataDirectory, 'agent-token') ?? ''
  let addresses: (string | undefined)[]
  try {
    const control = await supervisor.start({ name: 'control', command: 'control', env: {} })
    const started = gateways.map((name, index) =>
      supervisor.start({
        name,
        command: 'gateway',
        env: { COLONNADE_GATEWAY_INDEX: String(index + 1) },
      }),
    )
    const agent = supervisor.start({
      name: 'agent',
      command: 'agent',
      env: { COLONNADE_CONTROL_URL: control ?? '', COLONNADE_AGENT_TOKEN: agentToken },
    })
    addresses = [control, ...(await Promise.all([...started, agent]))]
  } catch (error) {
    ending = true
    supervisor.kill()
    await database.close()
    await postgres.stop()
    unlock()
    throw error
  }

  return {
    apiUrl: addresses[1] ?? '',
    controlUrl: addresses[0] ?? '',
    firstSecrets,
    waitForModels: () => waitForModels(database, tell, () => ending),
    pids: supervisor.pids,
    isEnding: () => ending,
    async stop() {
      ending = true
      tell({ event: 'stopping' })
      await supervisor.stop(gateways)
      await supervisor.stop(['agent'])
      await supervisor.stop(['control'])
      await database.close()
      await postgres.stop()
      unlock()
      tell({ event: 'stopped' })
    },
    async kill() {
      ending = true
      supervisor.kill()
      await postgres.stop()
      unlock()
    },
  }
}

/** Roles get settings and the application's login; the owner's login stays here. */
function roleEnvironment(config: Config, appUrl: string): NodeJS.ProcessEnv {
  const inherited = { ...process.env }
  delete inherited['DATABASE_URL']
  return {
    ...inherited,
    COLONNADE_DATA: config.dataDirectory,
    COLONNADE_APP_DATABASE_URL: appUrl,
    COLONNADE_LOG_LEVEL: config.logLevel,
    COLONNADE_HOST: config.gateway.host,
    COLONNADE_PORT: String(config.gateway.port),
    COLONNADE_GATEWAYS: String(config.gateway.count),
    COLONNADE_CONTROL_HOST: config.control.host,
    COLONNADE_CONTROL_PORT: String(config.control.port),
    ...(config.tls
      ? { COLONNADE_TLS_CERT: config.tls.certPath, COLONNADE_TLS_KEY: config.tls.keyPath }
      : {}),
    ...(config.insecure ? { COLONNADE_INSECURE: '1' } : {}),
  }
}

interface Postgres {
  readonly ownerUrl: string
  readonly appUrl: string
  stop(): Promise<void>
}

async function openPostgres(
  config: Config,
  tell: (event: PlatformEvent) => void,
  isEnding: () => boolean,
): Promise<Postgres> {
  const { url } = config.database
  if (url !== undefined) return givenPostgres(url, config.dataDirectory)
  const directory = join(config.dataDirectory, 'postgres')
  let server = await startEmbeddedPostgres(directory)
  let state = neverFailed
  let startedMs = performance.now()

  /** Starts the server again whenever it ends by itself. */
  const watch = async (watched: EmbeddedPostgres): Promise<void> => {
    await watched.exited
    while (!isEnding()) {
      const next = afterExit(state, performance.now() - startedMs)
      state = next.state
      tell({
        event: 'role-stopped',
        role: 'database',
        reason: 'the server ended',
        restartInMs: next.delayMs,
      })
      await sleep(next.delayMs)
      if (isEnding()) return
      startedMs = performance.now()
      try {
        server = await startEmbeddedPostgres(directory)
        tell({ event: 'role-restarted', role: 'database' })
        return await watch(server)
      } catch (error) {
        tell({
          event: 'note',
          text: error instanceof Error ? error.message : 'the database did not start',
        })
      }
    }
  }
  void watch(server)
  return { ownerUrl: server.ownerUrl, appUrl: server.appUrl, stop: () => server.stop() }
}

/** A PostgreSQL of the operator's: the URL is the owner's, and the roles' login is made there with a password kept here. */
async function givenPostgres(ownerUrl: string, dataDirectory: string): Promise<Postgres> {
  const path = join(dataDirectory, 'secrets', 'database-password')
  const password = readOrCreate(path)
  const client = new pg.Client({ connectionString: ownerUrl, connectionTimeoutMillis: 10_000 })
  await client.connect()
  try {
    await ensureAppRole(client, password)
  } finally {
    await client.end()
  }
  const appUrl = new URL(ownerUrl)
  appUrl.username = 'colonnade_app'
  appUrl.password = password
  return { ownerUrl, appUrl: appUrl.href, stop: () => Promise.resolve() }
}

function readOrCreate(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    // The first start with this database.
    const password = randomBytes(24).toString('base64url')
    mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 })
    writeFileSync(path, password, { mode: 0o600, flush: true })
    return password
  }
}

interface DeployedModel {
  readonly id: string
  readonly category: string
  readonly state: string | null
  readonly detail: string | null
  readonly progress: number | null
  readonly base_url: string | null
}

/** Follows the deployments of this machine until each runs or has failed. */
async function waitForModels(
  database: Database,
  tell: (event: PlatformEvent) => void,
  isEnding: () => boolean,
): Promise<string | undefined> {
  const told = new Map<string, string>()
  const answering = new Set<string>()
  for (;;) {
    if (isEnding()) return undefined
    const models = await listDeployed(database)
    for (const model of models) {
      if (await answers(model)) answering.add(model.id)
      else answering.delete(model.id)
      tellProgress(model, told, tell)
    }
    if (models.every((model) => model.state === 'failed' || answering.has(model.id))) {
      const chat = models.find((model) => model.category === 'chat' && answering.has(model.id))
      return chat?.id
    }
    await sleep(pollMs)
  }
}

async function listDeployed(database: Database): Promise<readonly DeployedModel[]> {
  try {
    return await database.transaction(platformScope, async (tx) => {
      const result = await sql<DeployedModel>`
        SELECT m.id, m.category, r.state, r.detail, r.progress, r.base_url
        FROM deployments d JOIN models m ON m.id = d.model_id LEFT JOIN replicas r ON r.model_id = m.id AND r.node_id IS NOT NULL ORDER BY m.id`.execute(
        tx,
      )
      return result.rows
    })
  } catch {
    // The database is being started again.
    return [{ id: '', category: '', state: null, detail: null, progress: null, base_url: null }]
  }
}

/** A row may say `ready` from before a crash; the engine itself knows. */
async function answers(model: DeployedModel): Promise<boolean> {
  if (model.state !== 'ready' || model.base_url === null) return false
  try {
    const response = await fetch(`${model.base_url}/health`, { signal: AbortSignal.timeout(1_000) })
    return response.ok
  } catch {
    return false
  }
}

function tellProgress(
  model: DeployedModel,
  told: Map<string, string>,
  tell: (event: PlatformEvent) => void,
): void {
  const line = `${model.state} ${model.progress ?? ''} ${model.detail ?? ''}`
  if (told.get(model.id) === line) return
  told.set(model.id, line)
  if (model.state === 'pulling')
    tell({ event: 'pulling', model: model.id, fraction: model.progress ?? undefined })
  if (model.state === 'failed')
    tell({ event: 'note', text: `${model.id}: ${model.detail ?? 'failed'}` })
}
