/** SQL of the catalogue. Functions take any transaction; the tables that they touch are described here. */
import { sql } from 'kysely'
import type { Sql } from '../platform/postgres/database.ts'
import type {
  CatalogRecords,
  ConformanceBadge,
  LifecyclePhase,
  ModelCategory,
  ModelRecord,
  PriceRecord,
  PriceUnit,
} from './catalogue.ts'
import type { Model, NewModel, Price } from './model.ts'
import type { ShippedModel, ShippedPriceList } from './shipped.ts'

interface ModelRow {
  readonly id: string
  readonly publisher: string | null
  readonly category: ModelCategory
  readonly context_window_tokens: number | null
  readonly capabilities: readonly string[]
  readonly licence: string | null
  readonly tags: readonly string[]
  readonly phase: LifecyclePhase
  readonly production_since: string | null
  readonly end_of_support: string | null
  readonly long_term_support: boolean
  readonly successor: string | null
  readonly facts: Readonly<Record<string, unknown>>
  readonly weight_sources: readonly string[]
  readonly weight_sha256: string | null
  readonly weight_bytes: bigint | null
  readonly enabled: boolean
  readonly conformance: ConformanceBadge | null
  readonly created_at: Date
}

/** Dates as text: a JavaScript date would shift them by the time zone. */
const modelColumns = sql.raw(
  `id, publisher, category, context_window_tokens, capabilities, licence, tags, phase, production_since::text, end_of_support::text,
   long_term_support, successor, facts, weight_sources, weight_sha256, weight_bytes, enabled, conformance, created_at`,
)

export async function selectEnabledModels(tx: Sql<unknown>): Promise<ModelRecord[]> {
  const result = await sql<ModelRow>`
    SELECT ${modelColumns} FROM models WHERE enabled ORDER BY id`.execute(tx)
  return result.rows.map((row) => ({
    id: row.id,
    publisher: row.publisher,
    category: row.category,
    contextWindowTokens: row.context_window_tokens,
    capabilities: row.capabilities,
    phase: row.phase,
    endOfSupport: row.end_of_support,
    successor: row.successor,
    enabled: row.enabled,
    createdAtMs: row.created_at.getTime(),
    conformance: row.conformance ?? undefined,
  }))
}

export async function selectAliases(tx: Sql<unknown>): Promise<CatalogRecords['aliases']> {
  const result = await sql<{ alias: string; modelId: string }>`
    SELECT alias, model_id AS "modelId" FROM model_aliases ORDER BY alias`.execute(tx)
  return result.rows
}

interface PriceRow {
  readonly price_list_id: string
  readonly currency: string
  readonly model_id: string
  readonly unit: PriceUnit
  readonly amount_nanos: bigint
  readonly effective_from: Date
}

/** Prices in force, to come, or replaced within the last hour: a gateway's clock may be late. */
export async function selectEnabledPrices(tx: Sql<unknown>): Promise<PriceRecord[]> {
  const result = await sql<PriceRow>`
    SELECT price.price_list_id, list.currency, price.model_id, price.unit, price.amount_nanos, price.effective_from
    FROM prices AS price
    JOIN price_lists AS list ON list.id = price.price_list_id
    JOIN models AS model ON model.id = price.model_id AND model.enabled
    WHERE NOT EXISTS (
      SELECT FROM prices AS newer
      WHERE newer.price_list_id = price.price_list_id AND newer.model_id = price.model_id AND newer.unit = price.unit
        AND newer.effective_from > price.effective_from AND newer.effective_from <= now() - interval '1 hour'
    )
    ORDER BY price.price_list_id, price.model_id, price.unit, price.effective_from`.execute(tx)
  return result.rows.map((row) => ({ ...toPrice(row), amountNanos: String(row.amount_nanos) }))
}

export interface ModelFilter {
  readonly id?: string | undefined
  readonly enabled?: boolean | undefined
  readonly category?: ModelCategory | undefined
  /** The last id of the page before. */
  readonly after?: string | undefined
  readonly limit: number
}

/** `COLLATE "C"` makes the order the same everywhere, so that a page continues where the last one ended. */
export async function selectModels(tx: Sql<unknown>, filter: ModelFilter): Promise<Model[]> {
  const result = await sql<ModelRow>`
    SELECT ${modelColumns} FROM models
    WHERE (${filter.id ?? null}::text IS NULL OR id = ${filter.id ?? null}::text)
      AND (${filter.enabled ?? null}::boolean IS NULL OR enabled = ${filter.enabled ?? null}::boolean)
      AND (${filter.category ?? null}::text IS NULL OR category = ${filter.category ?? null}::text)
      AND (${filter.after ?? null}::text IS NULL OR id COLLATE "C" > ${filter.after ?? null}::text)
    ORDER BY id COLLATE "C" LIMIT ${filter.limit}`.execute(tx)
  return result.rows.map(toModel)
}

export async function selectModel(tx: Sql<unknown>, modelId: string): Promise<Model | undefined> {
  const result = await sql<ModelRow>`
    SELECT ${modelColumns} FROM models WHERE id = ${modelId}`.execute(tx)
  return result.rows[0] && toModel(result.rows[0])
}

