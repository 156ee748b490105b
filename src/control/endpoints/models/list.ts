import { z } from 'zod'
import { listModels } from '../../../catalog/catalog.ts'
import type { Clock } from '../../../platform/clock.ts'
import { category } from '../../model-parameters.ts'
import { modelView, viewModels } from '../../model-view.ts'
import { defineOperation } from '../../operation.ts'
import { pageQuery } from '../../page.ts'

const query = pageQuery.extend({
  id: z.string().max(200).optional().describe('Only the model of this id, if there is one.'),
  enabled: z.stringbool().optional().describe('Only models that are offered, or only others.'),
  category: category.optional(),
})
const result = z.object({ data: z.array(modelView), hasMore: z.boolean() })

export const listModelsOperation = defineOperation<
  { readonly clock: Clock },
  unknown,
  z.infer<typeof query>,
  unknown,
  z.infer<typeof result>
>({
  id: 'models.list',
  method: 'GET',
  path: '/models',
  permission: 'catalog:read',
  summary: 'List the models of the catalogue, by id',
  query,
  result,
  async handle({ query: filter }, { tx, deps }) {
    const found = await listModels(tx, { ...filter, limit: filter.limit + 1 })
    const models = found.slice(0, filter.limit)
    return {
      data: await viewModels(tx, models, deps.clock.nowMs()),
      hasMore: found.length > filter.limit,
    }
  },
})
