/** Plans, limits and credit as the control API shows them: amounts as decimal strings, times as ISO strings. */
import { z } from 'zod'
import type {
  CreditBalance,
  CreditGrant,
  LimitRule,
  LimitUse,
  Plan,
  Refusals,
} from '../limits/rules.ts'
import { enforcements, limitWindows, measures } from '../limits/rule.ts'

export const ruleView = z.object({
  id: z.string(),
  planId: z.string().nullable().describe("The plan whose rule it is; null for a tenant's own."),
  tenantId: z.string().nullable(),
  setBy: z.enum(['platform', 'tenant']),
  projectId: z.string().nullable(),
  apiKeyId: z.string().nullable(),
  modelId: z.string().nullable(),
  per: z.enum(['tenant', 'project', 'key']),
  measure: z.enum(measures),
  window: z.enum(limitWindows),
  limit: z.string().describe('Requests, tokens, or nano-units of the currency.'),
  enforcement: z.enum(enforcements),
  onOutage: z.enum(['closed', 'open']),
  createdAt: z.string(),
})

export const planView = z.object({
  id: z.string(),
  name: z.string(),
  rank: z.number(),
  priority: z.enum(['normal', 'high']),
  prepaid: z.boolean(),
  upfrontCreditNanos: z.string().nullable(),
  currency: z.string(),
  createdAt: z.string(),
})
export const planWithRulesView = planView.extend({ rules: z.array(ruleView) })

export const useView = z.object({
  ruleId: z.string().describe("Of a limit, or 'credit' for prepaid credit."),
  rule: ruleView.nullable(),
  measure: z.enum(measures),
  window: z.enum(limitWindows),
  subject: z
    .string()
    .nullable()
    .describe('The tenant, project or key that has the amount for itself; null: none used any.'),
  windowStart: z.string().nullable(),
  windowEnd: z.string().nullable(),
  limit: z.string(),
  used: z.string().describe('Spent or reserved, as gateways last told.'),
  remaining: z.string(),
})

export const refusalsView = z.object({
  hour: z.string(),
  tenantId: z.string(),
  ruleId: z.string(),
  rule: ruleView.nullable().describe('null for prepaid credit, and for a limit that is gone.'),
  modelId: z.string(),
  refused: z.number(),
  wouldHaveRefused: z.number().describe('What shadow limits let pass.'),
})
export const refusalReport = z.object({ data: z.array(refusalsView), hasMore: z.boolean() })

export const grantView = z.object({
  id: z.string(),
  tenantId: z.string(),
  amountNanos: z.string(),
  currency: z.string(),
  note: z.string(),
  createdAt: z.string(),
})
export const balanceView = z.object({
  currency: z.string(),
  grantedNanos: z.string(),
  spentNanos: z.string().describe('All charges in the ledger.'),
  remainingNanos: z.string(),
})

export function viewRule(rule: LimitRule): z.infer<typeof ruleView> {
  return {
    id: rule.id,
    planId: rule.plan_id,
    tenantId: rule.tenant_id,
    setBy: rule.set_by,
    projectId: rule.project_id,
    apiKeyId: rule.api_key_id,
    modelId: rule.model_id,
    per: rule.per,
    measure: rule.measure,
    window: rule.time_window,
    limit: String(rule.limit_value),
    enforcement: rule.enforcement,
    onOutage: rule.on_outage,
    createdAt: rule.created_at.toISOString(),
  }
}

export function viewPlan(plan: Plan): z.infer<typeof planView> {
  return {
    id: plan.id,
    name: plan.name,
    rank: plan.rank,
    priority: plan.priority,
    prepaid: plan.prepaid,
    upfrontCreditNanos: plan.upfront_credit_nanos === null ? null : `${plan.upfront_credit_nanos}`,
    currency: plan.currency,
    createdAt: plan.created_at.toISOString(),
  }
}

export function viewPlanWithRules(
  plan: Plan,
  rules: readonly LimitRule[],
): z.infer<typeof planWithRulesView> {
  return { ...viewPlan(plan), rules: rules.map(viewRule) }
}

export function viewUse(use: LimitUse): z.infer<typeof useView> {
  return {
    ruleId: use.ruleId,
    rule: use.rule ? viewRule(use.rule) : null,
    measure: use.measure,
    window: use.window,
    subject: use.subject ?? null,
    windowStart: use.windowStart?.toISOString() ?? null,
    windowEnd: use.windowEnd?.toISOString() ?? null,
    limit: String(use.limit),
    used: String(use.used),
    remaining: String(use.remaining),
  }
}

export function viewRefusals(row: Refusals): z.infer<typeof refusalsView> {
  return {
    hour: row.hour.toISOString(),
    tenantId: row.tenantId,
    ruleId: row.ruleId,
    rule: row.rule ? viewRule(row.rule) : null,
    modelId: row.modelId,
    refused: Number(row.refused),
    wouldHaveRefused: Number(row.wouldHaveRefused),
  }
}

export function viewGrant(grant: CreditGrant): z.infer<typeof grantView> {
  return {
    id: grant.id,
    tenantId: grant.tenant_id,
    amountNanos: String(grant.amount_nanos),
    currency: grant.currency,
    note: grant.note,
    createdAt: grant.created_at.toISOString(),
  }
}

export function viewBalance(balance: CreditBalance): z.infer<typeof balanceView> {
  return {
    currency: balance.currency,
    grantedNanos: String(balance.grantedNanos),
    spentNanos: String(balance.spentNanos),
    remainingNanos: String(balance.remainingNanos),
  }
}
