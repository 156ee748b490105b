import { z } from 'zod'
import { listTenantRules } from '../../../limits/rules.ts'
import { ruleView, viewRule } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'
import { pageQuery } from '../../page.ts'

const params = z.object({ tenantId: z.string() })
const result = z.object({ data: z.array(ruleView), hasMore: z.boolean() })

export const listLimitsOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  z.infer<typeof pageQuery>,
  unknown,
  z.infer<typeof result>
>({
  id: 'limits.list',
  method: 'GET',
  path: '/tenants/:tenantId/limits',
  permission: 'limits:read',
  summary: 'List the limits that bind a tenant: its own, and those of its plan',
  params,
  query: pageQuery,
  result,
  async handle({ params: { tenantId }, query }, { tx }) {
    const { rows, hasMore } = await listTenantRules(tx, tenantId, query)
    return { data: rows.map(viewRule), hasMore }
  },
})
