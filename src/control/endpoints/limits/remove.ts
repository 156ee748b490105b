import { z } from 'zod'
import { removeRule } from '../../../limits/rules.ts'
import { setterOf } from '../../limit-parameters.ts'
import { ruleView, viewRule } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string(), ruleId: z.string() })

export const removeLimitOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  unknown,
  z.infer<typeof ruleView>
>({
  id: 'limits.remove',
  method: 'DELETE',
  path: '/tenants/:tenantId/limits/:ruleId',
  permission: 'limits:write',
  summary: 'Take a limit off a tenant',
  audit: (input, { measure, window, limit }) => ({
    resource: input.params.ruleId,
    details: { measure, window, limit },
  }),
  params,
  result: ruleView,
  async handle({ params: { tenantId, ruleId } }, { tx, actor }) {
    return viewRule(await removeRule(tx, { tenantId }, ruleId, setterOf(actor)))
  },
})
