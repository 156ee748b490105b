/** Front door of the audit log: one chain of entries, each bound to the one before by its hash. Entries are added, never changed. */
import { sql } from 'kysely'
import type { Sql } from '../platform/postgres/database.ts'
import { canonicalJson } from './chain.ts'

export type { AuditRow, Head, Verification } from './chain.ts'
export { genesis, verifyChain, verifyHead } from './chain.ts'

export interface AuditEntry {
  readonly occurredAtMs: number
  /** The tenant that is concerned; `null` for the platform itself. */
  readonly tenantId: string | null
  /** An access token's id, or `bootstrap`. */
  readonly actor: string
  readonly role: string
  readonly ip: string
  /** `<resource>.<verb>`. */
  readonly action: string
  readonly resource: string
  readonly outcome: 'done' | 'refused'
  readonly requestId: string
  readonly details?: Readonly<Record<string, unknown>> | undefined
}

/** Appends in the caller's transaction: the change and its entry are committed together, or not at all. */
export async function appendEntry(tx: Sql<unknown>, entry: AuditEntry): Promise<void> {
  const { occurredAtMs, ...rest } = entry
  const occurredAt = new Date(occurredAtMs).toISOString()
  const payload = canonicalJson({ ...rest, occurredAt })
  await sql`SELECT append_audit(${occurredAt}::timestamptz, ${entry.tenantId}, ${entry.actor}, ${entry.action}, ${payload})`.execute(
    tx,
  )
}

export interface StoredEntry {
  readonly sequence: bigint
  readonly payload: string
  readonly previousHash: string
  readonly hash: string
}

/** Entries after a sequence, in order; of one tenant, or of all. */
export async function listEntries(
  tx: Sql<unknown>,
  page: { readonly tenantId?: string | undefined; readonly after: bigint; readonly limit: number },
): Promise<readonly StoredEntry[]> {
  const tenant = page.tenantId === undefined ? sql`true` : sql`tenant_id = ${page.tenantId}`
  const result = await sql<StoredEntry>`
    SELECT sequence, payload, encode(previous_hash, 'hex') AS "previousHash", encode(hash, 'hex') AS hash
    FROM audit_entries WHERE sequence > ${page.after} AND ${tenant} ORDER BY sequence LIMIT ${page.limit}`.execute(
    tx,
  )
  return result.rows
}

/** The newest sequence and hash: what a copy of the log that is made afterwards must contain. */
export async function readHead(tx: Sql<unknown>): Promise<{ sequence: bigint; hash: string }> {
  const result = await sql<{
    sequence: bigint
    hash: string
  }>`SELECT sequence, encode(hash, 'hex') AS hash FROM audit_head`.execute(tx)
  return result.rows[0] ?? { sequence: 0n, hash: '00'.repeat(32) }
}
