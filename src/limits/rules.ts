/**
 * Front door for those who set limits and read about them: plans, rules, prepaid credit, and the reports. Every verb runs in the caller's
 * transaction and scope. Gateways, who apply limits, have a door of their own (limits.ts); what they must know is loaded here.
 */
import type { Page } from '../identity/identity.ts'
import { Fault } from '../platform/fault.ts'
import { newId } from '../platform/ids.ts'
import type { Sql } from '../platform/postgres/database.ts'
import {
  creditRuleId,
  type Enforcement,
  type LimitRecords,
  type LimitRuleRecord,
  type LimitWindow,
  type Measure,
} from './rule.ts'
import * as store from './rules-store.ts'
import { shippedPlans } from './shipped-plans.ts'

type Tx = Sql<unknown>
/** Each module knows its own tables of the one database. */
const own = (tx: Tx): store.LimitSql => tx as unknown as store.LimitSql

export type Plan = store.PlanRow
export type LimitRule = store.RuleRow
export type CreditGrant = store.GrantRow
export type RuleOwner = store.RuleOwner
/** Who sets or changes a rule: what the platform set, a tenant leaves alone. */
export type RuleSetter = 'platform' | 'tenant'

const plansMax = 1_000
const planRulesMax = 100
const tenantRulesMax = 1_000
/** A billion of the currency, and as many tokens: more is a slip of the unit. */
export const limitMax = 10n ** 18n

// ------------------------------------------------------------------------------------------------------------------ plans

/** Brings the shipped plans into an installation that has none. What operators made of them since stays. */
export async function importShippedPlans(tx: Tx): Promise<void> {
  if ((await store.countPlans(own(tx))) > 0) return
  for (const { rules, upfrontCreditNanos, ...plan } of shippedPlans) {
    await store.insertPlan(own(tx), { ...plan, upfront_credit_nanos: upfrontCreditNanos })
    for (const rule of rules) await insertRule(tx, { planId: plan.id }, rule, 'platform')
  }
}

export async function listPlans(tx: Tx, page: store.PageRequest): Promise<Page<Plan>> {
  return toPage(await store.selectPlans(own(tx), page), page)
}

export async function getPlan(tx: Tx, planId: string): Promise<Plan> {
  return (await store.findPlan(own(tx), planId)) ?? notFound('plan')
}

/** The plan that a tenant is on; `undefined` when it has only limits of its own. */
export async function findTenantPlan(tx: Tx, tenantId: string): Promise<Plan | undefined> {
  return store.findTenantPlan(own(tx), tenantId)
}

export async function listPlanRules(tx: Tx, planId: string): Promise<readonly LimitRule[]> {
  return store.selectPlanRules(own(tx), planId)
}

export interface NewPlan {
  readonly id: string
  readonly name: string
  readonly rank: number
  readonly priority: 'normal' | 'high'
  readonly prepaid: boolean
  readonly upfrontCreditNanos: bigint | null
  readonly currency: string
}

export async function createPlan(tx: Tx, plan: NewPlan): Promise<Plan> {
  if ((await store.countPlans(own(tx))) >= plansMax)
    throw refuse('client.conflict', `There are ${plansMax} plans already. Remove one.`)
  const { upfrontCreditNanos, ...rest } = plan
  const row = { ...rest, upfront_credit_nanos: upfrontCreditNanos }
  checkCredit(row)
  return translate({ '23505': 'A plan of that id or name exists already.' }, () =>
    store.insertPlan(own(tx), row),
  )
}

export interface PlanChange {
  readonly name?: string | undefined
  readonly rank?: number | undefined
  readonly priority?: 'normal' | 'high' | undefined
  readonly prepaid?: boolean | undefined
  readonly upfrontCreditNanos?: bigint | null | undefined
}

/** A plan keeps its currency, as its tenants keep theirs. */
export async function updatePlan(tx: Tx, planId: string, change: PlanChange): Promise<Plan> {
  const { upfrontCreditNanos, ...rest } = change
  const changed = await translate({ '23505': 'A plan of that name exists already.' }, () =>
    store.updatePlan(own(tx), planId, { ...rest, upfront_credit_nanos: upfrontCreditNanos }),
  )
  if (!changed) return notFound('plan')
  checkCredit(changed)
  return changed
}

