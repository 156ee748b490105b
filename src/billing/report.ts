/** The usage report: sums over usage events, which add up to the ledger's charges to the nano, because both come from the same rows. */
import { sql, type RawBuilder } from 'kysely'
import { assert } from '../platform/assert.ts'
import type { Sql } from '../platform/postgres/database.ts'

export const usageGroupings = [
  'tenant',
  'project',
  'key',
  'model',
  'day',
  'hour',
  'request',
  'outcome',
] as const
export type UsageGrouping = (typeof usageGroupings)[number]

export interface UsageFilter {
  readonly from?: Date | undefined
  readonly to?: Date | undefined
  readonly groupBy: readonly UsageGrouping[]
  readonly tenantId?: string | undefined
  readonly projectId?: string | undefined
  readonly apiKeyId?: string | undefined
  readonly modelId?: string | undefined
  readonly requestId?: string | undefined
  readonly limit: number
}

interface Figures {
  readonly requests: number
  readonly inputTokens: number
  readonly cachedInputTokens: number
  readonly outputTokens: number
  readonly reasoningTokens: number
  /** Other units that were used: `system_token`, `audio_minute` (each started one), `character`, `image`, `rerank_token`. */
  readonly units: Readonly<Record<string, number>>
  readonly amountNanos: string
  readonly amount: string
}

export interface UsageReport {
  readonly data: ({ readonly group: Record<string, string>; readonly currency: string } & Figures)[]
  /** Over everything that the filter lets through, also what `limit` cuts off; one for each currency. */
  readonly totals: ({ readonly currency: string } & Figures)[]
  readonly hasMore: boolean
}

/** Days and hours are UTC, and begin at the moment of settlement. */
const expressions: Readonly<Record<UsageGrouping, RawBuilder<string>>> = {
  tenant: sql`tenant_id`,
  project: sql`project_id`,
  key: sql`api_key_id`,
  model: sql`model_id`,
  day: sql`to_char(settled_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')`,
  hour: sql`to_char(settled_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:00"Z"')`,
  request: sql`request_id`,
  outcome: sql`outcome`,
}

interface Row {
  readonly group: string[]
  readonly currency: string
  readonly requests: bigint
  readonly input: string
  readonly cached: string
  readonly output: string
  readonly reasoning: string
  readonly units: Readonly<Record<string, string | null>>
  readonly amount: string
}

export async function reportUsage(tx: Sql<unknown>, filter: UsageFilter): Promise<UsageReport> {
  const groups = await select(tx, filter, filter.groupBy, filter.limit + 1)
  const totals = await select(tx, filter, [], 1_000)
  return {
    data: groups.slice(0, filter.limit).map((row) => ({
      group: Object.fromEntries(
        filter.groupBy.map((name, index) => [name, row.group[index] ?? '']),
      ),
      currency: row.currency,
      ...toFigures(row),
    })),
    totals: totals.map((row) => ({ currency: row.currency, ...toFigures(row) })),
    hasMore: groups.length > filter.limit,
  }
}

/** Uses the index on (tenant_id, settled_at), or on settled_at for the platform. */
async function select(
  tx: Sql<unknown>,
  filter: UsageFilter,
  groupBy: readonly UsageGrouping[],
  limit: number,
): Promise<Row[]> {
  const columns = groupBy.map((name) => expressions[name])
  const key = columns.length === 0 ? sql`ARRAY[]::text[]` : sql`ARRAY[${sql.join(columns)}]`
  const conditions = [
    sql`true`,
    ...(filter.from ? [sql`settled_at >= ${filter.from}`] : []),
    ...(filter.to ? [sql`settled_at < ${filter.to}`] : []),
    ...(filter.tenantId === undefined ? [] : [sql`tenant_id = ${filter.tenantId}`]),
    ...(filter.projectId === undefined ? [] : [sql`project_id = ${filter.projectId}`]),
    ...(filter.apiKeyId === undefined ? [] : [sql`api_key_id = ${filter.apiKeyId}`]),
    ...(filter.modelId === undefined ? [] : [sql`model_id = ${filter.modelId}`]),
    ...(filter.requestId === undefined ? [] : [sql`request_id = ${filter.requestId}`]),
  ]
  const result = await sql<Row>`
    SELECT ${key} AS "group", currency, count(*) AS requests, sum(input_tokens)::text AS input, sum(cached_input_tokens)::text AS cached,
      sum(output_tokens)::text AS output, sum(reasoning_tokens)::text AS reasoning, sum(amount_nanos)::text AS amount,
      jsonb_build_object(
        'system_token', sum((units ->> 'system_tokens')::bigint)::text, 'audio_minute', sum(ceil((units ->> 'audio_ms')::bigint / 60000.0))::text,
        'character', sum((units ->> 'characters')::bigint)::text, 'image', sum((units ->> 'images')::bigint)::text,
        'rerank_token', sum((units ->> 'rerank_tokens')::bigint)::text) AS units
    FROM usage_events WHERE ${sql.join(conditions, sql` AND `)} GROUP BY 1, 2 ORDER BY 1, 2 LIMIT ${limit}`.execute(
    tx,
  )
  return result.rows
}

function toFigures(row: Row): Figures {
  return {
    requests: toNumber(String(row.requests)),
    inputTokens: toNumber(row.input),
    cachedInputTokens: toNumber(row.cached),
    outputTokens: toNumber(row.output),
    reasoningTokens: toNumber(row.reasoning),
    units: Object.fromEntries(
      Object.entries(row.units)
        .filter(([, count]) => count !== null && count !== '0')
        .map(([unit, count]) => [unit, toNumber(count ?? '0')]),
    ),
    amountNanos: row.amount,
    amount: toDecimal(row.amount),
  }
}

function toNumber(text: string): number {
  const number = Number(text)
  assert(Number.isSafeInteger(number), 'counts of tokens stay below 2^53')
  return number
}

/** `1234` nano-units → `0.000001234` units, exactly. */
export function toDecimal(nanos: string): string {
  const digits = nanos.padStart(10, '0')
  return `${digits.slice(0, -9)}.${digits.slice(-9)}`
}
