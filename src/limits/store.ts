/** SQL of leases. The rules of granting live in `lease_limits` (migrations), where a lock on the counter makes them hold for all gateways. */
import { sql } from 'kysely'
import { assert } from '../platform/assert.ts'
import { platformScope, type Database } from '../platform/postgres/database.ts'
import {
  wishesMax,
  type GatewayLife,
  type LeaseAnswer,
  type LeaseAuthority,
  type LeaseReply,
  type LeaseWish,
  type RefusalCount,
} from './authority.ts'

interface ReplyRow {
  readonly position: bigint
  readonly granted: bigint
  readonly limit_value: bigint
  readonly left_over: bigint
  readonly unused_elsewhere: bigint
  readonly held_elsewhere: bigint
  readonly tight: boolean
  readonly recall: bigint
  readonly unanswered: bigint
}

export function leaseAuthority(database: Database): LeaseAuthority {
  return {
    lease: (life, wishes) => lease(database, life, wishes),
    async reclaim(life) {
      await database.transaction(platformScope, (tx) =>
        sql`SELECT reclaim_leases(${life.gatewayId}, ${life.id}, false)`.execute(tx),
      )
    },
    async end(life) {
      await database.transaction(platformScope, (tx) =>
        sql`SELECT reclaim_leases(${life.gatewayId}, ${life.id}, true)`.execute(tx),
      )
    },
    noteRefusals: (refusals) => noteRefusals(database, refusals),
    async purge() {
      await database.transaction(platformScope, (tx) => sql`SELECT purge_limits()`.execute(tx))
    },
  }
}

/** Frees what every life of a gateway that is gone has not spent: its journal must be settled and in the ledger. */
export async function reclaimAbandoned(database: Database, gatewayId: string): Promise<void> {
  await database.transaction(platformScope, (tx) =>
    sql`SELECT reclaim_leases(${gatewayId}, '', true)`.execute(tx),
  )
}

async function lease(
  database: Database,
  life: GatewayLife,
  wishes: readonly LeaseWish[],
): Promise<LeaseAnswer> {
  assert(wishes.length <= wishesMax, 'wishes come in bounded batches')
  const text = JSON.stringify(wishes.map(toJson))
  return await database.transaction(platformScope, async (tx) => {
    const rows =
      await sql<ReplyRow>`SELECT * FROM lease_limits(${life.id}, ${life.gatewayId}, ${text}::jsonb)`.execute(
        tx,
      )
    // After the leases, so that it is no older than they are.
    const facts = await sql<{
      now: Date
      gateways: bigint
    }>`SELECT clock_timestamp() AS now, (SELECT count(*) FROM gateway_lives WHERE ended_at IS NULL AND seen_at > now() - interval '10 seconds') AS gateways`.execute(
      tx,
    )
    const replies: (LeaseReply | undefined)[] = wishes.map(() => undefined)
    for (const row of rows.rows) {
      const index = Number(row.position) - 1
      const wish = wishes[index]
      assert(wish, 'a reply answers a wish')
      replies[index] = toReply(wish, row)
    }
    const [fact] = facts.rows
    assert(fact, 'a select without a table has one row')
    return { nowMs: fact.now.getTime(), gateways: Math.max(1, Number(fact.gateways)), replies }
  })
}

function toJson(wish: LeaseWish): Readonly<Record<string, unknown>> {
  return {
    rule_id: wish.ruleId,
    subject: wish.subject,
    tenant_id: wish.tenantId,
    window_start: new Date(wish.windowStartMs).toISOString(),
    window_end: wish.windowEndMs === undefined ? null : new Date(wish.windowEndMs).toISOString(),
    used: String(wish.used),
    keep: String(wish.keep),
    held: String(wish.held),
    need: String(wish.need),
    wish: String(wish.wish),
    answers: wish.answers,
    recall: wish.recall ?? null,
  }
}

function toReply(wish: LeaseWish, row: ReplyRow): LeaseReply {
  return {
    ruleId: wish.ruleId,
    subject: wish.subject,
    windowStartMs: wish.windowStartMs,
    granted: row.granted,
    limit: row.limit_value,
    left: row.left_over,
    unusedElsewhere: row.unused_elsewhere,
    heldElsewhere: row.held_elsewhere,
    tight: row.tight,
    recall: Number(row.recall),
    unanswered: Number(row.unanswered),
  }
}

async function noteRefusals(database: Database, refusals: readonly RefusalCount[]): Promise<void> {
  const rows = refusals.map((each) => ({
    rule_id: each.ruleId,
    subject: each.subject,
    tenant_id: each.tenantId,
    model_id: each.modelId,
    hour: new Date(each.hourMs).toISOString(),
    shadow: each.shadow,
    refusals: each.refusals,
  }))
  await database.transaction(platformScope, (tx) =>
    sql`
      INSERT INTO limit_refusals (rule_id, subject, tenant_id, model_id, hour, shadow, refusals)
      SELECT rule_id, subject, tenant_id, model_id, hour, shadow, refusals
      FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
        AS e(rule_id text, subject text, tenant_id text, model_id text, hour timestamptz, shadow boolean, refusals bigint)
      ON CONFLICT (rule_id, subject, model_id, hour, shadow) DO UPDATE SET refusals = limit_refusals.refusals + excluded.refusals
    `.execute(tx),
  )
}
