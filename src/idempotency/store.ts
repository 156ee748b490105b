/** SQL of idempotency. The rules for legs live in `begin_leg` (migrations), where one lock decides between gateways. */
import { sql } from 'kysely'
import { assert } from '../platform/assert.ts'
import type { Sql } from '../platform/postgres/database.ts'

export interface KnownRequest {
  readonly tenantId: string
  readonly keyDigest: Buffer
  readonly bodyDigest: Buffer
  readonly requestId: string
}

export interface BegunLeg {
  readonly outcome: 'begun' | 'reused' | 'in_progress' | 'exhausted'
  readonly request_id: string
  readonly leg: number
  readonly begins: number
  readonly charged_nanos: bigint
}

/** Begins a leg, or says why not. Locks the key's row until the commit. */
export async function beginLeg(
  tx: Sql<unknown>,
  request: KnownRequest,
  life: { readonly gatewayId: string; readonly lifeId: string },
  bounds: { readonly servedMax: number; readonly legsMax: number },
): Promise<BegunLeg> {
  const { tenantId, keyDigest, bodyDigest, requestId } = request
  const result = await sql<BegunLeg>`
    SELECT * FROM begin_leg(${tenantId}, ${keyDigest}, ${bodyDigest}, ${requestId}, ${life.gatewayId}, ${life.lifeId},
      ${bounds.servedMax}, ${bounds.legsMax})`.execute(tx)
  const [row] = result.rows
  assert(row, 'begin_leg returns one row')
  return row
}

export interface Beginning {
  readonly tenantId: string
  readonly keyDigest: Buffer
  readonly requestId: string
  readonly leg: number
  readonly begins: number
}

/** Takes back a leg that never began. The one before it, if any, is the newest again. Repeated, it changes nothing. */
export async function releaseLeg(tx: Sql<unknown>, begun: Beginning): Promise<void> {
  const isNewest = sql`tenant_id = ${begun.tenantId} AND key_digest = ${begun.keyDigest} AND request_id = ${begun.requestId} AND leg = ${begun.leg} AND begins = ${begun.begins}`
  if (begun.leg === 0) await sql`DELETE FROM idempotent_requests WHERE ${isNewest}`.execute(tx)
  else await sql`UPDATE idempotent_requests SET leg = leg - 1 WHERE ${isNewest}`.execute(tx)
}

/** Tells whether nobody else holds the key; if so, holds it until the transaction ends. The 64 bits are as good as the digest's. */
export async function tryLockOperation(tx: Sql<unknown>, keyDigest: Buffer): Promise<boolean> {
  const result = await sql<{
    locked: boolean
  }>`SELECT pg_try_advisory_xact_lock(${keyDigest.readBigInt64BE()}) AS locked`.execute(tx)
  return result.rows[0]?.locked === true
}

export interface KeptOperation {
  readonly request_digest: Buffer
  readonly sealed_answer: Buffer
}

export async function findOperation(
  tx: Sql<unknown>,
  keyDigest: Buffer,
): Promise<KeptOperation | undefined> {
  const result = await sql<KeptOperation>`
    SELECT request_digest, sealed_answer FROM idempotent_operations
    WHERE key_digest = ${keyDigest} AND expires_at >= now()`.execute(tx)
  return result.rows[0]
}

/** The caller holds the key, so what is there under it has expired. */
export async function insertOperation(
  tx: Sql<unknown>,
  operation: {
    readonly keyDigest: Buffer
    readonly requestDigest: Buffer
    readonly tenantId: string | undefined
    readonly sealedAnswer: Buffer
  },
): Promise<void> {
  const { keyDigest, requestDigest, tenantId, sealedAnswer } = operation
  await sql`DELETE FROM idempotent_operations WHERE key_digest = ${keyDigest}`.execute(tx)
  await sql`
    INSERT INTO idempotent_operations (key_digest, request_digest, tenant_id, sealed_answer)
    VALUES (${keyDigest}, ${requestDigest}, ${tenantId ?? null}, ${sealedAnswer})`.execute(tx)
}

/** Forgets what has expired, some of it at a time. Uses the indexes on expires_at. Returns how many rows went. */
export async function deleteExpired(tx: Sql<unknown>, rowsMax: number): Promise<number> {
  const result = await sql<{ gone: bigint }>`
    WITH requests AS (
      DELETE FROM idempotent_requests WHERE (tenant_id, key_digest) IN (
        SELECT tenant_id, key_digest FROM idempotent_requests WHERE expires_at < now() ORDER BY expires_at LIMIT ${rowsMax} FOR UPDATE SKIP LOCKED)
      RETURNING 1
    ), operations AS (
      DELETE FROM idempotent_operations WHERE key_digest IN (
        SELECT key_digest FROM idempotent_operations WHERE expires_at < now() ORDER BY expires_at LIMIT ${rowsMax})
      RETURNING 1
    )
    SELECT (SELECT count(*) FROM requests) + (SELECT count(*) FROM operations) AS gone`.execute(tx)
  return Number(result.rows[0]?.gone ?? 0)
}
