/** SQL of plans, rules, credit and reports. Each statement that concerns a tenant names it, besides row-level security. */
import { sql, type ColumnType, type Generated, type Selectable } from 'kysely'
import type { Sql } from '../platform/postgres/database.ts'
import type { Enforcement, LimitWindow, Measure } from './rule.ts'

/** Set by the database. */
type CreatedAt = ColumnType<Date, never, never>

interface LimitTables {
  plans: {
    id: string
    name: string
    rank: number
    priority: Generated<'normal' | 'high'>
    prepaid: Generated<boolean>
    upfront_credit_nanos: bigint | null
    currency: Generated<string>
    created_at: CreatedAt
  }
  limit_rules: {
    id: string
    plan_id: string | null
    tenant_id: string | null
    set_by: 'platform' | 'tenant'
    project_id: string | null
    api_key_id: string | null
    model_id: string | null
    per: 'tenant' | 'project' | 'key'
    measure: Measure
    time_window: LimitWindow
    limit_value: bigint
    enforcement: Enforcement
    on_outage: 'closed' | 'open'
    created_at: CreatedAt
  }
  credit_grants: {
    id: string
    tenant_id: string
    amount_nanos: bigint
    currency: string
    note: string
    created_at: CreatedAt
  }
}

/** Tables of others, read for what a rule names and what a tenant has spent. */
interface ForeignTables {
  tenants: { id: string; plan_id: string | null; currency: string }
  projects: { tenant_id: string; id: string }
  api_keys: { tenant_id: string; id: string; project_id: string }
  models: { id: string; enabled: boolean }
  ledger_accounts: {
    tenant_id: string | null
    kind: string
    currency: string
    balance_nanos: bigint
  }
}

export type LimitSql = Sql<LimitTables & ForeignTables>
export type PlanRow = Selectable<LimitTables['plans']>
export type RuleRow = Selectable<LimitTables['limit_rules']>
export type GrantRow = Selectable<LimitTables['credit_grants']>

/** Rows after `after` in the order of ids; one more than the page tells whether there is a next one. */
export interface PageRequest {
  readonly limit: number
  readonly after?: string | undefined
}

/** Changes of one owner's rules, or of one tenant's credit, follow one another until the transaction ends. */
export const lockOwner = (tx: LimitSql, ownerId: string): Promise<unknown> =>
  sql`SELECT pg_advisory_xact_lock(hashtextextended(${`limits ${ownerId}`}, 0))`.execute(tx)

// ------------------------------------------------------------------------------------------------------------------ plans

export const insertPlan = (tx: LimitSql, row: Omit<PlanRow, 'created_at'>): Promise<PlanRow> =>
  tx.insertInto('plans').values(row).returningAll().executeTakeFirstOrThrow()

export const countPlans = async (tx: LimitSql): Promise<number> => {
  const row = await tx
    .selectFrom('plans')
    .select((where) => where.fn.countAll<bigint>().as('count'))
    .executeTakeFirstOrThrow()
  return Number(row.count)
}

export const selectPlans = (tx: LimitSql, page: PageRequest): Promise<PlanRow[]> =>
  tx
    .selectFrom('plans')
    .selectAll()
    .where('id', '>', page.after ?? '')
    .orderBy('id')
    .limit(page.limit + 1)
    .execute()

export const findPlan = (tx: LimitSql, planId: string): Promise<PlanRow | undefined> =>
  tx.selectFrom('plans').selectAll().where('id', '=', planId).executeTakeFirst()

export const findTenantPlan = (tx: LimitSql, tenantId: string): Promise<PlanRow | undefined> =>
  tx
    .selectFrom('plans')
    .innerJoin('tenants', 'tenants.plan_id', 'plans.id')
    .selectAll('plans')
    .where('tenants.id', '=', tenantId)
    .executeTakeFirst()

export interface PlanChange {
  readonly name?: string | undefined
  readonly rank?: number | undefined
  readonly priority?: 'normal' | 'high' | undefined
  readonly prepaid?: boolean | undefined
  readonly upfront_credit_nanos?: bigint | null | undefined
}

