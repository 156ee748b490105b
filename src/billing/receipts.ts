/** Receipts of what is in the ledger already: a front door for control, which signs them. */
import { sql } from 'kysely'
import type { Sql } from '../platform/postgres/database.ts'
import { fromPriceNanos, type BilledLeg } from './receipt.ts'
import type { Outcome, UsageUnits } from './usage.ts'

interface Row {
  readonly request_id: string
  readonly leg: number
  readonly tenant_id: string
  readonly project_id: string
  readonly api_key_id: string
  readonly model_id: string
  readonly endpoint: string
  readonly gateway_id: string
  readonly outcome: Outcome
  readonly input_tokens: bigint
  readonly cached_input_tokens: bigint
  readonly output_tokens: bigint
  readonly reasoning_tokens: bigint
  readonly units: Readonly<Record<string, number>> | null
  readonly price: Omit<Parameters<typeof fromPriceNanos>[0], 'currency'>
  readonly currency: string
  readonly amount_nanos: bigint
  readonly waived_nanos: bigint
  readonly already_charged_nanos: string
  readonly settled_at: Date
}

/** The legs of a request, oldest first; none of a request that is not in the ledger. Uses the primary key. */
export async function listBilledLegs(
  tx: Sql<unknown>,
  tenantId: string,
  requestId: string,
): Promise<readonly BilledLeg[]> {
  const result = await sql<Row>`
    SELECT request_id, leg, tenant_id, project_id, api_key_id, model_id, endpoint, gateway_id, outcome, input_tokens, cached_input_tokens,
      output_tokens, reasoning_tokens, units, price, currency, amount_nanos, waived_nanos, settled_at,
      coalesce(sum(amount_nanos) OVER (ORDER BY leg ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::text AS already_charged_nanos
    FROM usage_events WHERE tenant_id = ${tenantId} AND request_id = ${requestId} ORDER BY leg`.execute(
    tx,
  )
  return result.rows.map(toBilledLeg)
}

function toBilledLeg(row: Row): BilledLeg {
  return {
    request: {
      requestId: row.request_id,
      leg: row.leg,
      tenantId: row.tenant_id,
      projectId: row.project_id,
      apiKeyId: row.api_key_id,
      modelId: row.model_id,
      endpoint: row.endpoint,
      price: fromPriceNanos({ ...row.price, currency: row.currency }),
      alreadyChargedNanos: BigInt(row.already_charged_nanos),
    },
    settled: {
      outcome: row.outcome,
      usage: {
        inputTokens: Number(row.input_tokens),
        cachedInputTokens: Number(row.cached_input_tokens),
        outputTokens: Number(row.output_tokens),
        reasoningTokens: Number(row.reasoning_tokens),
        units: toUnits(row.units),
      },
      amountNanos: row.amount_nanos,
      waivedNanos: row.waived_nanos,
      settledAtMs: row.settled_at.getTime(),
    },
    gatewayId: row.gateway_id,
  }
}

function toUnits(columns: Row['units']): UsageUnits | undefined {
  return columns === null
    ? undefined
    : {
        systemTokens: columns['system_tokens'],
        audioMs: columns['audio_ms'],
        characters: columns['characters'],
        images: columns['images'],
        rerankTokens: columns['rerank_tokens'],
      }
}
