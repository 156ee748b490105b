import { z } from 'zod'
import { createRule } from '../../../limits/rules.ts'
import { fromNewRule, newTenantRule, setterOf } from '../../limit-parameters.ts'
import { ruleView, viewRule } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string() })

export const createLimitOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  z.infer<typeof newTenantRule>,
  z.infer<typeof ruleView>
>({
  id: 'limits.create',
  method: 'POST',
  path: '/tenants/:tenantId/limits',
  permission: 'limits:write',
  summary: 'Set a limit for a tenant, or for a project, key or model of it',
  audit: (input, rule) => ({ resource: rule.id, details: { ...input.body } }),
  params,
  body: newTenantRule,
  result: ruleView,
  async handle({ params: { tenantId }, body }, { tx, actor }) {
    return viewRule(await createRule(tx, { tenantId }, fromNewRule(body), setterOf(actor)))
  },
})
