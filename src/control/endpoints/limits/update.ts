import { z } from 'zod'
import { updateRule } from '../../../limits/rules.ts'
import { fromRuleChange, ruleChange, setterOf } from '../../limit-parameters.ts'
import { ruleView, viewRule } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string(), ruleId: z.string() })

export const updateLimitOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  z.infer<typeof ruleChange>,
  z.infer<typeof ruleView>
>({
  id: 'limits.update',
  method: 'PATCH',
  path: '/tenants/:tenantId/limits/:ruleId',
  permission: 'limits:write',
  summary: 'Change a limit of a tenant; what is used of it counts on',
  audit: (input) => ({ resource: input.params.ruleId, details: { ...input.body } }),
  params,
  body: ruleChange,
  result: ruleView,
  async handle({ params: { tenantId, ruleId }, body }, { tx, actor }) {
    const change = fromRuleChange(body)
    return viewRule(await updateRule(tx, { tenantId }, ruleId, change, setterOf(actor)))
  },
})
