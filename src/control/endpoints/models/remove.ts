import { z } from 'zod'
import { removeModel } from '../../../catalog/catalog.ts'
import { withdrawModel } from '../../../fleet/fleet.ts'
import { modelParams } from '../../model-parameters.ts'
import { defineOperation } from '../../operation.ts'

const result = z.object({ id: z.string(), outcome: z.enum(['deleted', 'disabled']) })

export const removeModelOperation = defineOperation<
  unknown,
  z.infer<typeof modelParams>,
  unknown,
  unknown,
  z.infer<typeof result>
>({
  id: 'models.remove',
  method: 'DELETE',
  path: '/models/:modelId',
  permission: 'catalog:write',
  summary:
    'Delete a model with its prices, aliases and engines; a shipped one is disabled and stays listed',
  params: modelParams,
  result,
  audit: ({ params }, { outcome }) => ({ resource: params.modelId, details: { outcome } }),
  async handle({ params: { modelId } }, { tx }) {
    await withdrawModel(tx, modelId)
    return { id: modelId, outcome: await removeModel(tx, modelId) }
  },
})
