import { z } from 'zod'
import { reportRefusals } from '../../../limits/rules.ts'
import { refusalQuery } from '../../limit-parameters.ts'
import { refusalReport, viewRefusals } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string() })

export const reportTenantRefusalsOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  z.infer<typeof refusalQuery>,
  unknown,
  z.infer<typeof refusalReport>
>({
  id: 'tenant-limits.report',
  method: 'GET',
  path: '/tenants/:tenantId/limits/refusals',
  permission: 'limits:read',
  summary:
    'What limits refused a tenant, and what shadow limits would have, by hour, limit and model',
  params,
  query: refusalQuery,
  result: refusalReport,
  async handle({ params: { tenantId }, query }, { tx }) {
    const { rows, hasMore } = await reportRefusals(tx, { ...query, tenantId })
    return { data: rows.map(viewRefusals), hasMore }
  },
})
