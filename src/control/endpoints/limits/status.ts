import { z } from 'zod'
import { reportUses } from '../../../limits/rules.ts'
import type { Clock } from '../../../platform/clock.ts'
import { useView, viewUse } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string() })
const query = z.object({ limit: z.coerce.number().int().min(1).max(10_000).default(1_000) })
const result = z.object({ data: z.array(useView), hasMore: z.boolean() })

export const showLimitStatusOperation = defineOperation<
  { readonly clock: Clock },
  z.infer<typeof params>,
  z.infer<typeof query>,
  unknown,
  z.infer<typeof result>
>({
  id: 'limits.status',
  method: 'GET',
  path: '/tenants/:tenantId/limits/status',
  permission: 'limits:read',
  summary: 'What is used of each limit in the window that runs, and what remains',
  params,
  query,
  result,
  async handle({ params: { tenantId }, query: { limit } }, { tx, deps }) {
    const nowMs = deps.clock.nowMs()
    const { rows, hasMore } = await reportUses(tx, tenantId, { nowMs, limit })
    return { data: rows.map(viewUse), hasMore }
  },
})