export async function removePlan(tx: Tx, planId: string): Promise<Plan> {
  const text = 'Tenants are on this plan. Give them another one, or none, first.'
  return (
    (await translate({ '23503': text }, () => store.deletePlan(own(tx), planId))) ??
    notFound('plan')
  )
}

function checkCredit(plan: Pick<Plan, 'prepaid' | 'upfront_credit_nanos'>): void {
  if (plan.upfront_credit_nanos === null || plan.prepaid) return
  throw refuse(
    'client.invalid_request',
    'Only a prepaid plan has an upfront credit.',
    'upfrontCreditNanos',
  )
}

// ------------------------------------------------------------------------------------------------------------------ rules

export interface NewRule {
  readonly projectId?: string | undefined
  readonly apiKeyId?: string | undefined
  readonly modelId?: string | undefined
  readonly per?: 'tenant' | 'project' | 'key' | undefined
  readonly measure: Measure
  /** Left out for `concurrency` only. */
  readonly window?: LimitWindow | undefined
  readonly limit: bigint
  readonly enforcement: Enforcement
  readonly onOutage: 'closed' | 'open'
}

export async function createRule(
  tx: Tx,
  owner: RuleOwner,
  rule: NewRule,
  setBy: RuleSetter,
): Promise<LimitRule> {
  if ('planId' in owner) await getPlan(tx, owner.planId)
  await checkScope(tx, owner, rule, setBy)
  await store.lockOwner(own(tx), store.ownerId(owner))
  const rulesMax = 'planId' in owner ? planRulesMax : tenantRulesMax
  if ((await store.countRules(own(tx), owner)) >= rulesMax)
    throw refuse('client.conflict', `There are ${rulesMax} limits already. Remove one first.`)
  return insertRule(tx, owner, rule, setBy)
}

async function insertRule(
  tx: Tx,
  owner: RuleOwner,
  rule: NewRule,
  setBy: RuleSetter,
): Promise<LimitRule> {
  const row = {
    id: newId('lim'),
    plan_id: 'planId' in owner ? owner.planId : null,
    tenant_id: 'tenantId' in owner ? owner.tenantId : null,
    set_by: setBy,
    project_id: rule.projectId ?? null,
    api_key_id: rule.apiKeyId ?? null,
    model_id: rule.modelId ?? null,
    per: rule.per ?? 'tenant',
    measure: rule.measure,
    time_window: windowOf(rule),
    limit_value: rule.limit,
    enforcement: rule.enforcement,
    on_outage: rule.onOutage,
  }
  checkOutage(row)
  return store.insertRule(own(tx), row)
}

/** The tenant's own rules, and those of its plan. */
export async function listTenantRules(
  tx: Tx,
  tenantId: string,
  page: store.PageRequest,
): Promise<Page<LimitRule>> {
  return toPage(await store.selectTenantRules(own(tx), tenantId, page), page)
}

/** What names a counter stays: another measure, window or subject is another rule, which begins with nothing used. */
export interface RuleChange {
  readonly limit?: bigint | undefined
  readonly enforcement?: Enforcement | undefined
  readonly onOutage?: 'closed' | 'open' | undefined
}

export async function updateRule(
  tx: Tx,
  owner: RuleOwner,
  ruleId: string,
  change: RuleChange,
  by: RuleSetter,
): Promise<LimitRule> {
  const rule = await getChangeable(tx, owner, ruleId, by)
  const next = {
    limit_value: change.limit ?? rule.limit_value,
    enforcement: change.enforcement ?? rule.enforcement,
    on_outage: change.onOutage ?? rule.on_outage,
  }
  checkOutage(next)
  return (await store.updateRule(own(tx), owner, ruleId, next)) ?? notFound('limit')
}

export async function removeRule(
  tx: Tx,
  owner: RuleOwner,
  ruleId: string,
  by: RuleSetter,
): Promise<LimitRule> {
  await getChangeable(tx, owner, ruleId, by)
  return (await store.deleteRule(own(tx), owner, ruleId)) ?? notFound('limit')
}

