import { z } from 'zod'
import { seconds } from '../answers.ts'
import type { NamedSchema, OperationDoc } from '../operation.ts'

const model: NamedSchema = {
  name: 'Model',
  schema: z.object({
    id: z.string(),
    object: z.literal('model'),
    created: seconds,
    owned_by: z.string(),
    context_window: z.number().int().min(1).nullable(),
    capabilities: z.array(z.string()),
  }),
}

export const listModelsDoc: OperationDoc = {
  id: 'listModels',
  summary: 'List what this key may use',
  tag: 'Models',
  answers: [
    {
      content: [
        {
          type: 'application/json',
          name: 'ModelList',
          schema: z.object({ object: z.literal('list'), data: z.array(model.schema) }),
        },
      ],
    },
  ],
  parts: [model],
}

export const retrieveModelDoc: OperationDoc = {
  id: 'retrieveModel',
  summary: 'Look at one model',
  tag: 'Models',
  pathParameters: { model: 'An id or an alias. Slashes and colons may be encoded or not.' },
  answers: [{ content: [{ type: 'application/json', ...model }] }],
  faults: ['catalog.model_not_found'],
}