export const updatePlan = (
  tx: LimitSql,
  planId: string,
  change: PlanChange,
): Promise<PlanRow | undefined> =>
  tx.updateTable('plans').set(change).where('id', '=', planId).returningAll().executeTakeFirst()

export const deletePlan = (tx: LimitSql, planId: string): Promise<PlanRow | undefined> =>
  tx.deleteFrom('plans').where('id', '=', planId).returningAll().executeTakeFirst()

// ------------------------------------------------------------------------------------------------------------------ rules

export type NewRule = Omit<RuleRow, 'created_at'>

export const insertRule = (tx: LimitSql, row: NewRule): Promise<RuleRow> =>
  tx.insertInto('limit_rules').values(row).returningAll().executeTakeFirstOrThrow()

/** Whose rules: exactly one of the two. */
export type RuleOwner = { readonly planId: string } | { readonly tenantId: string }

const ownerColumn = (owner: RuleOwner) => ('planId' in owner ? 'plan_id' : 'tenant_id')
export const ownerId = (owner: RuleOwner) => ('planId' in owner ? owner.planId : owner.tenantId)

export const countRules = async (tx: LimitSql, owner: RuleOwner): Promise<number> => {
  const row = await tx
    .selectFrom('limit_rules')
    .select((where) => where.fn.countAll<bigint>().as('count'))
    .where(ownerColumn(owner), '=', ownerId(owner))
    .executeTakeFirstOrThrow()
  return Number(row.count)
}

export const selectPlanRules = (tx: LimitSql, planId: string): Promise<RuleRow[]> =>
  tx.selectFrom('limit_rules').selectAll().where('plan_id', '=', planId).orderBy('id').execute()

/** The tenant's own and its plan's. */
const rulesFor = (tx: LimitSql, tenantId: string) =>
  tx
    .selectFrom('limit_rules')
    .selectAll()
    .where((where) =>
      where.or([
        where('tenant_id', '=', tenantId),
        where(
          'plan_id',
          '=',
          where.selectFrom('tenants').select('plan_id').where('id', '=', tenantId),
        ),
      ]),
    )

export const selectTenantRules = (
  tx: LimitSql,
  tenantId: string,
  page: PageRequest,
): Promise<RuleRow[]> =>
  rulesFor(tx, tenantId)
    .where('id', '>', page.after ?? '')
    .orderBy('id')
    .limit(page.limit + 1)
    .execute()

export const findTenantRule = (
  tx: LimitSql,
  tenantId: string,
  ruleId: string,
): Promise<RuleRow | undefined> =>
  rulesFor(tx, tenantId).where('id', '=', ruleId).executeTakeFirst()

export const findPlanRule = (
  tx: LimitSql,
  planId: string,
  ruleId: string,
): Promise<RuleRow | undefined> =>
  tx
    .selectFrom('limit_rules')
    .selectAll()
    .where('plan_id', '=', planId)
    .where('id', '=', ruleId)
    .executeTakeFirst()

export interface RuleChange {
  readonly limit_value?: bigint | undefined
  readonly enforcement?: Enforcement | undefined
  readonly on_outage?: 'closed' | 'open' | undefined
}

export const updateRule = (
  tx: LimitSql,
  owner: RuleOwner,
  ruleId: string,
  change: RuleChange,
): Promise<RuleRow | undefined> =>
  tx
    .updateTable('limit_rules')
    .set(change)
    .where(ownerColumn(owner), '=', ownerId(owner))
    .where('id', '=', ruleId)
    .returningAll()
    .executeTakeFirst()

export const deleteRule = (
  tx: LimitSql,
  owner: RuleOwner,
  ruleId: string,
): Promise<RuleRow | undefined> =>
  tx
    .deleteFrom('limit_rules')
    .where(ownerColumn(owner), '=', ownerId(owner))
    .where('id', '=', ruleId)
    .returningAll()
    .executeTakeFirst()

export const findProject = (
  tx: LimitSql,
  tenantId: string,
  projectId: string,
): Promise<{ id: string } | undefined> =>
  tx
    .selectFrom('projects')
    .select('id')
    .where('tenant_id', '=', tenantId)
    .where('id', '=', projectId)
    .executeTakeFirst()

