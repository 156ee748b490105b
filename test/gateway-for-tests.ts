/** Gateways over real PostgreSQL and the real journal, in this process, with models whose engine answers as the test says. */
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readConfig, type Config } from '../src/app/config.ts'
import type { Role } from '../src/app/lifecycle.ts'
import { loadSecrets, secretPath } from '../src/app/secrets.ts'
import { startGateway } from '../src/app/wire-gateway.ts'
import { createApiKey, updateTenant } from '../src/identity/identity.ts'
import { createRule, type NewRule } from '../src/limits/rules.ts'
import {
  createEngine,
  createModel,
  createOwner,
  databaseForTests,
  type InDatabase,
  type ModelForTests,
  type Owner,
} from './gateway/database.ts'
import { startGatewayProcess, type GatewayProcess } from './gateway/gateway-process.ts'
import { readLedger, type Ledger } from './gateway/ledger.ts'
import { openRoad, type Road } from './gateway/road.ts'
import { startScriptedEngine, type EngineHears, type Script } from './gateway/scripted-engine.ts'
import { until } from './gateway/until.ts'
import { judgeTraffic } from './openapi/judge-traffic.ts'

export type { ModelForTests, Owner } from './gateway/database.ts'
export { createGate } from './gateway/gate.ts'
export type { BilledUsage } from './gateway/ledger.ts'
export {
  doneEvent,
  toEvent,
  type EngineHears,
  type EngineSays,
  type Script,
} from './gateway/scripted-engine.ts'
export { until } from './gateway/until.ts'

type ConfigSection = Readonly<Record<string, unknown>>

export interface GatewaySettings {
  /** The configuration's sections of these names. */
  readonly gateway?: ConfigSection
  readonly batch?: ConfigSection
  /** It reaches the database by the road, which can be shut. */
  readonly byRoad?: boolean
}

export interface HarnessOptions {
  readonly models: readonly ModelForTests[]
  /** Says nothing but 404 where it is left out. */
  readonly script?: Script
  /** `public-2026`, which has a price for every category, where it is left out. */
  readonly priceListId?: string
  /** The configuration's section of this name, beside the port, of every gateway. */
  readonly gateway?: ConfigSection
  /** One where it is left out. */
  readonly gateways?: readonly GatewaySettings[]
}

export interface NewKey {
  readonly owner?: Owner
  readonly allowedModels?: readonly string[]
  /** Of the key alone; what they leave out is as of one request in a lifetime. */
  readonly rules?: readonly Partial<NewRule>[]
}

export interface KeyForTests {
  readonly id: string
  readonly secret: string
}

