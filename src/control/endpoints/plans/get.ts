import { z } from 'zod'
import { getPlan, listPlanRules } from '../../../limits/rules.ts'
import { planWithRulesView, viewPlanWithRules } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ planId: z.string() })

export const getPlanOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  unknown,
  z.infer<typeof planWithRulesView>
>({
  id: 'plans.get',
  method: 'GET',
  path: '/plans/:planId',
  permission: 'plans:read',
  summary: 'Show a plan with its limits',
  params,
  result: planWithRulesView,
  async handle({ params: { planId } }, { tx }) {
    return viewPlanWithRules(await getPlan(tx, planId), await listPlanRules(tx, planId))
  },
})
