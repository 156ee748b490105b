/**
 * The catalogue as a gateway holds it: which models are offered, by which names, at which prices from when on. Pure; built once from
 * each snapshot, so that a request only looks things up.
 */
import type { PinnedPrice } from '../billing/usage.ts'

export const modelCategories = [
  'chat',
  'embedding',
  'rerank',
  'audio',
  'image',
  'moderation',
] as const
export type ModelCategory = (typeof modelCategories)[number]

export const lifecyclePhases = ['evaluation', 'production', 'deprecated', 'retired'] as const
export type LifecyclePhase = (typeof lifecyclePhases)[number]

export const priceUnits = [
  'input_token',
  'cached_input_token',
  'output_token',
  'reasoning_token',
  'system_token',
  'rerank_token',
  'audio_minute',
  'image',
  'character',
] as const
export type PriceUnit = (typeof priceUnits)[number]

/** What came out when the suite of checks last ran over a model. */
export interface ConformanceBadge {
  readonly verdict: 'passed' | 'partial' | 'failed'
  /** ISO, in UTC. */
  readonly date: string
  readonly suiteVersion: string
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** Of the engines that served the model then. */
  readonly engineKinds: readonly string[]
}

/** Rows of the database that survive a trip through JSON: money is a decimal string of nano-units. */
export interface CatalogRecords {
  readonly models: readonly ModelRecord[]
  readonly aliases: readonly { readonly alias: string; readonly modelId: string }[]
  readonly prices: readonly PriceRecord[]
}

export interface ModelRecord {
  readonly id: string
  readonly publisher: string | null
  readonly category: ModelCategory
  readonly contextWindowTokens: number | null
  readonly capabilities: readonly string[]
  readonly phase: LifecyclePhase
  /** An ISO date. */
  readonly endOfSupport: string | null
  readonly successor: string | null
  readonly enabled: boolean
  readonly createdAtMs: number
  /** Left out for a model that was never checked. */
  readonly conformance?: ConformanceBadge | undefined
}

export interface PriceRecord {
  readonly priceListId: string
  readonly currency: string
  readonly modelId: string
  readonly unit: PriceUnit
  readonly amountNanos: string
  readonly effectiveFromMs: number
}

export interface CatalogModel {
  readonly id: string
  readonly category: ModelCategory
  readonly contextWindowTokens: number | undefined
  readonly capabilities: readonly string[]
  readonly ownedBy: string
  readonly createdAtMs: number
  readonly phase: LifecyclePhase
  readonly endOfSupport: string | undefined
  readonly successor: string | undefined
  readonly aliases: readonly string[]
  readonly conformance?: ConformanceBadge | undefined
}

export interface Catalogue {
  /** Finds an offered model: enabled, and not retired. A model's own id wins over an alias of the same name. */
  resolve(nameOrAlias: string): CatalogModel | undefined
  /** All offered models, by id. */
  list(): readonly CatalogModel[]
  /** The price that a list asks for a model at a moment; `undefined` when a unit that the model is charged by has no price. */
  priceOf(priceListId: string, modelId: string, atMs: number): PinnedPrice | undefined
}

