import { z } from 'zod'
import { removeRule } from '../../../limits/rules.ts'
import { ruleView, viewRule } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ planId: z.string(), ruleId: z.string() })

export const removePlanLimitOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  unknown,
  z.infer<typeof ruleView>
>({
  id: 'plan-limits.remove',
  method: 'DELETE',
  path: '/plans/:planId/limits/:ruleId',
  permission: 'plans:write',
  summary: 'Take a limit off a plan',
  audit: (input, { planId, measure, window, limit }) => ({
    resource: input.params.ruleId,
    details: { planId, measure, window, limit },
  }),
  params,
  result: ruleView,
  async handle({ params: { planId, ruleId } }, { tx }) {
    return viewRule(await removeRule(tx, { planId }, ruleId, 'platform'))
  },
})
