import { z } from 'zod'
import { listAccessTokens } from '../../../identity/identity.ts'
import { tokenView, viewToken } from '../../identity-view.ts'
import { defineOperation } from '../../operation.ts'
import { pageQuery } from '../../page.ts'

const params = z.object({ tenantId: z.string() })
const result = z.object({ data: z.array(tokenView), hasMore: z.boolean() })

export const listTenantTokensOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  z.infer<typeof pageQuery>,
  unknown,
  z.infer<typeof result>
>({
  id: 'tenant-tokens.list',
  method: 'GET',
  path: '/tenants/:tenantId/tokens',
  permission: 'tokens:read',
  summary: 'List the access tokens of a tenant',
  params,
  query: pageQuery,
  result,
  async handle({ params, query }, { tx }) {
    const { rows, hasMore } = await listAccessTokens(tx, params.tenantId, query)
    return { data: rows.map(viewToken), hasMore }
  },
})
