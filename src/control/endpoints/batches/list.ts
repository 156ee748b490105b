import { z } from 'zod'
import { listTenantBatches } from '../../../batches/batches.ts'
import { batchView, viewBatch } from '../../batch-view.ts'
import { defineOperation } from '../../operation.ts'
import { pageQuery } from '../../page.ts'

const params = z.object({ tenantId: z.string() })
const result = z.object({ data: z.array(batchView), hasMore: z.boolean() })

export const listBatchesOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  z.infer<typeof pageQuery>,
  unknown,
  z.infer<typeof result>
>({
  id: 'batches.list',
  method: 'GET',
  path: '/tenants/:tenantId/batches',
  permission: 'batches:read',
  summary: 'List the batches of a tenant, the newest first: states and counts, no content',
  params,
  query: pageQuery,
  result,
  async handle({ params: { tenantId }, query }, { tx }) {
    const { rows, hasMore } = await listTenantBatches(tx, tenantId, query)
    return { data: rows.map(viewBatch), hasMore }
  },
})
