/** A gateway over real PostgreSQL and the real journal, in this process, with models whose engines answer as the test says. */
import fs from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { readConfig } from '../src/app/config.ts'
import { loadSecrets, secretPath } from '../src/app/secrets.ts'
import { startGateway } from '../src/app/wire-gateway.ts'
import { addModel, importShippedCatalogue, type ModelCategory } from '../src/catalog/catalog.ts'
import { addExternalEngine } from '../src/fleet/fleet.ts'
import {
  createApiKey,
  createProject,
  createTenant,
  updateTenant,
} from '../src/identity/identity.ts'
import { openDatabase, platformScope } from '../src/platform/postgres/database.ts'
import { postgresForTests } from './postgres-for-tests.ts'

export interface EngineHears {
  readonly path: string
  readonly body: Record<string, unknown>
}
export interface EngineSays {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body: unknown
}
export type Script = (request: EngineHears) => EngineSays

export interface ModelForTests {
  readonly id: string
  readonly category: ModelCategory
  readonly capabilities?: readonly string[]
  readonly contextWindowTokens?: number
  /** `openai-compatible` where it is left out. */
  readonly engineKind?: string
  /** What the engine calls it; the id where it is left out. */
  readonly engineModel?: string
  /** Of another engine than the one that answers as the test says. */
  readonly baseUrl?: string
  /** Where prompts go; our own machines where it is left out. */
  readonly location?: string
  readonly engineKey?: string
  readonly settings?: Readonly<Record<string, string>>
}

export interface BilledUsage {
  readonly outcome: string
  readonly input_tokens: bigint
  readonly output_tokens: bigint
  readonly amount_nanos: bigint
  readonly usage_suspect: boolean
  readonly endpoint: string
}

export interface GatewayForTests {
  readonly url: string
  /** May use every model. */
  readonly key: string
  keyFor(allowedModels: readonly string[]): Promise<string>
  /** What the engine was asked since the last call. */
  heard(): readonly EngineHears[]
  post(path: string, body: unknown, key?: string): Promise<Response>
  /** Changes where the tenant's prompts may go; the gateway hears of it soon after. */
  allowPlaces(places: readonly string[]): Promise<void>
  /** The ledger's own row, once it has arrived. */
  billed(requestId: string | null): Promise<BilledUsage>
  close(): Promise<void>
}

const patienceMs = 5_000
const pauseMs = 25

export async function gatewayForTests(options: {
  readonly script: Script
  readonly models: readonly ModelForTests[]
}): Promise<GatewayForTests> {
  const place = await (await postgresForTests()).createDatabase()
  const directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-gateway-'))
  const engine = await startScriptedEngine(options.script)
  const config = readConfig(
    {
      dataDirectory: directory,
      logLevel: 'silent',
      gateway: { port: 0 },
      database: { appUrl: place.appUrl },
    },
    {},
  )
  const secrets = loadSecrets(secretPath(config))
  const pepper = { version: 1, key: secrets.peppers.get(1) ?? Buffer.alloc(0) }
  const database = openDatabase({
    url: place.appUrl,
    connectionsMax: 2,
    statementTimeoutMs: 5_000,
    applicationName: 'test',
    onError: () => {},
  })
  const owner = await database.transaction(platformScope, async (tx) => {
    await importShippedCatalogue(tx, [])
    // The list that has a price for every category.
    const tenant = await createTenant(tx, { name: 'A', priceListId: 'public-2026' })
    const project = await createProject(tx, tenant.id, 'p')
    for (const model of options.models) {
      await addModel(
        tx,
        {
          id: model.id,
          category: model.category,
          contextWindowTokens: model.contextWindowTokens ?? 1_000,
          capabilities: model.capabilities ?? [],
          weightSources: [],
          weightSha256: null,
        },
        { unpriced: false },
      )
      await addExternalEngine(tx, {
        modelId: model.id,
        engineKind: model.engineKind ?? 'openai-compatible',
        baseUrl: model.baseUrl ?? engine.url,
        engineModel: model.engineModel ?? model.id,
        sealKey:
          model.engineKey === undefined
            ? undefined
            : (context) => secrets.atRest.seal(Buffer.from(model.engineKey ?? ''), context),
        location: model.location,
        settings: model.settings,
      })
    }
    return { tenantId: tenant.id, projectId: project.id }
  })
  const makeKey = (allowedModels?: readonly string[]): Promise<string> =>
    database.transaction(platformScope, async (tx) => {
      const name = `key ${allowedModels?.join(' ') ?? ''}`
      return (await createApiKey(tx, { ...owner, name, allowedModels }, pepper)).secret
    })
  const key = await makeKey()
  const gateway = await startGateway(config)
  const url = gateway.url ?? ''

  return {
    url,
    key,
    async keyFor(allowedModels) {
      const made = await makeKey(allowedModels)
      await until(async () => {
        const headers = { authorization: `Bearer ${made}` }
        const response = await fetch(`${url}/v1/models`, { headers })
        return response.ok ? true : undefined
      })
      return made
    },
    heard: engine.heard,
    post: (path, body, by = key) =>
      fetch(`${url}${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${by}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    async allowPlaces(allowedLocations) {
      await database.transaction(platformScope, (tx) =>
        updateTenant(tx, owner.tenantId, { allowedLocations }),
      )
    },
    billed: (requestId) =>
      until(async () => {
        const found = await database.transaction(platformScope, (tx) =>
          sql<BilledUsage>`SELECT outcome, input_tokens, output_tokens, amount_nanos, usage_suspect, endpoint FROM usage_events WHERE request_id = ${requestId}`.execute(
            tx,
          ),
        )
        return found.rows[0]
      }),
    async close() {
      await gateway.drain()
      await gateway.stop()
      await engine.close()
      await database.close()
      await place.close()
      fs.rmSync(directory, { recursive: true, force: true })
    },
  }
}

async function startScriptedEngine(script: Script): Promise<{
  readonly url: string
  heard(): readonly EngineHears[]
  close(): Promise<void>
}> {
  let requests: EngineHears[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8')
      const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
      const heard = { path: request.url ?? '', body }
      requests.push(heard)
      const says = script(heard)
      response
        .writeHead(says.status ?? 200, { 'content-type': 'application/json', ...says.headers })
        .end(JSON.stringify(says.body))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('it listens on a port')
  return {
    url: `http://127.0.0.1:${address.port}`,
    heard() {
      const all = requests
      requests = []
      return all
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function until<Value>(attempt: () => Promise<Value | undefined>): Promise<Value> {
  for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += pauseMs) {
    const value = await attempt()
    if (value !== undefined) return value
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
  throw new Error(`nothing came within ${patienceMs} ms`)
}
