import type { z } from 'zod'
import { getModel } from '../../../catalog/catalog.ts'
import type { Clock } from '../../../platform/clock.ts'
import { modelParams } from '../../model-parameters.ts'
import { modelView, viewModel } from '../../model-view.ts'
import { defineOperation } from '../../operation.ts'

export const getModelOperation = defineOperation<
  { readonly clock: Clock },
  z.infer<typeof modelParams>,
  unknown,
  unknown,
  z.infer<typeof modelView>
>({
  id: 'models.get',
  method: 'GET',
  path: '/models/:modelId',
  permission: 'catalog:read',
  summary: 'Show one model: its facts, prices, and what runs it',
  params: modelParams,
  result: modelView,
  async handle({ params }, { tx, deps }) {
    return await viewModel(tx, await getModel(tx, params.modelId), deps.clock.nowMs())
  },
})
