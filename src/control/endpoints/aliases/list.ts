import { z } from 'zod'
import { listAliases } from '../../../catalog/catalog.ts'
import { defineOperation } from '../../operation.ts'

const result = z.object({ data: z.array(z.object({ alias: z.string(), modelId: z.string() })) })

export const listAliasesOperation = defineOperation<
  unknown,
  unknown,
  unknown,
  unknown,
  z.infer<typeof result>
>({
  id: 'aliases.list',
  method: 'GET',
  path: '/aliases',
  permission: 'catalog:read',
  summary: 'List the further names of models',
  result,
  async handle(_input, { tx }) {
    return { data: [...(await listAliases(tx))] }
  },
})
