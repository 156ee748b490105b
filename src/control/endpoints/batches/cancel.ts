import { z } from 'zod'
import { cancelBatch } from '../../../batches/batches.ts'
import { batchNotFound, batchView, viewBatch } from '../../batch-view.ts'
import type { ControlDeps } from '../../deps.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string(), batchId: z.string() })

export const cancelBatchOperation = defineOperation<
  Pick<ControlDeps, 'clock'>,
  z.infer<typeof params>,
  unknown,
  unknown,
  z.infer<typeof batchView>
>({
  id: 'batches.cancel',
  method: 'POST',
  path: '/tenants/:tenantId/batches/:batchId/cancel',
  permission: 'batches:write',
  summary: 'End a batch: what is under way is delivered, and nothing else begins',
  audit: (input) => ({ resource: input.params.batchId }),
  params,
  result: batchView,
  async handle({ params: { tenantId, batchId } }, { tx, deps }) {
    const now = new Date(deps.clock.nowMs())
    const batch = await cancelBatch(tx, { tenantId }, batchId, { now })
    if (!batch) throw batchNotFound()
    return viewBatch(batch)
  },
})
