/** The catalogue's front door: which models exist, which of them are offered, under which names and at which prices. */
import { Fault } from '../platform/fault.ts'
import type { Sql } from '../platform/postgres/database.ts'
import type { CatalogRecords, ConformanceBadge } from './catalogue.ts'
import { modelNotFound, type Model, type NewModel, type Price } from './model.ts'
import {
  fromDefault,
  isShipped,
  shippedModels,
  shippedPriceLists,
  type DefaultModel,
} from './shipped.ts'
import * as store from './store.ts'
import type { ModelFilter } from './store.ts'

export type { ModelFilter } from './store.ts'
export type { DefaultModel } from './shipped.ts'
export type { Model, NewModel, Price } from './model.ts'
export { guessCategory, modelIdPattern, weightSourcePattern } from './model.ts'
export { lifecyclePhases, modelCategories, priceUnits } from './catalogue.ts'
export type { ConformanceBadge, LifecyclePhase, ModelCategory, PriceUnit } from './catalogue.ts'

/** Brings the shipped models and price lists in, as often as wanted; what operators decided stays. */
export async function importShippedCatalogue(
  tx: Sql<unknown>,
  defaults: readonly DefaultModel[],
): Promise<void> {
  await store.upsertShippedModels(tx, [...shippedModels(), ...defaults.map(fromDefault)])
  await store.upsertShippedPriceLists(tx, shippedPriceLists)
}

/** Everything that a gateway needs to know of the catalogue. */
export async function loadCatalogRecords(tx: Sql<unknown>): Promise<CatalogRecords> {
  return {
    models: await store.selectEnabledModels(tx),
    aliases: await store.selectAliases(tx),
    prices: await store.selectEnabledPrices(tx),
  }
}

/** A page of models in the order of their ids. */
export async function listModels(tx: Sql<unknown>, filter: ModelFilter): Promise<Model[]> {
  return await store.selectModels(tx, filter)
}

/** Throws `client.not_found` when there is no such model. */
export async function getModel(tx: Sql<unknown>, modelId: string): Promise<Model> {
  const model = await store.selectModel(tx, modelId)
  if (!model) throw modelNotFound(modelId)
  return model
}

export async function findModel(tx: Sql<unknown>, modelId: string): Promise<Model | undefined> {
  return await store.selectModel(tx, modelId)
}

export interface PricingChoice {
  /** Leaves the model without a price: it is refused until somebody sets one. */
  readonly unpriced: boolean
}

/** Adds a model and offers it. Throws `client.conflict` when the id is taken. */
export async function addModel(
  tx: Sql<unknown>,
  model: NewModel,
  pricing: PricingChoice,
): Promise<void> {
  if (!(await store.insertModel(tx, model))) {
    throw new Fault({
      code: 'client.conflict',
      public: `A model is already called "${model.id}". Choose another id, or enable the existing model.`,
      param: 'id',
    })
  }
  if (!pricing.unpriced) await store.copyClassPrices(tx, model.id)
}

/** Offers a model to tenants, with the prices of its class where it has none of its own. */
export async function enableModel(
  tx: Sql<unknown>,
  modelId: string,
  pricing: PricingChoice,
): Promise<void> {
  if (!(await store.updateEnabled(tx, modelId, true))) throw modelNotFound(modelId)
  if (!pricing.unpriced) await store.copyClassPrices(tx, modelId)
}

/** Says where a model's weights come from now on. What is known of others, their checksum and their badge, is forgotten. */
export async function setWeightSources(
  tx: Sql<unknown>,
  modelId: string,
  weightSources: readonly string[],
): Promise<void> {
  if (!(await store.updateWeightSources(tx, modelId, weightSources))) throw modelNotFound(modelId)
}

/** Shows how a model did when it was last checked. */
export async function setConformance(
  tx: Sql<unknown>,
  modelId: string,
  badge: ConformanceBadge,
): Promise<void> {
  if (!(await store.updateConformance(tx, modelId, badge))) throw modelNotFound(modelId)
}

/** Takes a model off the offer; running requests end as they began. */
export async function disableModel(tx: Sql<unknown>, modelId: string): Promise<void> {
  if (!(await store.updateEnabled(tx, modelId, false))) throw modelNotFound(modelId)
}

