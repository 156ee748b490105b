/** SQL of billing. The ledger's rules live in `apply_journal` and in constraints (migrations), so that no writer can leave them out. */
import { sql } from 'kysely'
import { assert } from '../platform/assert.ts'
import type { Sql } from '../platform/postgres/database.ts'

/** Applies the lines (JSON objects as text) and moves the checkpoint. Returns how many usage events were new. */
export async function applyJournal(
  tx: Sql<unknown>,
  gatewayId: string,
  lines: readonly string[],
  through: bigint,
): Promise<number> {
  const events = `[${lines.join(',')}]`
  const result = await sql<{
    added: bigint
  }>`SELECT apply_journal(${gatewayId}, ${events}::jsonb, ${through}) AS added`.execute(tx)
  return Number(result.rows[0]?.added ?? 0)
}

/** The last event of this gateway that the ledger has; 0 for a new one. */
export async function findCheckpoint(tx: Sql<unknown>, gatewayId: string): Promise<bigint> {
  const result = await sql<{
    applied: bigint
  }>`SELECT applied_sequence AS applied FROM journal_checkpoints WHERE gateway_id = ${gatewayId}`.execute(
    tx,
  )
  return result.rows[0]?.applied ?? 0n
}

/** Where a gateway goes on counting its settlements; see `begin_totals` for the arguments. */
export async function beginTotals(
  tx: Sql<unknown>,
  gatewayId: string,
  journal: { readonly first: bigint; readonly last: bigint; readonly applied: bigint },
): Promise<TotalsCheckpoint> {
  const { first, last, applied } = journal
  const result = await sql<TotalsCheckpoint>`
    SELECT flush, counted AS through FROM begin_totals(${gatewayId}, ${first}, ${last}, ${applied})`.execute(
    tx,
  )
  const [row] = result.rows
  assert(row, 'begin_totals returns one row')
  return row
}

export interface TotalsCheckpoint {
  readonly flush: bigint
  readonly through: bigint
}

/** Adds what was counted since the flush before, in one go. Repeated, it changes nothing. */
export async function addTotals(
  tx: Sql<unknown>,
  gatewayId: string,
  totals: TotalsFlush,
): Promise<void> {
  const { flush, through, isRecovered, journal, engines } = totals
  await sql`SELECT add_totals(${gatewayId}, ${flush}, ${through}, ${isRecovered}, ${JSON.stringify(journal)}::jsonb, ${JSON.stringify(engines)}::jsonb)`.execute(
    tx,
  )
}

export interface TotalsFlush extends TotalsCheckpoint {
  /** Read from the journal after a crash: what was billed stands for what engines said. */
  readonly isRecovered: boolean
  readonly journal: readonly JournalTotal[]
  readonly engines: readonly EngineTotal[]
}

/** Named as the columns. Counts are decimal strings: sums may pass 2^53. */
export interface JournalTotal {
  readonly tenant_id: string
  readonly model_id: string
  readonly currency: string
  readonly hour: string
  readonly requests: number
  readonly input_tokens: string
  readonly cached_input_tokens: string
  readonly output_tokens: string
  readonly reasoning_tokens: string
  readonly amount_nanos: string
  readonly request_legs: readonly string[] | null
}

export interface EngineTotal {
  readonly tenant_id: string
  readonly model_id: string
  readonly hour: string
  readonly requests: number
  readonly input_tokens: string
  readonly output_tokens: string
}
