import { z } from 'zod'
import { getCreditBalance, listGrants } from '../../../limits/rules.ts'
import { balanceView, grantView, viewBalance, viewGrant } from '../../limit-view.ts'
import { defineOperation } from '../../operation.ts'
import { pageQuery } from '../../page.ts'

const params = z.object({ tenantId: z.string() })
const result = z.object({ data: z.array(grantView), hasMore: z.boolean(), balance: balanceView })

export const listCreditOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  z.infer<typeof pageQuery>,
  unknown,
  z.infer<typeof result>
>({
  id: 'credit.list',
  method: 'GET',
  path: '/tenants/:tenantId/credit',
  permission: 'credit:read',
  summary: "List a tenant's credits, with what is spent of them and what remains",
  params,
  query: pageQuery,
  result,
  async handle({ params: { tenantId }, query }, { tx }) {
    const { rows, hasMore } = await listGrants(tx, tenantId, query)
    return {
      data: rows.map(viewGrant),
      hasMore,
      balance: viewBalance(await getCreditBalance(tx, tenantId)),
    }
  },
})
