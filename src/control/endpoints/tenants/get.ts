import { z } from 'zod'
import { getTenant } from '../../../identity/identity.ts'
import { tenantView, viewTenant } from '../../identity-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string() })

export const getTenantOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  unknown,
  z.infer<typeof tenantView>
>({
  id: 'tenants.get',
  method: 'GET',
  path: '/tenants/:tenantId',
  permission: 'tenants:read',
  summary: 'Show a tenant',
  params,
  result: tenantView,
  async handle({ params: { tenantId } }, { tx }) {
    return viewTenant(await getTenant(tx, tenantId))
  },
})
