import { z } from 'zod'
import { findTenantBatch } from '../../../batches/batches.ts'
import { batchNotFound, batchView, viewBatch } from '../../batch-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string(), batchId: z.string() })

export const getBatchOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  unknown,
  z.infer<typeof batchView>
>({
  id: 'batches.get',
  method: 'GET',
  path: '/tenants/:tenantId/batches/:batchId',
  permission: 'batches:read',
  summary: 'Show a batch: its state and counts, no content',
  params,
  result: batchView,
  async handle({ params: { tenantId, batchId } }, { tx }) {
    const batch = await findTenantBatch(tx, tenantId, batchId)
    if (!batch) throw batchNotFound()
    return viewBatch(batch)
  },
})