export interface PostOptions {
  readonly key?: string
  /** The first where it is left out. */
  readonly gateway?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

export interface GatewayForTests extends Ledger {
  /** Of the first gateway, as all that speaks of only one. */
  readonly url: string
  readonly gateways: readonly Role[]
  /** May use every model. */
  readonly key: string
  /** Of this key, and of all that do not say another. */
  readonly owner: Owner
  readonly inDatabase: InDatabase
  /** Of the same database, past all that tenants are kept from. */
  readonly databaseOwnerUrl: string
  /** Where the gateways keep their secrets and journals. */
  readonly directory: string
  readonly road: Road
  /** Known to every gateway once it is there. */
  makeKey(key?: NewKey): Promise<KeyForTests>
  keyFor(allowedModels: readonly string[]): Promise<string>
  /** Another tenant. */
  makeOwner(name: string): Promise<Owner>
  /** The gateways hear of it soon after. */
  addModel(model: ModelForTests): Promise<void>
  /** For a model that is there. */
  addEngine(model: ModelForTests): Promise<void>
  /** What the engine was asked since the last call. */
  heard(): readonly EngineHears[]
  /** Strings, bytes and forms go as they are, all else as JSON. A string for options is a key. */
  post(path: string, body: unknown, options?: string | PostOptions): Promise<Response>
  get(path: string, key?: string): Promise<Response>
  /** Changes where the tenant's prompts may go; the gateways hear of it soon after. */
  allowPlaces(places: readonly string[]): Promise<void>
  /** Ends those that run, as a restart does, and starts others on their database. */
  replaceGateways(settings: readonly GatewaySettings[]): Promise<void>
  /** Another one on the same database, to be killed. */
  startProcess(index: number): Promise<GatewayProcess>
  close(): Promise<void>
}

const silentScript: Script = () => ({ status: 404, body: {} })

export async function gatewayForTests(options: HarnessOptions): Promise<GatewayForTests> {
  const { script = silentScript, priceListId = 'public-2026' } = options
  const database = await databaseForTests()
  const { inDatabase } = database
  const traffic = judgeTraffic()
  const directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-gateway-'))
  const engine = await startScriptedEngine(script)
  const road = await openRoad(database.appUrl)
  const configOf = ({ gateway, batch = {}, byRoad }: GatewaySettings, position = 0): Config =>
    readConfig(
      {
        dataDirectory: directory,
        logLevel: 'silent',
        gateway: { port: 0, index: position + 1, ...options.gateway, ...gateway },
        database: { appUrl: byRoad === true ? road.url : database.appUrl },
        batch,
      },
      {},
    )
  const secrets = loadSecrets(secretPath(configOf({})))
  const pepper = { version: 1, key: secrets.peppers.get(1) ?? Buffer.alloc(0) }
  const seeding = { priceListId, engineUrl: engine.url, seal: secrets.atRest }

  const createKey = (owner: Owner, { allowedModels, rules = [] }: NewKey): Promise<KeyForTests> =>
    inDatabase(async (tx) => {
      const { key, secret } = await createApiKey(tx, { ...owner, name: 'k', allowedModels }, pepper)
      for (const rule of rules) {
        const whole = { ...oneRequest, ...rule, apiKeyId: key.id }
        await createRule(tx, { tenantId: owner.tenantId }, whole, 'platform')
      }
      return { id: key.id, secret }
    })

  const ownerOfKeys = await inDatabase(async (tx) => {
    const owner = await createOwner(tx, 'A', priceListId)
    for (const model of options.models) await createModel(tx, model, seeding)
    return owner
  })
  const { secret } = await createKey(ownerOfKeys, {})
  const start = (settings: readonly GatewaySettings[]): Promise<Role[]> =>
    Promise.all(settings.map((each, position) => startGateway(configOf(each, position))))
  let gateways = await start(options.gateways ?? [{}])
  const end = async (): Promise<void> => {
    await Promise.all(gateways.map((gateway) => gateway.drain()))
    for (const gateway of gateways) await gateway.stop()
  }
  const urlOf = (position: number): string => gateways[position]?.url ?? ''
  const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` })

  const makeKey = async (wanted: NewKey = {}): Promise<KeyForTests> => {
    const made = await createKey(wanted.owner ?? ownerOfKeys, wanted)
    for (const { url } of gateways) {
      await until(async () => {
        const { ok } = await fetch(`${url}/v1/models`, { headers: bearer(made.secret) })
        return ok || undefined
      })
    }
    return made
  }

  return {
    ...readLedger(inDatabase),
    get url() {
      return urlOf(0)
    },
    get gateways() {
      return gateways
    },
    key: secret,
    owner: ownerOfKeys,
    inDatabase,
    databaseOwnerUrl: database.ownerUrl,
    directory,
    road,
    makeKey,
    keyFor: async (allowedModels) => (await makeKey({ allowedModels })).secret,
    makeOwner: (name) => inDatabase((tx) => createOwner(tx, name, priceListId)),
    addModel: (model) => inDatabase((tx) => createModel(tx, model, seeding)),
    addEngine: (model) => inDatabase((tx) => createEngine(tx, model, seeding)),
    heard: engine.heard,
    post(path, content, given = {}) {
      const {
        key = secret,
        gateway = 0,
        headers,
        signal,
      } = typeof given === 'string' ? { key: given } : given
      const { body, contentType } = toBody(content)
      return fetch(`${urlOf(gateway)}${path}`, {
        method: 'POST',
        headers: { ...bearer(key), ...contentType, ...headers },
        body,
        signal: signal ?? null,
      })
    },
    get: (path, key = secret) => fetch(`${urlOf(0)}${path}`, { headers: bearer(key) }),
    async allowPlaces(allowedLocations) {
      await inDatabase((tx) => updateTenant(tx, ownerOfKeys.tenantId, { allowedLocations }))
    },
    async replaceGateways(settings) {
      await end()
      gateways = await start(settings)
    },
    startProcess: (index) => startGatewayProcess({ index, directory, appUrl: database.appUrl }),
    async close() {
      road.open()
      // First, so that nobody waits for answers that never end.
      await engine.close()
      await end()
      await road.close()
      await database.close()
      fs.rmSync(directory, { recursive: true, force: true })
      // Last, because it throws when something was answered that the published description does not know.
      await traffic.finish()
    },
  }
}

const oneRequest: NewRule = {
  per: 'key',
  measure: 'requests',
  window: 'lifetime',
  limit: 1n,
  enforcement: 'hard',
  onOutage: 'closed',
}

function toBody(content: unknown): {
  readonly body: string | Uint8Array<ArrayBuffer> | FormData
  readonly contentType: Readonly<Record<string, string>>
} {
  // It tells its boundary by itself.
  if (content instanceof FormData) return { body: content, contentType: {} }
  const contentType = { 'content-type': 'application/json' }
  if (typeof content === 'string') return { body: content, contentType }
  if (content instanceof Uint8Array) return { body: new Uint8Array(content), contentType }
  return { body: JSON.stringify(content), contentType }
}
