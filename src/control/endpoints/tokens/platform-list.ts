import { z } from 'zod'
import { listAccessTokens } from '../../../identity/identity.ts'
import { tokenView, viewToken } from '../../identity-view.ts'
import { defineOperation } from '../../operation.ts'
import { pageQuery } from '../../page.ts'

const result = z.object({ data: z.array(tokenView), hasMore: z.boolean() })

export const listPlatformTokensOperation = defineOperation<
  unknown,
  unknown,
  z.infer<typeof pageQuery>,
  unknown,
  z.infer<typeof result>
>({
  id: 'tokens.list',
  method: 'GET',
  path: '/tokens',
  permission: 'tokens:read',
  summary: 'List the access tokens of the platform',
  query: pageQuery,
  result,
  async handle({ query }, { tx }) {
    const { rows, hasMore } = await listAccessTokens(tx, null, query)
    return { data: rows.map(viewToken), hasMore }
  },
})
