import { z } from 'zod'
import { setAlias } from '../../../catalog/catalog.ts'
import { modelId } from '../../model-parameters.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ alias: modelId })
const body = z.strictObject({ modelId: z.string().min(1).max(200) })
const result = z.object({ alias: z.string(), modelId: z.string() })

export const setAliasOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof result>
>({
  id: 'aliases.set',
  method: 'PUT',
  path: '/aliases/:alias',
  permission: 'catalog:write',
  summary: 'Give a model one more name, or point a name at another model',
  params,
  body,
  result,
  audit: (input) => ({ resource: input.params.alias, details: { modelId: input.body.modelId } }),
  async handle(input, { tx }) {
    await setAlias(tx, input.params.alias, input.body.modelId)
    return { alias: input.params.alias, modelId: input.body.modelId }
  },
})
