import { z } from 'zod'
import { updateTenant } from '../../../identity/identity.ts'
import { keptDaysMax, keptDaysMin } from '../../../responses/response.ts'
import { allowedLocations } from '../../residency-parameters.ts'
import { tenantView, viewTenant } from '../../identity-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string() })
const body = z
  .strictObject({
    name: z.string().trim().min(1).max(200),
    priceListId: z.string().max(63),
    planId: z.string().max(63).nullable().describe('null takes the tenant off its plan.'),
    state: z.enum(['active', 'suspended']),
    allowedLocations,
    responsesKeptDays: z
      .number()
      .int()
      .min(keptDaysMin)
      .max(keptDaysMax)
      .nullable()
      .describe(
        'How long responses are kept for requests with `store: true`. null keeps none: what was kept cannot be read any more, and is deleted.',
      ),
  })
  .partial()
  .refine((change) => Object.keys(change).length > 0, 'name at least one field to change')

export const updateTenantOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof tenantView>
>({
  id: 'tenants.update',
  method: 'PATCH',
  path: '/tenants/:tenantId',
  permission: 'tenants:write',
  summary:
    'Change a tenant: name, price list, plan, where its prompts may go, how long responses are kept, or suspend it',
  audit: (input) => ({ resource: input.params.tenantId, details: { ...input.body } }),
  params,
  body,
  result: tenantView,
  async handle({ params: { tenantId }, body: change }, { tx }) {
    return viewTenant(await updateTenant(tx, tenantId, change))
  },
})