export function createCatalogue(records: CatalogRecords): Catalogue {
  const models = new Map<string, CatalogModel>()
  for (const record of records.models) {
    if (record.enabled && record.phase !== 'retired') {
      models.set(record.id, toCatalogModel(record, records.aliases))
    }
  }
  const names = new Map(models)
  for (const { alias, modelId } of records.aliases) {
    const model = models.get(modelId)
    if (model && !names.has(alias)) names.set(alias, model)
  }
  const list = [...models.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const periods = pricePeriods(records.prices, models)

  return {
    resolve: (nameOrAlias) => names.get(nameOrAlias),
    list: () => list,
    priceOf: (priceListId, modelId, atMs) =>
      periods.get(`${priceListId}@${modelId}`)?.findLast((period) => period.fromMs <= atMs)?.price,
  }
}

function toCatalogModel(record: ModelRecord, aliases: CatalogRecords['aliases']): CatalogModel {
  return {
    id: record.id,
    category: record.category,
    contextWindowTokens: record.contextWindowTokens ?? undefined,
    capabilities: record.capabilities,
    ownedBy: record.publisher ?? 'unknown',
    createdAtMs: record.createdAtMs,
    phase: record.phase,
    endOfSupport: record.endOfSupport ?? undefined,
    successor: record.successor ?? undefined,
    aliases: aliases.filter((entry) => entry.modelId === record.id).map((entry) => entry.alias),
    conformance: record.conformance,
  }
}

/** From `fromMs` until the next period. A missing price is a period too: the model is refused in it. */
interface PricePeriod {
  readonly fromMs: number
  readonly price: PinnedPrice | undefined
}

/** A price list's id has no `@`, so the key names one pair only. */
function pricePeriods(
  prices: readonly PriceRecord[],
  models: ReadonlyMap<string, CatalogModel>,
): Map<string, PricePeriod[]> {
  const rows = Map.groupBy(prices, (price) => `${price.priceListId}@${price.modelId}`)
  const periods = new Map<string, PricePeriod[]>()
  for (const [key, group] of rows) {
    const model = models.get(group[0]?.modelId ?? '')
    if (!model) continue
    const moments = [...new Set(group.map((row) => row.effectiveFromMs))].toSorted((a, b) => a - b)
    periods.set(
      key,
      moments.map((fromMs) => ({ fromMs, price: pinPrice(group, model.category, fromMs) })),
    )
  }
  return periods
}

/** What a model of each category must have a price for: one unit of each group. */
const neededUnits: Readonly<Record<ModelCategory, readonly (readonly PriceUnit[])[]>> = {
  chat: [['input_token'], ['output_token']],
  moderation: [['input_token'], ['output_token']],
  embedding: [['input_token']],
  rerank: [['rerank_token']],
  // Speech is heard by the minute, and spoken by the character.
  audio: [['audio_minute', 'character']],
  image: [['image']],
}

/** Tokens of a class without a price of its own cost what their kind costs; the other units have a price or are not offered. */
function pinPrice(
  rows: readonly PriceRecord[],
  category: ModelCategory,
  atMs: number,
): PinnedPrice | undefined {
  const inForce = new Map(
    priceUnits.flatMap((unit) => {
      const candidates = rows.filter((row) => row.unit === unit && row.effectiveFromMs <= atMs)
      const newest = candidates.toSorted((a, b) => b.effectiveFromMs - a.effectiveFromMs)[0]
      return newest ? [[unit, newest] as const] : []
    }),
  )
  const isPriced = neededUnits[category].every((group) => group.some((unit) => inForce.has(unit)))
  const [some] = inForce.values()
  if (!isPriced || !some) return undefined

  const nanosOf = (unit: PriceUnit): bigint | undefined => {
    const row = inForce.get(unit)
    return row && BigInt(row.amountNanos)
  }
  // A reranking model is charged by one price for what it reads.
  const inputNanos = category === 'rerank' ? 0n : (nanosOf('input_token') ?? 0n)
  const outputNanos = nanosOf('output_token') ?? 0n
  const units = {
    systemTokenNanos: nanosOf('system_token'),
    audioMinuteNanos: nanosOf('audio_minute'),
    characterNanos: nanosOf('character'),
    imageNanos: nanosOf('image'),
    rerankTokenNanos: nanosOf('rerank_token'),
  }
  const newestMs = Math.max(...[...inForce.values()].map((row) => row.effectiveFromMs))
  return {
    version: `${some.priceListId}@${new Date(newestMs).toISOString()}`,
    currency: some.currency,
    inputNanos,
    cachedInputNanos: nanosOf('cached_input_token') ?? inputNanos,
    outputNanos,
    reasoningNanos: nanosOf('reasoning_token') ?? outputNanos,
    ...(Object.values(units).some((nanos) => nanos !== undefined) && { units }),
  }
}
