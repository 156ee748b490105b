/** SQL of billing. The ledger's rules live in `apply_journal` and in constraints (migrations), so that no writer can leave them out. */
import { sql } from 'kysely'
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
