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
    type: z.literal('model'),
    display_name: z.string(),
    created_at: z.iso.datetime(),
    context_window: z.number().int().min(1).nullable(),
    capabilities: z.array(z.string()),
    conformance: z
      .object({
        verdict: z.enum(['passed', 'partial', 'failed']),
        date: z.string(),
        suite_version: z.string(),
      })
      .nullable()
      .describe('How the model did in the shipped suite of checks, where it ran.'),
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
          schema: z.object({
            object: z.literal('list'),
            data: z.array(model.schema),
            has_more: z.literal(false),
            first_id: z.string().nullable(),
            last_id: z.string().nullable(),
          }),
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
