import type { z } from 'zod'
import { reportUsage } from '../../../billing/report.ts'
import { usageQuery, usageView } from '../../usage-view.ts'
import { defineOperation } from '../../operation.ts'

export const reportPlatformUsageOperation = defineOperation<
  unknown,
  unknown,
  z.infer<typeof usageQuery>,
  unknown,
  z.infer<typeof usageView>
>({
  id: 'usage.report',
  method: 'GET',
  path: '/usage',
  permission: 'usage:read',
  summary: 'Usage and charges, grouped and summed exactly',
  query: usageQuery,
  result: usageView,
  async handle({ query }, { tx }) {
    return reportUsage(tx, query)
  },
})
