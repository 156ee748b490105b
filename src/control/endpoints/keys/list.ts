import { z } from 'zod'
import { listApiKeys } from '../../../identity/identity.ts'
import { keyView, viewKey } from '../../identity-view.ts'
import { defineOperation } from '../../operation.ts'
import { pageQuery } from '../../page.ts'

const params = z.object({ tenantId: z.string() })
const result = z.object({ data: z.array(keyView), hasMore: z.boolean() })

export const listKeysOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  z.infer<typeof pageQuery>,
  unknown,
  z.infer<typeof result>
>({
  id: 'keys.list',
  method: 'GET',
  path: '/tenants/:tenantId/keys',
  permission: 'keys:read',
  summary: 'List the API keys of a tenant',
  params,
  query: pageQuery,
  result,
  async handle({ params: { tenantId }, query }, { tx }) {
    const { rows, hasMore } = await listApiKeys(tx, tenantId, query)
    return { data: rows.map(viewKey), hasMore }
  },
})
