/** All rules as a gateway holds them: which of them a request must pass. Pure; built anew when rules change. */
import {
  creditRuleId,
  type Enforcement,
  type LimitRecords,
  type LimitRuleRecord,
  type LimitWindow,
  type Measure,
} from './rule.ts'

/** Whose request, for which model. */
export interface LimitScope {
  readonly tenantId: string
  readonly projectId: string
  readonly apiKeyId: string
  readonly modelId: string
}

/** A rule, bound to the subject that has the amount for itself. */
export interface BoundRule {
  readonly ruleId: string
  readonly subject: string
  readonly tenantId: string
  readonly per: 'tenant' | 'project' | 'key'
  readonly modelId: string | undefined
  readonly measure: Measure
  readonly window: LimitWindow
  readonly limit: bigint
  readonly enforcement: Enforcement
  readonly onOutage: 'closed' | 'open'
  /** The plan that it comes from. */
  readonly planId: string | undefined
}

export interface RuleBook {
  /** Every rule that this request must pass; the same array for the same scope. */
  match(scope: LimitScope): readonly BoundRule[]
  priorityOf(tenantId: string): 'normal' | 'high'
  /** The smallest plan above the tenant's own whose rule of this kind would let `total` pass in one window. */
  planThatAllows(rule: BoundRule, total: bigint): string | undefined
}

/** Scopes are remembered, so that a request looks its rules up; beyond this they are forgotten and found again. */
const scopesMax = 200_000

export function createRuleBook(records: LimitRecords): RuleBook {
  const plans = new Map(records.plans.map((plan) => [plan.id, plan]))
  const planOf = new Map(records.tenantPlans.map(({ tenantId, planId }) => [tenantId, planId]))
  const ofPlan = Map.groupBy(records.rules, (rule) => rule.planId)
  const ofTenant = Map.groupBy(records.rules, (rule) => rule.tenantId)
  const credits = new Map(records.credits.map(({ tenantId, nanos }) => [tenantId, BigInt(nanos)]))
  const remembered = new Map<string, readonly BoundRule[]>()
  /** Many keys of a tenant share its rules. */
  const boundRules = new Map<string, BoundRule>()

  const find = (scope: LimitScope): readonly BoundRule[] => {
    const planId = planOf.get(scope.tenantId)
    const candidates = [
      ...((planId !== undefined && ofPlan.get(planId)) || []),
      ...(ofTenant.get(scope.tenantId) ?? []),
    ]
    const bound = candidates
      .filter((rule) => isFor(rule, scope))
      .map((rule) => {
        const key = `${rule.id} ${subjectOf(rule, scope)}`
        const known = boundRules.get(key) ?? bind(rule, scope)
        boundRules.set(key, known)
        return known
      })
    const isPrepaid = planId !== undefined && plans.get(planId)?.prepaid === true
    if (!isPrepaid) return bound
    const key = `${creditRuleId} ${scope.tenantId}`
    const credit =
      boundRules.get(key) ?? creditRule(scope.tenantId, credits.get(scope.tenantId) ?? 0n)
    boundRules.set(key, credit)
    return [...bound, credit]
  }

  return {
    match(scope) {
      const key = `${scope.apiKeyId} ${scope.modelId}`
      const known = remembered.get(key)
      if (known) return known
      if (remembered.size >= scopesMax) {
        remembered.clear()
        boundRules.clear()
      }
      const found = find(scope)
      remembered.set(key, found)
      return found
    },
    priorityOf: (tenantId) => plans.get(planOf.get(tenantId) ?? '')?.priority ?? 'normal',
    planThatAllows(rule, total) {
      const own = plans.get(rule.planId ?? '')
      if (!own) return undefined
      const larger = records.plans
        .filter((plan) => plan.rank > own.rank)
        .toSorted((a, b) => a.rank - b.rank)
      return larger.find((plan) => allow(ofPlan.get(plan.id) ?? [], rule, total))?.id
    },
  }
}

function isFor(rule: LimitRuleRecord, scope: LimitScope): boolean {
  return (
    (rule.projectId === undefined || rule.projectId === scope.projectId) &&
    (rule.apiKeyId === undefined || rule.apiKeyId === scope.apiKeyId) &&
    (rule.modelId === undefined || rule.modelId === scope.modelId)
  )
}

function subjectOf(rule: LimitRuleRecord, scope: LimitScope): string {
  if (rule.per === 'tenant') return scope.tenantId
  return rule.per === 'project' ? scope.projectId : scope.apiKeyId
}

function bind(rule: LimitRuleRecord, scope: LimitScope): BoundRule {
  return {
    ruleId: rule.id,
    subject: subjectOf(rule, scope),
    tenantId: scope.tenantId,
    per: rule.per,
    modelId: rule.modelId,
    measure: rule.measure,
    window: rule.window,
    limit: BigInt(rule.limit),
    enforcement: rule.enforcement,
    onOutage: rule.onOutage,
    planId: rule.planId,
  }
}

function creditRule(tenantId: string, limit: bigint): BoundRule {
  return {
    ruleId: creditRuleId,
    subject: tenantId,
    tenantId,
    per: 'tenant',
    modelId: undefined,
    measure: 'amount',
    window: 'lifetime',
    limit,
    enforcement: 'hard',
    onOutage: 'closed',
    planId: undefined,
  }
}

/** A plan that has no such rule sets no such limit. */
function allow(rules: readonly LimitRuleRecord[], rule: BoundRule, total: bigint): boolean {
  return rules
    .filter(
      (each) =>
        each.measure === rule.measure &&
        each.window === rule.window &&
        each.per === rule.per &&
        (each.modelId === undefined || each.modelId === rule.modelId),
    )
    .every((each) => BigInt(each.limit) >= total)
}