/** Row-level security holds the same for tenants; here they are told why. */
async function getChangeable(
  tx: Tx,
  owner: RuleOwner,
  ruleId: string,
  by: RuleSetter,
): Promise<LimitRule> {
  const rule =
    'planId' in owner
      ? await store.findPlanRule(own(tx), owner.planId, ruleId)
      : await store.findTenantRule(own(tx), owner.tenantId, ruleId)
  if (!rule) return notFound('limit')
  if (by === 'tenant' && rule.set_by !== 'tenant')
    throw refuse(
      'auth.permission_denied',
      'The platform set this limit, and only the platform changes it. You may add a tighter one.',
    )
  if ('tenantId' in owner && rule.plan_id !== null)
    throw refuse(
      'client.conflict',
      `This limit belongs to the plan '${rule.plan_id}' and holds for all tenants on it. Change it there.`,
    )
  return rule
}

function windowOf(rule: NewRule): LimitWindow {
  if (rule.measure === 'concurrency') {
    if (rule.window === undefined || rule.window === 'lifetime') return 'lifetime'
    throw refuse(
      'client.invalid_request',
      'Concurrency counts requests under way, and has no window. Leave the window out.',
      'window',
    )
  }
  if (rule.window !== undefined) return rule.window
  throw refuse(
    'client.invalid_request',
    'Name a window: minute, hour, day, month or lifetime.',
    'window',
  )
}

function checkOutage(rule: Pick<LimitRule, 'enforcement' | 'on_outage'>): void {
  if (rule.on_outage === 'closed' || rule.enforcement !== 'hard') return
  throw refuse(
    'client.invalid_request',
    "A hard limit is closed in an outage, or it could be exceeded. Make it 'soft' to have it open.",
    'onOutage',
  )
}

async function checkScope(
  tx: Tx,
  owner: RuleOwner,
  rule: NewRule,
  setBy: RuleSetter,
): Promise<void> {
  if ('planId' in owner) {
    if (rule.projectId !== undefined || rule.apiKeyId !== undefined)
      throw refuse(
        'client.invalid_request',
        "A plan is for many tenants and knows no project or key. Say 'per' to give each of them its own amount.",
        rule.projectId === undefined ? 'apiKeyId' : 'projectId',
      )
  } else {
    await checkSubject(tx, owner.tenantId, rule)
  }
  if (rule.modelId === undefined) return
  const model = await store.findModel(own(tx), rule.modelId)
  // A model that is not offered does not exist for a tenant.
  if (!model || (setBy === 'tenant' && !model.enabled)) notFound('model', 'modelId')
}

async function checkSubject(tx: Tx, tenantId: string, rule: NewRule): Promise<void> {
  const { projectId, apiKeyId } = rule
  if (projectId !== undefined && !(await store.findProject(own(tx), tenantId, projectId)))
    notFound('project', 'projectId')
  if (apiKeyId === undefined) return
  const key = await store.findApiKey(own(tx), tenantId, apiKeyId)
  if (!key) return notFound('API key', 'apiKeyId')
  if (projectId !== undefined && key.project_id !== projectId)
    throw refuse('client.invalid_request', 'The key is of another project.', 'apiKeyId')
}

// ----------------------------------------------------------------------------------------------------------------- credit

/** Money paid ahead, or a correction of it. What is spent stays covered. */
export async function grantCredit(
  tx: Tx,
  grant: { readonly tenantId: string; readonly amountNanos: bigint; readonly note: string },
): Promise<CreditGrant> {
  await store.lockOwner(own(tx), grant.tenantId)
  const credit = await store.findCredit(own(tx), grant.tenantId)
  if (!credit) return notFound('tenant')
  const granted = credit.granted + grant.amountNanos
  const floor = credit.charged > credit.leased ? credit.charged : credit.leased
  if (grant.amountNanos < 0n && granted < floor)
    throw refuse(
      'client.conflict',
      'The credit would fall below what is spent of it already. Take less away.',
      'amountNanos',
    )
  if (granted > limitMax)
    throw refuse('client.invalid_request', 'The credit would be too large.', 'amountNanos')
  return store.insertGrant(own(tx), {
    id: newId('crd'),
    tenant_id: grant.tenantId,
    amount_nanos: grant.amountNanos,
    currency: credit.currency,
    note: grant.note,
  })
}

