import { z } from 'zod'
import { listPlans } from '../../../limits/rules.ts'
import { planView, viewPlan } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'
import { pageQuery } from '../../page.ts'

const result = z.object({ data: z.array(planView), hasMore: z.boolean() })

export const listPlansOperation = defineOperation<
  unknown,
  unknown,
  z.infer<typeof pageQuery>,
  unknown,
  z.infer<typeof result>
>({
  id: 'plans.list',
  method: 'GET',
  path: '/plans',
  permission: 'plans:read',
  summary: 'List the plans',
  query: pageQuery,
  result,
  async handle({ query }, { tx }) {
    const { rows, hasMore } = await listPlans(tx, query)
    return { data: rows.map(viewPlan), hasMore }
  },
})
