import { z } from 'zod'
import { listTenants } from '../../../identity/identity.ts'
import { tenantView, viewTenant } from '../../identity-view.ts'
import { defineOperation } from '../../operation.ts'
import { pageQuery } from '../../page.ts'

const result = z.object({ data: z.array(tenantView), hasMore: z.boolean() })

export const listTenantsOperation = defineOperation<
  unknown,
  unknown,
  z.infer<typeof pageQuery>,
  unknown,
  z.infer<typeof result>
>({
  id: 'tenants.list',
  method: 'GET',
  path: '/tenants',
  permission: 'tenants:read',
  summary: 'List the tenants',
  query: pageQuery,
  result,
  async handle({ query }, { tx }) {
    const { rows, hasMore } = await listTenants(tx, query)
    return { data: rows.map(viewTenant), hasMore }
  },
})
