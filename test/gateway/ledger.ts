/** What the ledger says of requests, once it has arrived there. */
import { sql, type RawBuilder } from 'kysely'
import type { InDatabase } from './database.ts'
import { until } from './until.ts'

export interface BilledUsage {
  readonly leg: number
  readonly outcome: string
  readonly endpoint: string
  readonly input_tokens: bigint
  readonly output_tokens: bigint
  readonly units: Readonly<Record<string, number>> | null
  readonly amount_nanos: bigint
  readonly usage_suspect: boolean
}

export interface Ledger {
  /** The row of a request, which is the only one. */
  billed(requestId: string | null | undefined): Promise<BilledUsage>
  /** All rows of a request, by leg, once they are so many. */
  legs(requestId: string, count: number): Promise<readonly BilledUsage[]>
  /** All rows of a key, in the order of the journal, once they are so many. */
  billedOf(apiKeyId: string, count: number): Promise<readonly BilledUsage[]>
}

export function readLedger(inDatabase: InDatabase): Ledger {
  const arrived = (
    condition: RawBuilder<unknown>,
    count: number,
  ): Promise<readonly BilledUsage[]> =>
    until(async () => {
      const { rows } = await inDatabase((tx) =>
        sql<BilledUsage>`
          SELECT leg, outcome, endpoint, input_tokens, output_tokens, units, amount_nanos, usage_suspect
          FROM usage_events WHERE ${condition} ORDER BY journal_sequence`.execute(tx),
      )
      return rows.length >= count ? rows : undefined
    })
  return {
    async billed(requestId) {
      const [only, second] = await arrived(sql`request_id = ${requestId}`, 1)
      if (!only || second) throw new Error(`${requestId} was not billed once`)
      return only
    },
    async legs(requestId, count) {
      const rows = await arrived(sql`request_id = ${requestId}`, count)
      return rows.toSorted((one, other) => one.leg - other.leg)
    },
    billedOf: (apiKeyId, count) => arrived(sql`api_key_id = ${apiKeyId}`, count),
  }
}