export async function listGrants(
  tx: Tx,
  tenantId: string,
  page: store.PageRequest,
): Promise<Page<CreditGrant>> {
  return toPage(await store.selectGrants(own(tx), tenantId, page), page)
}

export interface CreditBalance {
  readonly currency: string
  readonly grantedNanos: bigint
  /** All charges in the ledger. */
  readonly spentNanos: bigint
  /** Negative for a tenant that was charged before it paid ahead. */
  readonly remainingNanos: bigint
}

export async function getCreditBalance(tx: Tx, tenantId: string): Promise<CreditBalance> {
  const credit = await store.findCredit(own(tx), tenantId)
  if (!credit) return notFound('tenant')
  return {
    currency: credit.currency,
    grantedNanos: credit.granted,
    spentNanos: credit.charged,
    remainingNanos: credit.granted - credit.charged,
  }
}

// ---------------------------------------------------------------------------------------------------------------- reports

/** Where one counter stands in the window that runs now. Without a subject: a rule of which nothing was used in it. */
export interface LimitUse {
  readonly ruleId: string
  /** `undefined` for prepaid credit, which is no rule of anybody's. */
  readonly rule: LimitRule | undefined
  readonly measure: Measure
  readonly window: LimitWindow
  readonly subject: string | undefined
  readonly windowStart: Date | undefined
  /** `undefined`: it does not end. */
  readonly windowEnd: Date | undefined
  readonly limit: bigint
  /** Spent or reserved, as gateways last told. */
  readonly used: bigint
  readonly remaining: bigint
}

export async function reportUses(
  tx: Tx,
  tenantId: string,
  filter: { readonly nowMs: number; readonly limit: number },
): Promise<Page<LimitUse>> {
  const now = new Date(filter.nowMs)
  const counters = await store.selectCounterUses(own(tx), tenantId, now, filter.limit + 1)
  const { rows, hasMore } = toPage(counters, filter)
  const credit = await findCreditUse(tx, tenantId)
  return { rows: [...(credit ? [credit] : []), ...rows.map(toUse)], hasMore }
}

async function findCreditUse(tx: Tx, tenantId: string): Promise<LimitUse | undefined> {
  const plan = await store.findTenantPlan(own(tx), tenantId)
  const credit = plan?.prepaid ? await store.findCredit(own(tx), tenantId) : undefined
  if (!credit) return undefined
  return {
    ruleId: creditRuleId,
    rule: undefined,
    measure: 'amount',
    window: 'lifetime',
    subject: tenantId,
    windowStart: undefined,
    windowEnd: undefined,
    limit: credit.granted,
    used: credit.leased,
    remaining: positive(credit.granted - credit.leased),
  }
}

function toUse(counter: store.CounterUse): LimitUse {
  const { subject, window_start: start, window_end: end, used, ...rule } = counter
  return {
    ruleId: rule.id,
    rule,
    measure: rule.measure,
    window: rule.time_window,
    subject: subject ?? undefined,
    // Where room comes back all the time, or never, there is no window that began.
    windowStart: end ? (start ?? undefined) : undefined,
    windowEnd: end ?? undefined,
    limit: rule.limit_value,
    used,
    remaining: positive(rule.limit_value - used),
  }
}

const positive = (amount: bigint): bigint => (amount > 0n ? amount : 0n)

export type RefusalFilter = store.RefusalFilter

export interface Refusals {
  readonly hour: Date
  readonly tenantId: string
  readonly ruleId: string
  /** `undefined` for prepaid credit, and for a rule that is gone. */
  readonly rule: LimitRule | undefined
  readonly modelId: string
  readonly refused: bigint
  /** What shadow rules let pass. */
  readonly wouldHaveRefused: bigint
}

/** What limits refused, or would have, by hour, tenant, rule and model; the newest first. */
export async function reportRefusals(tx: Tx, filter: RefusalFilter): Promise<Page<Refusals>> {
  const found = await store.selectRefusals(own(tx), { ...filter, limit: filter.limit + 1 })
  const { rows, hasMore } = toPage(found, filter)
  const ruleIds = rows.map((row) => row.rule_id)
  const rules = new Map(
    (await store.selectRulesById(own(tx), ruleIds)).map((rule) => [rule.id, rule]),
  )
  return {
    rows: rows.map((row) => ({
      hour: row.hour,
      tenantId: row.tenant_id,
      ruleId: row.rule_id,
      rule: rules.get(row.rule_id),
      modelId: row.model_id,
      refused: row.refused,
      wouldHaveRefused: row.would_have_refused,
    })),
    hasMore,
  }
}