/** Returns whether the id was free. */
export async function insertModel(tx: Sql<unknown>, model: NewModel): Promise<boolean> {
  const result = await sql`
    INSERT INTO models (id, category, context_window_tokens, capabilities, weight_sources, weight_sha256, enabled)
    VALUES (${model.id}, ${model.category}, ${model.contextWindowTokens}, ${[...model.capabilities]}, ${[...model.weightSources]},
      ${model.weightSha256}, true)
    ON CONFLICT (id) DO NOTHING`.execute(tx)
  return result.numAffectedRows === 1n
}

/** What only an operator decides (`enabled`) and what an agent found out stay as they are. */
export async function upsertShippedModels(
  tx: Sql<unknown>,
  models: readonly ShippedModel[],
): Promise<void> {
  await sql`
    INSERT INTO models (id, publisher, category, context_window_tokens, capabilities, licence, tags, phase, production_since,
      end_of_support, long_term_support, successor, facts, weight_sources, weight_sha256, weight_bytes)
    SELECT id, publisher, category, context_window_tokens, ARRAY(SELECT jsonb_array_elements_text(capabilities)), licence,
      ARRAY(SELECT jsonb_array_elements_text(tags)), phase, production_since, end_of_support, long_term_support, successor, facts,
      ARRAY(SELECT jsonb_array_elements_text(weight_sources)), weight_sha256, weight_bytes
    FROM jsonb_to_recordset(${JSON.stringify(models)}::jsonb) AS shipped (id text, publisher text, category text,
      context_window_tokens integer, capabilities jsonb, licence text, tags jsonb, phase text, production_since date,
      end_of_support date, long_term_support boolean, successor text, facts jsonb, weight_sources jsonb, weight_sha256 text,
      weight_bytes bigint)
    ON CONFLICT (id) DO UPDATE SET publisher = excluded.publisher, category = excluded.category,
      context_window_tokens = coalesce(models.context_window_tokens, excluded.context_window_tokens),
      capabilities = excluded.capabilities, licence = excluded.licence, tags = excluded.tags, phase = excluded.phase,
      production_since = excluded.production_since, end_of_support = excluded.end_of_support,
      long_term_support = excluded.long_term_support, successor = excluded.successor, facts = excluded.facts,
      weight_bytes = coalesce(excluded.weight_bytes, models.weight_bytes),
      weight_sources = CASE WHEN excluded.weight_sources = '{}' THEN models.weight_sources ELSE excluded.weight_sources END,
      weight_sha256 = coalesce(excluded.weight_sha256, models.weight_sha256)`.execute(tx)
}

export async function upsertShippedPriceLists(
  tx: Sql<unknown>,
  lists: readonly ShippedPriceList[],
): Promise<void> {
  for (const list of lists) {
    await sql`
      INSERT INTO price_lists (id, name, currency, source) VALUES (${list.id}, ${list.name}, ${list.currency}, ${list.source})
      ON CONFLICT (id) DO NOTHING`.execute(tx)
    for (const price of list.classPrices) {
      await sql`
        INSERT INTO class_prices (price_list_id, category, unit, amount_nanos)
        VALUES (${list.id}, ${price.category}, ${price.unit}, ${price.amountNanos})
        ON CONFLICT (price_list_id, category, unit) DO NOTHING`.execute(tx)
    }
  }
}

/** Returns whether there is such a model. */
export async function updateEnabled(
  tx: Sql<unknown>,
  modelId: string,
  enabled: boolean,
): Promise<boolean> {
  const result = await sql`UPDATE models SET enabled = ${enabled} WHERE id = ${modelId}`.execute(tx)
  return result.numAffectedRows === 1n
}

/** Returns whether there is such a model. */
export async function updateWeightSources(
  tx: Sql<unknown>,
  modelId: string,
  weightSources: readonly string[],
): Promise<boolean> {
  const result = await sql`
    UPDATE models SET weight_sources = ${[...weightSources]}, weight_sha256 = NULL, weight_bytes = NULL, conformance = NULL
    WHERE id = ${modelId}`.execute(tx)
  return result.numAffectedRows === 1n
}

/** Returns whether there is such a model. */
export async function updateConformance(
  tx: Sql<unknown>,
  modelId: string,
  badge: ConformanceBadge,
): Promise<boolean> {
  const result = await sql`
    UPDATE models SET conformance = ${JSON.stringify(badge)} WHERE id = ${modelId}`.execute(tx)
  return result.numAffectedRows === 1n
}

export async function deleteModel(tx: Sql<unknown>, modelId: string): Promise<void> {
  await sql`DELETE FROM models WHERE id = ${modelId}`.execute(tx)
}

export interface WeightFacts {
  readonly contextWindowTokens: number | null
  readonly weightSha256: string | null
  readonly category: ModelCategory
}