/** Deletes a model that an operator added. A shipped one stays in the catalogue, disabled. */
export async function removeModel(
  tx: Sql<unknown>,
  modelId: string,
): Promise<'deleted' | 'disabled'> {
  const model = await getModel(tx, modelId)
  if (isShipped(model.facts)) {
    await store.updateEnabled(tx, modelId, false)
    return 'disabled'
  }
  await store.deleteModel(tx, modelId)
  return 'deleted'
}

/** What the weights themselves say, once somebody has opened them. */
export interface WeightFindings {
  readonly weightSha256: string | null
  readonly contextWindowTokens: number | null
  readonly embeddings: boolean | null
}

/**
 * Takes over what an agent found in the weights: the window that it really serves, the checksum that a model without one is held to
 * from now on, and that a model added as a chat model only embeds. Writes nothing when nothing is new.
 */
export async function noteWeights(
  tx: Sql<unknown>,
  modelId: string,
  findings: WeightFindings,
): Promise<void> {
  const model = await store.selectModel(tx, modelId)
  if (!model) return
  const next = {
    contextWindowTokens: findings.contextWindowTokens ?? model.contextWindowTokens,
    weightSha256: model.weightSha256 ?? findings.weightSha256,
    category: findings.embeddings && model.category === 'chat' ? 'embedding' : model.category,
  } as const
  const unchanged =
    next.contextWindowTokens === model.contextWindowTokens &&
    next.weightSha256 === model.weightSha256 &&
    next.category === model.category
  if (!unchanged) await store.updateWeightFacts(tx, modelId, next)
}

/** Names a model once more. Throws `client.conflict` when a model has that id: its own name would win. */
export async function setAlias(tx: Sql<unknown>, alias: string, modelId: string): Promise<void> {
  await getModel(tx, modelId)
  if (await store.selectModel(tx, alias)) {
    throw new Fault({
      code: 'client.conflict',
      public: `"${alias}" is a model's own id. Choose another alias.`,
      param: 'alias',
    })
  }
  await store.upsertAlias(tx, alias, modelId)
}

export async function removeAlias(tx: Sql<unknown>, alias: string): Promise<void> {
  if (await store.deleteAlias(tx, alias)) return
  throw new Fault({ code: 'client.not_found', public: `No alias is called "${alias}".` })
}

export async function listAliases(tx: Sql<unknown>): Promise<CatalogRecords['aliases']> {
  return await store.selectAliases(tx)
}

/** A clock may differ this much from the database's without making "now" the past. */
const clockToleranceMs = 60_000

/** Adds a price from now on or from a later moment. The past is settled: requests carry the price that they were admitted at. */
export async function setPrice(
  tx: Sql<unknown>,
  price: Omit<Price, 'currency'>,
  nowMs: number,
): Promise<void> {
  await getModel(tx, price.modelId)
  if ((await store.selectPriceListCurrency(tx, price.priceListId)) === undefined) {
    throw new Fault({
      code: 'client.not_found',
      public: `No price list is called "${price.priceListId}".`,
      param: 'priceListId',
    })
  }
  if (price.effectiveFromMs < nowMs - clockToleranceMs) {
    throw new Fault({
      code: 'client.invalid_request',
      public: 'A price cannot begin in the past. Leave the date out to begin now.',
      param: 'effectiveFrom',
    })
  }
  if (await store.insertPrice(tx, price)) return
  throw new Fault({
    code: 'client.conflict',
    public: 'A price already begins at that very moment. Choose a later one.',
    param: 'effectiveFrom',
  })
}

export async function listPrices(
  tx: Sql<unknown>,
  filter: {
    readonly modelIds: readonly string[]
    readonly priceListId?: string | undefined
    readonly limit: number
  },
): Promise<Price[]> {
  return await store.selectPrices(tx, filter)
}

/** The prices in force now. */
export async function currentPrices(
  tx: Sql<unknown>,
  modelIds: readonly string[],
): Promise<Price[]> {
  return await store.selectCurrentPrices(tx, modelIds)
}
