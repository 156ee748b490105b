import { z } from 'zod'
import { findTenantPlan, listPlanRules } from '../../../limits/rules.ts'
import { planWithRulesView, viewPlanWithRules } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string() })
const result = z.object({
  plan: planWithRulesView.nullable().describe('null: the tenant has only limits of its own.'),
})

export const getTenantPlanOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  unknown,
  z.infer<typeof result>
>({
  id: 'tenant-plans.get',
  method: 'GET',
  path: '/tenants/:tenantId/plan',
  permission: 'limits:read',
  summary: 'Show the plan that a tenant is on, with its limits',
  params,
  result,
  async handle({ params: { tenantId } }, { tx }) {
    const plan = await findTenantPlan(tx, tenantId)
    return { plan: plan ? viewPlanWithRules(plan, await listPlanRules(tx, plan.id)) : null }
  },
})
