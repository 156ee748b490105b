import { z } from 'zod'
import { updateRule } from '../../../limits/rules.ts'
import { fromRuleChange, ruleChange } from '../../limit-parameters.ts'
import { ruleView, viewRule } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ planId: z.string(), ruleId: z.string() })

export const updatePlanLimitOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  z.infer<typeof ruleChange>,
  z.infer<typeof ruleView>
>({
  id: 'plan-limits.update',
  method: 'PATCH',
  path: '/plans/:planId/limits/:ruleId',
  permission: 'plans:write',
  summary: 'Change a limit of a plan; what is used of it counts on',
  audit: (input) => ({
    resource: input.params.ruleId,
    details: { planId: input.params.planId, ...input.body },
  }),
  params,
  body: ruleChange,
  result: ruleView,
  async handle({ params: { planId, ruleId }, body }, { tx }) {
    const change = fromRuleChange(body)
    return viewRule(await updateRule(tx, { planId }, ruleId, change, 'platform'))
  },
})
