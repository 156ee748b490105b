import { z } from 'zod'
import { createPlan } from '../../../limits/rules.ts'
import { amount, planId } from '../../limit-parameters.ts'
import { planView, viewPlan } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'

const body = z.strictObject({
  id: planId,
  name: z.string().trim().min(1).max(200),
  rank: z
    .int()
    .min(0)
    .max(1_000_000)
    .describe('From the smallest plan to the largest: a refusal names the next that would do.'),
  priority: z.enum(['normal', 'high']).default('normal'),
  prepaid: z
    .boolean()
    .default(false)
    .describe('Its tenants spend what they have been credited, and no more.'),
  upfrontCreditNanos: amount
    .refine((text) => BigInt(text) > 0n, 'more than 0')
    .nullable()
    .default(null)
    .describe('What a tenant pays ahead to be on this plan.'),
  currency: z
    .string()
    .regex(/^[A-Z]{3}$/)
    .default('EUR'),
})

export const createPlanOperation = defineOperation<
  unknown,
  unknown,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof planView>
>({
  id: 'plans.create',
  method: 'POST',
  path: '/plans',
  permission: 'plans:write',
  summary: 'Create a plan, which has no limits yet',
  audit: (input, plan) => ({ resource: plan.id, details: { ...input.body } }),
  body,
  result: planView,
  async handle({ body: plan }, { tx }) {
    const { upfrontCreditNanos: nanos } = plan
    const upfrontCreditNanos = nanos === null ? null : BigInt(nanos)
    return viewPlan(await createPlan(tx, { ...plan, upfrontCreditNanos }))
  },
})
