import { z } from 'zod'
import { updatePlan } from '../../../limits/rules.ts'
import { amount } from '../../limit-parameters.ts'
import { planView, viewPlan } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ planId: z.string() })
const body = z
  .strictObject({
    name: z.string().trim().min(1).max(200),
    rank: z.int().min(0).max(1_000_000),
    priority: z.enum(['normal', 'high']),
    prepaid: z.boolean(),
    upfrontCreditNanos: amount.refine((text) => BigInt(text) > 0n, 'more than 0').nullable(),
  })
  .partial()
  .refine((change) => Object.keys(change).length > 0, 'name at least one field to change')

export const updatePlanOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof planView>
>({
  id: 'plans.update',
  method: 'PATCH',
  path: '/plans/:planId',
  permission: 'plans:write',
  summary: 'Change a plan for all tenants on it',
  audit: (input) => ({ resource: input.params.planId, details: { ...input.body } }),
  params,
  body,
  result: planView,
  async handle({ params: { planId }, body: { upfrontCreditNanos: nanos, ...change } }, { tx }) {
    const upfrontCreditNanos = typeof nanos === 'string' ? BigInt(nanos) : nanos
    return viewPlan(await updatePlan(tx, planId, { ...change, upfrontCreditNanos }))
  },
})