export async function updateWeightFacts(
  tx: Sql<unknown>,
  modelId: string,
  facts: WeightFacts,
): Promise<void> {
  await sql`
    UPDATE models SET context_window_tokens = ${facts.contextWindowTokens}, weight_sha256 = ${facts.weightSha256},
      category = ${facts.category}
    WHERE id = ${modelId}`.execute(tx)
}

/** Copies each list's class prices to the model, for units that the list does not price yet. */
export async function copyClassPrices(tx: Sql<unknown>, modelId: string): Promise<void> {
  await sql`
    INSERT INTO prices (price_list_id, model_id, unit, amount_nanos, effective_from)
    SELECT class.price_list_id, model.id, class.unit, class.amount_nanos, now()
    FROM models AS model JOIN class_prices AS class ON class.category = model.category
    WHERE model.id = ${modelId} AND NOT EXISTS (
      SELECT FROM prices WHERE prices.price_list_id = class.price_list_id AND prices.model_id = model.id AND prices.unit = class.unit
    )`.execute(tx)
}

export async function upsertAlias(tx: Sql<unknown>, alias: string, modelId: string): Promise<void> {
  await sql`
    INSERT INTO model_aliases (alias, model_id) VALUES (${alias}, ${modelId})
    ON CONFLICT (alias) DO UPDATE SET model_id = excluded.model_id`.execute(tx)
}

/** Returns whether there was such an alias. */
export async function deleteAlias(tx: Sql<unknown>, alias: string): Promise<boolean> {
  const result = await sql`DELETE FROM model_aliases WHERE alias = ${alias}`.execute(tx)
  return result.numAffectedRows === 1n
}

export async function selectPriceListCurrency(
  tx: Sql<unknown>,
  priceListId: string,
): Promise<string | undefined> {
  const result = await sql<{ currency: string }>`
    SELECT currency FROM price_lists WHERE id = ${priceListId}`.execute(tx)
  return result.rows[0]?.currency
}

/** Returns whether the moment was free: a price is never changed, only followed by another. */
export async function insertPrice(
  tx: Sql<unknown>,
  price: Omit<Price, 'currency'>,
): Promise<boolean> {
  const result = await sql`
    INSERT INTO prices (price_list_id, model_id, unit, amount_nanos, effective_from)
    VALUES (${price.priceListId}, ${price.modelId}, ${price.unit}, ${price.amountNanos}, ${new Date(price.effectiveFromMs)})
    ON CONFLICT DO NOTHING`.execute(tx)
  return result.numAffectedRows === 1n
}

/** The whole history, newest first, of the models named. */
export async function selectPrices(
  tx: Sql<unknown>,
  filter: {
    readonly modelIds: readonly string[]
    readonly priceListId?: string | undefined
    readonly limit: number
  },
): Promise<Price[]> {
  const result = await sql<PriceRow>`
    SELECT price.price_list_id, list.currency, price.model_id, price.unit, price.amount_nanos, price.effective_from
    FROM prices AS price JOIN price_lists AS list ON list.id = price.price_list_id
    WHERE price.model_id = ANY(${[...filter.modelIds]})
      AND (${filter.priceListId ?? null}::text IS NULL OR price.price_list_id = ${filter.priceListId ?? null}::text)
    ORDER BY price.effective_from DESC, price.price_list_id, price.model_id, price.unit
    LIMIT ${filter.limit}`.execute(tx)
  return result.rows.map(toPrice)
}

/** The newest price in force of each list, model and unit. */
export async function selectCurrentPrices(
  tx: Sql<unknown>,
  modelIds: readonly string[],
): Promise<Price[]> {
  const result = await sql<PriceRow>`
    SELECT DISTINCT ON (price.price_list_id, price.model_id, price.unit)
      price.price_list_id, list.currency, price.model_id, price.unit, price.amount_nanos, price.effective_from
    FROM prices AS price JOIN price_lists AS list ON list.id = price.price_list_id
    WHERE price.model_id = ANY(${[...modelIds]}) AND price.effective_from <= now()
    ORDER BY price.price_list_id, price.model_id, price.unit, price.effective_from DESC`.execute(tx)
  return result.rows.map(toPrice)
}

function toPrice(row: PriceRow): Price {
  return {
    priceListId: row.price_list_id,
    currency: row.currency,
    modelId: row.model_id,
    unit: row.unit,
    amountNanos: row.amount_nanos,
    effectiveFromMs: row.effective_from.getTime(),
  }
}

function toModel(row: ModelRow): Model {
  return {
    id: row.id,
    publisher: row.publisher,
    category: row.category,
    contextWindowTokens: row.context_window_tokens,
    capabilities: row.capabilities,
    licence: row.licence,
    tags: row.tags,
    phase: row.phase,
    productionSince: row.production_since,
    endOfSupport: row.end_of_support,
    longTermSupport: row.long_term_support,
    successor: row.successor,
    facts: row.facts,
    weightSources: row.weight_sources,
    weightSha256: row.weight_sha256,
    weightBytes: row.weight_bytes === null ? null : Number(row.weight_bytes),
    enabled: row.enabled,
    conformance: row.conformance,
  }
}
