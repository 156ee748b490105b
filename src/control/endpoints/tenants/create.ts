import { z } from 'zod'
import { createTenant } from '../../../identity/identity.ts'
import { allowedLocations } from '../../residency-parameters.ts'
import { tenantView, viewTenant } from '../../identity-view.ts'
import { defineOperation } from '../../operation.ts'

const body = z.strictObject({
  name: z.string().trim().min(1).max(200),
  priceListId: z.string().max(63).default('standard'),
  planId: z.string().max(63).optional().describe('Without a plan, a tenant has no limits yet.'),
  allowedLocations: allowedLocations.optional(),
})

export const createTenantOperation = defineOperation<
  unknown,
  unknown,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof tenantView>
>({
  id: 'tenants.create',
  method: 'POST',
  path: '/tenants',
  permission: 'tenants:write',
  summary: 'Create a tenant',
  audit: (input, tenant) => ({
    resource: tenant.id,
    tenantId: tenant.id,
    details: { ...input.body },
  }),
  body,
  result: tenantView,
  async handle({ body: tenant }, { tx }) {
    return viewTenant(await createTenant(tx, tenant))
  },
})