export const findApiKey = (
  tx: LimitSql,
  tenantId: string,
  apiKeyId: string,
): Promise<{ project_id: string } | undefined> =>
  tx
    .selectFrom('api_keys')
    .select('project_id')
    .where('tenant_id', '=', tenantId)
    .where('id', '=', apiKeyId)
    .executeTakeFirst()

export const findModel = (
  tx: LimitSql,
  modelId: string,
): Promise<{ enabled: boolean } | undefined> =>
  tx.selectFrom('models').select('enabled').where('id', '=', modelId).executeTakeFirst()

// ----------------------------------------------------------------------------------------------------------------- credit

export const insertGrant = (tx: LimitSql, row: Omit<GrantRow, 'created_at'>): Promise<GrantRow> =>
  tx.insertInto('credit_grants').values(row).returningAll().executeTakeFirstOrThrow()

export const selectGrants = (
  tx: LimitSql,
  tenantId: string,
  page: PageRequest,
): Promise<GrantRow[]> =>
  tx
    .selectFrom('credit_grants')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '>', page.after ?? '')
    .orderBy('id')
    .limit(page.limit + 1)
    .execute()

export interface CreditFigures {
  readonly currency: string
  /** The sum of the grants. */
  readonly granted: bigint
  /** What was ever charged. */
  readonly charged: bigint
  /** What the gateways have spent of the credit, or reserved, by their leases. */
  readonly leased: bigint
}

export async function findCredit(
  tx: LimitSql,
  tenantId: string,
): Promise<CreditFigures | undefined> {
  const result = await sql<CreditFigures>`
    SELECT tenant.currency,
      (SELECT coalesce(sum(amount_nanos), 0)::bigint FROM credit_grants WHERE tenant_id = tenant.id) AS granted,
      (SELECT coalesce(sum(balance_nanos), 0)::bigint FROM ledger_accounts
        WHERE tenant_id = tenant.id AND kind = 'receivable' AND currency = tenant.currency) AS charged,
      (SELECT coalesce(sum(greatest(spent, used)), 0)::bigint FROM limit_leases WHERE rule_id = 'credit' AND subject = tenant.id) AS leased
    FROM tenants AS tenant WHERE tenant.id = ${tenantId}`.execute(tx)
  return result.rows[0]
}

// ---------------------------------------------------------------------------------------------------------------- reports

/** A counter of the window that runs, with its rule; or a rule of which nothing was used in it yet, whose subject is NULL. */
export interface CounterUse extends RuleRow {
  readonly subject: string | null
  readonly window_start: Date | null
  readonly window_end: Date | null
  readonly used: bigint
}

export async function selectCounterUses(
  tx: LimitSql,
  tenantId: string,
  now: Date,
  limit: number,
): Promise<CounterUse[]> {
  const result = await sql<CounterUse>`
    SELECT rule.*, counter.subject, counter.window_start, counter.window_end,
      CASE
        WHEN rule.time_window IN ('minute', 'hour') AND counter.allowance IS NOT NULL THEN greatest(0, rule.limit_value - floor(
          counter.allowance + rule.limit_value * least(1, greatest(0, extract(epoch FROM ${now} - counter.allowed_at) / CASE rule.time_window WHEN 'minute' THEN 60 ELSE 3600 END))
          - coalesce(sum(greatest(lease.spent, lease.used)), 0)))
        ELSE coalesce(sum(greatest(lease.spent, lease.used)), 0)
      END::bigint AS used
    FROM limit_rules AS rule
      LEFT JOIN limit_counters AS counter ON counter.rule_id = rule.id AND counter.tenant_id = ${tenantId}
        AND counter.window_start <= ${now} AND (counter.window_end IS NULL OR counter.window_end > ${now})
      LEFT JOIN limit_leases AS lease
        ON lease.rule_id = counter.rule_id AND lease.subject = counter.subject AND lease.window_start = counter.window_start
    WHERE rule.tenant_id = ${tenantId} OR rule.plan_id = (SELECT plan_id FROM tenants WHERE id = ${tenantId})
    GROUP BY rule.id, counter.rule_id, counter.subject, counter.window_start
    ORDER BY rule.id, counter.subject, counter.window_start LIMIT ${limit}`.execute(tx)
  return result.rows
}

