import { z } from 'zod'
import { addModel, getModel, guessCategory } from '../../../catalog/catalog.ts'
import { deployModel } from '../../../fleet/fleet.ts'
import type { Clock } from '../../../platform/clock.ts'
import { category, deploymentSettings, modelId, weightSources } from '../../model-parameters.ts'
import { modelView, viewModel } from '../../model-view.ts'
import { defineOperation } from '../../operation.ts'

const body = z.strictObject({
  id: modelId,
  category: category.optional().describe('Guessed from the id when left out.'),
  weightSources: weightSources.min(1),
  weightSha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  contextWindowTokens: z.int().positive().max(10_000_000).optional(),
  capabilities: z.array(z.string().min(1).max(50)).max(50).default([]),
  deploy: z
    .boolean()
    .default(true)
    .describe('Pull the weights and run the model on a node of ours.'),
  settings: deploymentSettings.default({}),
  unpriced: z
    .boolean()
    .default(false)
    .describe('Take no price over; the model is refused until one is set.'),
})

export const createModel = defineOperation<
  { readonly clock: Clock },
  unknown,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof modelView>
>({
  id: 'models.create',
  method: 'POST',
  path: '/models',
  permission: 'catalog:write',
  summary: 'Add a model that the shipped catalogue does not know, and offer it',
  body,
  result: modelView,
  audit: ({ body: { id, weightSources: sources, deploy } }) => ({
    resource: id,
    details: { weightSources: sources, deploy },
  }),
  async handle({ body: model }, { tx, deps }) {
    await addModel(
      tx,
      {
        id: model.id,
        category: model.category ?? guessCategory(model.id),
        contextWindowTokens: model.contextWindowTokens ?? null,
        capabilities: model.capabilities,
        weightSources: model.weightSources,
        weightSha256: model.weightSha256 ?? null,
      },
      { unpriced: model.unpriced },
    )
    if (model.deploy) await deployModel(tx, model.id, model.settings)
    return await viewModel(tx, await getModel(tx, model.id), deps.clock.nowMs())
  },
})
