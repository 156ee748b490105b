import { z } from 'zod'
import { grantCredit, limitMax } from '../../../limits/rules.ts'
import { grantView, viewGrant } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string() })
const body = z.strictObject({
  amountNanos: z
    .string()
    .regex(/^-?[1-9]\d{0,18}$/, { error: 'a whole number other than 0, as text', abort: true })
    .refine((text) => BigInt(text) <= limitMax && BigInt(text) >= -limitMax, `at most ${limitMax}`)
    .describe("Nano-units of the tenant's currency. A negative grant corrects an earlier one."),
  note: z.string().trim().max(500).default('').describe('What it was for, such as a payment.'),
})

export const grantCreditOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof grantView>
>({
  id: 'credit.grant',
  method: 'POST',
  path: '/tenants/:tenantId/credit',
  permission: 'credit:write',
  summary: 'Credit a tenant with what it paid ahead',
  audit: (input, grant) => ({ resource: grant.id, details: { ...input.body } }),
  params,
  body,
  result: grantView,
  async handle({ params: { tenantId }, body: { amountNanos, note } }, { tx }) {
    return viewGrant(await grantCredit(tx, { tenantId, amountNanos: BigInt(amountNanos), note }))
  },
})
