/**
 * Reads the ledger by plain SQL, on a connection of its own, with none of the product's code: what the product believes about its own
 * books is what is being tested.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'

export interface UsageRow {
  readonly requestId: string
  readonly outcome: string
  readonly streamed: boolean
  readonly inputTokens: number
  readonly outputTokens: number
  readonly amountNanos: bigint
}

export interface Sums {
  /** Over all accounts; double entry keeps it at 0. */
  readonly allEntries: bigint
  /** Charged to tenants, by the entries of transactions of kind `charge`. */
  readonly charged: bigint
  readonly usage: bigint
  /** Still reserved; 0 once nothing is under way. */
  readonly held: bigint
  /** Accounts whose cached balance differs from their entries. */
  readonly wrongBalances: number
}

export interface Books {
  usage(): Promise<readonly UsageRow[]>
  sums(): Promise<Sums>
  query(text: string): Promise<readonly Record<string, string>[]>
  close(): Promise<void>
}

/** Opens the embedded database of a data folder; its lock file names the socket. */
export async function openBooks(dataDirectory: string): Promise<Books> {
  const pool = new pg.Pool({ connectionString: embeddedUrl(dataDirectory), max: 2 })
  // The tests kill the server; a lost idle connection is no error of theirs.
  pool.on('error', () => {})
  const rows = async (text: string): Promise<Record<string, string>[]> => {
    const result = await pool.query<Record<string, string>>(text)
    return result.rows
  }
  return {
    query: rows,
    async usage() {
      const found = await rows(
        'SELECT request_id, outcome, streamed::text, input_tokens::text, output_tokens::text, amount_nanos::text FROM usage_events',
      )
      return found.map((row) => ({
        requestId: row['request_id'] ?? '',
        outcome: row['outcome'] ?? '',
        streamed: row['streamed'] === 'true',
        inputTokens: Number(row['input_tokens']),
        outputTokens: Number(row['output_tokens']),
        amountNanos: BigInt(row['amount_nanos'] ?? -1),
      }))
    },
    async sums() {
      const [sums] = await rows(`
        SELECT
          (SELECT coalesce(sum(amount_nanos), 0)::text FROM ledger_entries) AS all_entries,
          (SELECT coalesce(sum(e.amount_nanos), 0)::text
             FROM ledger_entries e JOIN ledger_transactions t ON t.id = e.transaction_id
             JOIN ledger_accounts a ON a.id = e.account_id
            WHERE t.kind = 'charge' AND a.kind = 'receivable') AS charged,
          (SELECT coalesce(sum(amount_nanos), 0)::text FROM usage_events) AS usage,
          (SELECT coalesce(sum(e.amount_nanos), 0)::text
             FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id WHERE a.kind = 'held') AS held,
          (SELECT count(*)::text FROM ledger_accounts a WHERE a.balance_nanos <>
             (SELECT coalesce(sum(amount_nanos), 0) FROM ledger_entries e WHERE e.account_id = a.id)) AS wrong`)
      return {
        allEntries: BigInt(sums?.['all_entries'] ?? -1),
        charged: BigInt(sums?.['charged'] ?? -1),
        usage: BigInt(sums?.['usage'] ?? -2),
        held: BigInt(sums?.['held'] ?? -1),
        wrongBalances: Number(sums?.['wrong'] ?? -1),
      }
    },
    close: () => pool.end(),
  }
}

function embeddedUrl(dataDirectory: string): string {
  // PostgreSQL's own lock file; its fifth line is the folder of the socket.
  const lock = readFileSync(join(dataDirectory, 'postgres', 'cluster', 'postmaster.pid'), 'utf8')
  const socketDirectory = lock.split('\n')[4] ?? ''
  return `postgresql://colonnade_owner@localhost/colonnade?host=${encodeURIComponent(socketDirectory)}`
}
