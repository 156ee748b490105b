/** A database of its own for a test, with the shipped catalogue, and what an operator and a tenant put into it. */
import { addModel, importShippedCatalogue, setPrice } from '../../src/catalog/catalog.ts'
import type { ModelCategory, PriceUnit } from '../../src/catalog/catalog.ts'
import { addExternalEngine } from '../../src/fleet/fleet.ts'
import { createProject, createTenant } from '../../src/identity/identity.ts'
import { openDatabase, platformScope, type Sql } from '../../src/platform/postgres/database.ts'
import type { Seal } from '../../src/platform/seal.ts'
import { postgresForTests } from '../postgres-for-tests.ts'

export type Tx = Sql<unknown>
export type InDatabase = <Result>(work: (tx: Tx) => Promise<Result>) => Promise<Result>

export interface DatabaseForTests {
  readonly appUrl: string
  readonly ownerUrl: string
  readonly inDatabase: InDatabase
  close(): Promise<void>
}

export interface ModelForTests {
  readonly id: string
  readonly category: ModelCategory
  readonly capabilities?: readonly string[]
  /** 1,000 where it is left out; `null` where nobody knows. */
  readonly contextWindowTokens?: number | null
  /** Of one unit each, and no others. Left out, they are those of its class; with nothing in it, it has none. */
  readonly prices?: Readonly<Partial<Record<PriceUnit, bigint>>>
  /** `openai-compatible` where it is left out; with `null` no engine has it. */
  readonly engineKind?: string | null
  /** What the engine calls it; the id where it is left out. */
  readonly engineModel?: string
  /** Of another engine than the one that answers as the test says. */
  readonly baseUrl?: string
  /** Where prompts go; our own machines where it is left out. */
  readonly location?: string
  readonly engineKey?: string
  readonly settings?: Readonly<Record<string, string>>
}

export interface Owner {
  readonly tenantId: string
  readonly projectId: string
}

export async function databaseForTests(): Promise<DatabaseForTests> {
  const place = await (await postgresForTests()).createDatabase()
  const database = openDatabase({
    url: place.appUrl,
    connectionsMax: 2,
    statementTimeoutMs: 5_000,
    applicationName: 'test',
    onError: () => {},
  })
  const inDatabase: InDatabase = (work) => database.transaction(platformScope, work)
  await inDatabase((tx) => importShippedCatalogue(tx, []))
  return {
    appUrl: place.appUrl,
    ownerUrl: place.ownerUrl,
    inDatabase,
    async close() {
      await database.close()
      await place.close()
    },
  }
}

/** A tenant and a project of it. */
export async function createOwner(tx: Tx, name: string, priceListId: string): Promise<Owner> {
  const { id: tenantId } = await createTenant(tx, { name, priceListId })
  const project = await createProject(tx, tenantId, 'p')
  return { tenantId, projectId: project.id }
}

export interface Seeding {
  readonly priceListId: string
  readonly engineUrl: string
  readonly seal: Seal
}

/** With its engine. */
export async function createModel(tx: Tx, model: ModelForTests, seeding: Seeding): Promise<void> {
  const { id, category, prices } = model
  const { contextWindowTokens = 1_000, capabilities = [] } = model
  const unknownWeights = { weightSources: [], weightSha256: null }
  await addModel(
    tx,
    { id, category, contextWindowTokens, capabilities, ...unknownWeights },
    { unpriced: prices !== undefined },
  )
  const nowMs = Date.now()
  for (const [unit, amountNanos] of Object.entries(prices ?? {})) {
    const { priceListId } = seeding
    // The names of a record of units are units.
    const price = { priceListId, modelId: id, unit: unit as PriceUnit, amountNanos }
    await setPrice(tx, { ...price, effectiveFromMs: nowMs }, nowMs)
  }
  await createEngine(tx, model, seeding)
}

export async function createEngine(tx: Tx, model: ModelForTests, seeding: Seeding): Promise<void> {
  const { id, engineKey, engineKind = 'openai-compatible' } = model
  if (engineKind === null) return
  await addExternalEngine(tx, {
    modelId: id,
    engineKind,
    baseUrl: model.baseUrl ?? seeding.engineUrl,
    engineModel: model.engineModel ?? id,
    sealKey:
      engineKey === undefined
        ? undefined
        : (context) => seeding.seal.seal(Buffer.from(engineKey), context),
    location: model.location,
    settings: model.settings,
  })
}
