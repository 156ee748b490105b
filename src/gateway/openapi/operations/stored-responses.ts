import { z } from 'zod'
import { inputItemsQuery } from '../../wire/responses/stored-responses.ts'
import { listOf } from '../answers.ts'
import type { NamedSchema, OperationDoc } from '../operation.ts'
import { outputItem, response } from './responses.ts'

const responseId = {
  response_id: 'Of a response of this project that was made with `store: true`.',
}

const given = { id: z.string(), status: z.literal('completed') }
const parts = z.array(z.looseObject({ type: z.string() }))
const called = { call_id: z.string(), name: z.string() }
const inputItem: NamedSchema = {
  name: 'ResponseInputItem',
  schema: z.union([
    z.object({
      type: z.literal('message'),
      ...given,
      role: z.enum(['user', 'assistant', 'system', 'developer']),
      content: parts,
    }),
    z.object({
      type: z.literal('reasoning'),
      ...given,
      summary: parts,
      content: parts.nullish(),
      encrypted_content: z.string().nullish(),
    }),
    z.object({ type: z.literal('function_call'), ...given, ...called, arguments: z.string() }),
    z.object({ type: z.literal('custom_tool_call'), ...given, ...called, input: z.string() }),
    z.object({
      type: z.enum(['function_call_output', 'custom_tool_call_output']),
      ...given,
      call_id: z.string(),
      output: z.union([z.string(), parts]),
    }),
    outputItem.schema,
  ]),
}

export const retrieveResponseDoc: OperationDoc = {
  id: 'retrieveResponse',
  summary: 'Look at a response that was kept',
  description: 'As its client got it, for as long as the tenant has responses kept.',
  tag: 'Responses',
  pathParameters: responseId,
  answers: [{ content: [{ type: 'application/json', ...response }] }],
  faults: ['client.unsupported_value', 'client.not_found', 'platform.database_unavailable'],
}

export const deleteResponseDoc: OperationDoc = {
  id: 'deleteResponse',
  summary: 'Delete a response that was kept, for good',
  description: 'No conversation goes on from it any more, nor from those that came after it.',
  tag: 'Responses',
  pathParameters: responseId,
  answers: [
    {
      content: [
        {
          type: 'application/json',
          name: 'DeletedResponse',
          schema: z.object({
            id: z.string(),
            object: z.literal('response'),
            deleted: z.literal(true),
          }),
        },
      ],
    },
  ],
  faults: ['client.not_found', 'platform.database_unavailable'],
}

export const listInputItemsDoc: OperationDoc = {
  id: 'listInputItems',
  summary: 'List what a kept response was made from',
  description: 'The items of its input, and before them those of the conversation that it goes on.',
  tag: 'Responses',
  pathParameters: responseId,
  query: inputItemsQuery,
  answers: [
    {
      content: [
        {
          type: 'application/json',
          name: 'ResponseInputItemList',
          schema: listOf(inputItem.schema),
        },
      ],
    },
  ],
  faults: [
    'client.invalid_request',
    'client.context_length_exceeded',
    'client.not_found',
    'platform.database_unavailable',
  ],
  parts: [inputItem],
}
