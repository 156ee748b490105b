import { z } from 'zod'
import { createRule } from '../../../limits/rules.ts'
import { fromNewRule, newPlanRule } from '../../limit-parameters.ts'
import { ruleView, viewRule } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ planId: z.string() })

export const createPlanLimitOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  z.infer<typeof newPlanRule>,
  z.infer<typeof ruleView>
>({
  id: 'plan-limits.create',
  method: 'POST',
  path: '/plans/:planId/limits',
  permission: 'plans:write',
  summary: 'Set a limit for every tenant on a plan',
  audit: (input, rule) => ({
    resource: rule.id,
    details: { planId: input.params.planId, ...input.body },
  }),
  params,
  body: newPlanRule,
  result: ruleView,
  async handle({ params: { planId }, body }, { tx }) {
    return viewRule(await createRule(tx, { planId }, fromNewRule(body), 'platform'))
  },
})
