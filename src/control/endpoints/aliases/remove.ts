import { z } from 'zod'
import { removeAlias } from '../../../catalog/catalog.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ alias: z.string().min(1).max(200) })
const result = z.object({ alias: z.string() })

export const removeAliasOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  unknown,
  z.infer<typeof result>
>({
  id: 'aliases.remove',
  method: 'DELETE',
  path: '/aliases/:alias',
  permission: 'catalog:write',
  summary: 'Take a further name away from its model',
  params,
  result,
  audit: (input) => ({ resource: input.params.alias }),
  async handle(input, { tx }) {
    await removeAlias(tx, input.params.alias)
    return { alias: input.params.alias }
  },
})
