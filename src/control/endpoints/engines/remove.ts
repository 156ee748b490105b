import { z } from 'zod'
import { removeExternalEngine } from '../../../fleet/fleet.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ replicaId: z.string().min(1).max(100) })
const result = z.object({ id: z.string(), modelId: z.string() })

export const removeEngine = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  unknown,
  z.infer<typeof result>
>({
  id: 'engines.remove',
  method: 'DELETE',
  path: '/engines/:replicaId',
  permission: 'fleet:write',
  summary: 'Forget an engine that somebody else runs',
  params,
  result,
  audit: (input, { modelId }) => ({ resource: input.params.replicaId, details: { modelId } }),
  async handle(input, { tx }) {
    const { modelId } = await removeExternalEngine(tx, input.params.replicaId)
    return { id: input.params.replicaId, modelId }
  },
})
