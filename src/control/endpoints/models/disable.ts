import type { z } from 'zod'
import { disableModel, getModel } from '../../../catalog/catalog.ts'
import { withdrawModel } from '../../../fleet/fleet.ts'
import type { Clock } from '../../../platform/clock.ts'
import { modelParams } from '../../model-parameters.ts'
import { modelView, viewModel } from '../../model-view.ts'
import { defineOperation } from '../../operation.ts'

export const disableModelOperation = defineOperation<
  { readonly clock: Clock },
  z.infer<typeof modelParams>,
  unknown,
  unknown,
  z.infer<typeof modelView>
>({
  id: 'models.disable',
  method: 'POST',
  path: '/models/:modelId/disable',
  permission: 'catalog:write',
  summary: 'Take a model off the offer, and stop our engines that run it',
  params: modelParams,
  result: modelView,
  audit: ({ params }) => ({ resource: params.modelId }),
  async handle({ params: { modelId } }, { tx, deps }) {
    await disableModel(tx, modelId)
    await withdrawModel(tx, modelId)
    return await viewModel(tx, await getModel(tx, modelId), deps.clock.nowMs())
  },
})
