import { z } from 'zod'
import { reportUsage } from '../../../billing/report.ts'
import { usageQuery, usageView } from '../../usage-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string() })

export const reportTenantUsageOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  z.infer<typeof usageQuery>,
  unknown,
  z.infer<typeof usageView>
>({
  id: 'tenant-usage.report',
  method: 'GET',
  path: '/tenants/:tenantId/usage',
  permission: 'usage:read',
  summary: 'Usage and charges of a tenant, grouped and summed exactly',
  params,
  query: usageQuery,
  result: usageView,
  async handle({ params, query }, { tx }) {
    return reportUsage(tx, { ...query, tenantId: params.tenantId })
  },
})