// --------------------------------------------------------------------------------------------------------------- gateways

/** All that a gateway must know to apply limits. */
export async function loadLimitRecords(tx: Tx): Promise<LimitRecords> {
  const plans = await store.selectAllPlans(own(tx))
  const rules = await store.selectAllRules(own(tx))
  const tenantPlans = await store.selectTenantPlans(own(tx))
  const credits = await store.selectPrepaidCredits(own(tx))
  return {
    plans: plans.map(({ id, name, rank, priority, prepaid }) => ({
      id,
      name,
      rank,
      priority,
      prepaid,
    })),
    rules: rules.map(toRecord),
    tenantPlans: tenantPlans.map((row) => ({ tenantId: row.tenant_id, planId: row.plan_id })),
    credits: credits.map((row) => ({ tenantId: row.tenant_id, nanos: String(row.nanos) })),
  }
}

function toRecord(rule: LimitRule): LimitRuleRecord {
  return {
    id: rule.id,
    planId: rule.plan_id ?? undefined,
    tenantId: rule.tenant_id ?? undefined,
    projectId: rule.project_id ?? undefined,
    apiKeyId: rule.api_key_id ?? undefined,
    modelId: rule.model_id ?? undefined,
    per: rule.per,
    measure: rule.measure,
    window: rule.time_window,
    limit: String(rule.limit_value),
    enforcement: rule.enforcement,
    onOutage: rule.on_outage,
  }
}

function toPage<Row>(rows: readonly Row[], page: { readonly limit: number }): Page<Row> {
  return { rows: rows.slice(0, page.limit), hasMore: rows.length > page.limit }
}

/** Turns a broken constraint, by its SQLSTATE, into words. */
async function translate<Result>(
  texts: Readonly<Record<string, string>>,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    const text = texts[code]
    if (text === undefined) throw error
    throw refuse('client.conflict', text)
  }
}

function notFound(what: string, param?: string): never {
  throw refuse('client.not_found', `There is no such ${what}.`, param)
}

function refuse(
  code:
    | 'client.not_found'
    | 'client.conflict'
    | 'client.invalid_request'
    | 'auth.permission_denied',
  text: string,
  param?: string,
): Fault {
  return new Fault({ code, public: text, param })
}

/** A gateway that leases from the authority, or did. */
export interface LeasingGateway {
  readonly gatewayId: string
  readonly seenAt: Date
  /** Counters on which it holds what it has not spent. */
  readonly countersHeld: number
}

export async function listGateways(tx: Tx): Promise<readonly LeasingGateway[]> {
  return (await store.selectGateways(own(tx))).map(toGateway)
}

/** A gateway calls every 2 seconds; one that was silent for this long does not run. */
const silentMs = 60_000

/**
 * Frees what a gateway holds whose disk is gone for good. Whatever its lost journal would have billed is not billed any more. Refuses a gateway that
 * may be running: it would go on spending what others then get too.
 */
export async function retireGateway(
  tx: Tx,
  gatewayId: string,
  nowMs: number,
): Promise<LeasingGateway> {
  const find = async (): Promise<LeasingGateway | undefined> =>
    (await listGateways(tx)).find((gateway) => gateway.gatewayId === gatewayId)
  const gateway = await find()
  if (!gateway) throw refuse('client.not_found', 'There is no such gateway.')
  if (nowMs - gateway.seenAt.getTime() < silentMs)
    throw refuse(
      'client.conflict',
      'This gateway was heard of within the last minute. Stop it first.',
    )
  await store.reclaimLeases(own(tx), gatewayId)
  return (await find()) ?? gateway
}

function toGateway(row: store.GatewayRow): LeasingGateway {
  return { gatewayId: row.gateway_id, seenAt: row.seen_at, countersHeld: Number(row.unspent) }
}