export interface RefusalFilter {
  readonly tenantId?: string | undefined
  readonly from?: Date | undefined
  readonly to?: Date | undefined
  readonly limit: number
}

export interface RefusalRow {
  readonly hour: Date
  readonly tenant_id: string
  readonly rule_id: string
  readonly model_id: string
  readonly refused: bigint
  readonly would_have_refused: bigint
}

/** Newest first. */
export async function selectRefusals(tx: LimitSql, filter: RefusalFilter): Promise<RefusalRow[]> {
  const conditions = [
    sql`true`,
    ...(filter.tenantId === undefined ? [] : [sql`tenant_id = ${filter.tenantId}`]),
    ...(filter.from ? [sql`hour >= ${filter.from}`] : []),
    ...(filter.to ? [sql`hour < ${filter.to}`] : []),
  ]
  const result = await sql<RefusalRow>`
    SELECT hour, tenant_id, rule_id, model_id, coalesce(sum(refusals) FILTER (WHERE NOT shadow), 0)::bigint AS refused,
      coalesce(sum(refusals) FILTER (WHERE shadow), 0)::bigint AS would_have_refused
    FROM limit_refusals WHERE ${sql.join(conditions, sql` AND `)}
    GROUP BY hour, tenant_id, rule_id, model_id ORDER BY hour DESC, tenant_id, rule_id, model_id LIMIT ${filter.limit}`.execute(
    tx,
  )
  return result.rows
}

export const selectRulesById = (tx: LimitSql, ruleIds: readonly string[]): Promise<RuleRow[]> =>
  tx
    .selectFrom('limit_rules')
    .selectAll()
    .where('id', 'in', ['', ...new Set(ruleIds)])
    .execute()

// --------------------------------------------------------------------------------------------------------------- gateways

export const selectAllPlans = (tx: LimitSql): Promise<PlanRow[]> =>
  tx.selectFrom('plans').selectAll().orderBy('id').execute()

/** Of active and suspended tenants alike: whoever resumes finds its limits. */
export const selectAllRules = (tx: LimitSql): Promise<RuleRow[]> =>
  tx.selectFrom('limit_rules').selectAll().orderBy('id').execute()

export const selectTenantPlans = (
  tx: LimitSql,
): Promise<{ tenant_id: string; plan_id: string }[]> =>
  tx
    .selectFrom('tenants')
    .select(['id as tenant_id', 'plan_id'])
    .where('plan_id', 'is not', null)
    .orderBy('id')
    .$narrowType<{ plan_id: string }>()
    .execute()

export async function selectPrepaidCredits(
  tx: LimitSql,
): Promise<{ tenant_id: string; nanos: bigint }[]> {
  const result = await sql<{ tenant_id: string; nanos: bigint }>`
    SELECT tenants.id AS tenant_id, coalesce(sum(credit_grants.amount_nanos), 0)::bigint AS nanos
    FROM tenants JOIN plans ON plans.id = tenants.plan_id AND plans.prepaid LEFT JOIN credit_grants ON credit_grants.tenant_id = tenants.id
    GROUP BY tenants.id ORDER BY tenants.id`.execute(tx)
  return result.rows
}

// --------------------------------------------------------------------------------------------------------------- gateways

export interface GatewayRow {
  readonly gateway_id: string
  readonly seen_at: Date
  readonly unspent: bigint
}

/** Every gateway that has ever leased, the newest first: its last sign of life, and on how many counters it holds what is not spent. */
export const selectGateways = async (tx: LimitSql): Promise<readonly GatewayRow[]> => {
  const result = await sql<GatewayRow>`
    SELECT g.gateway_id, max(g.seen_at) AS seen_at, count(l.rule_id) FILTER (WHERE l.granted > l.spent) AS unspent
    FROM gateway_lives g LEFT JOIN limit_leases l ON l.life_id = g.id
    GROUP BY g.gateway_id ORDER BY seen_at DESC LIMIT 1000
  `.execute(tx)
  return result.rows
}

export const reclaimLeases = async (tx: LimitSql, gatewayId: string): Promise<void> => {
  await sql`SELECT reclaim_leases(${gatewayId}, '', true)`.execute(tx)
}
