import { z } from 'zod'
import { removePlan } from '../../../limits/rules.ts'
import { planView, viewPlan } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ planId: z.string() })

export const removePlanOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  unknown,
  z.infer<typeof planView>
>({
  id: 'plans.remove',
  method: 'DELETE',
  path: '/plans/:planId',
  permission: 'plans:write',
  summary: 'Delete a plan that no tenant is on, with its limits',
  audit: (input) => ({ resource: input.params.planId }),
  params,
  result: planView,
  async handle({ params: { planId } }, { tx }) {
    return viewPlan(await removePlan(tx, planId))
  },
})
