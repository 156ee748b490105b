import type { z } from 'zod'
import { reportRefusals } from '../../../limits/rules.ts'
import { refusalQuery } from '../../limit-parameters.ts'
import { refusalReport, viewRefusals } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'

export const reportPlatformRefusalsOperation = defineOperation<
  unknown,
  unknown,
  z.infer<typeof refusalQuery>,
  unknown,
  z.infer<typeof refusalReport>
>({
  id: 'limits.report',
  method: 'GET',
  path: '/limits/refusals',
  permission: 'limits:read',
  summary:
    'What limits refused, and what shadow limits would have, by hour, tenant, limit and model',
  query: refusalQuery,
  result: refusalReport,
  async handle({ query }, { tx }) {
    const { rows, hasMore } = await reportRefusals(tx, query)
    return { data: rows.map(viewRefusals), hasMore }
  },
})
