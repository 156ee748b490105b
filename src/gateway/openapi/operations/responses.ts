import { z } from 'zod'
import { schemas as items } from '../../wire/responses/input-item.ts'
import { schema as request } from '../../wire/responses/request.ts'
import { customTool, functionTool } from '../../wire/responses/tools.ts'
import { besides, count, seconds, servedTier, tokenLogprob } from '../answers.ts'
import { errorFields } from '../errors.ts'
import type { NamedSchema, OperationDoc, SocketDoc } from '../operation.ts'

/** A message may leave its type out, so that it is an item of no other type. */
const { message: inputMessage, ...otherItems } = items
const inputItem = z.union([
  inputMessage.extend({ type: inputMessage.shape.type.nullish() }),
  ...Object.values(otherItems),
])
const fields = request.extend({
  input: z.union([z.string(), z.array(inputItem).max(10_000)]),
  tools: z
    .array(z.union([functionTool, customTool]))
    .max(128)
    .nullish(),
})

const status = z.enum(['in_progress', 'completed', 'incomplete'])
const logprobs = z.array(tokenLogprob)
const textPart = z.object({
  type: z.literal('output_text'),
  text: z.string(),
  annotations: z.array(z.never()),
  logprobs,
})
const refusalPart = z.object({ type: z.literal('refusal'), refusal: z.string() })
const reasoningPart = z.object({ type: z.literal('reasoning_text'), text: z.string() })
const summaryPart = z.object({ type: z.literal('summary_text'), text: z.string() })
const called = { id: z.string(), status, call_id: z.string(), name: z.string() }

export const outputItem: NamedSchema = {
  name: 'ResponseItem',
  schema: z.discriminatedUnion('type', [
    z.object({
      id: z.string(),
      type: z.literal('message'),
      status,
      role: z.literal('assistant'),
      content: z.array(z.discriminatedUnion('type', [textPart, refusalPart])),
    }),
    z.object({
      id: z.string(),
      type: z.literal('reasoning'),
      status,
      summary: z.array(summaryPart),
      content: z.array(reasoningPart).optional(),
      encrypted_content: z.string().nullable().optional(),
    }),
    z.object({ type: z.literal('function_call'), ...called, arguments: z.string() }),
    z.object({ type: z.literal('custom_tool_call'), ...called, input: z.string() }),
  ]),
}

export const response: NamedSchema = {
  name: 'Response',
  schema: z.object({
    id: z.string().startsWith('resp_'),
    object: z.literal('response'),
    created_at: seconds,
    completed_at: seconds.nullable(),
    status: z.enum(['in_progress', 'completed', 'incomplete', 'failed']),
    background: z.literal(false),
    error: z.object({ code: z.string(), message: z.string() }).nullable(),
    incomplete_details: z
      .object({ reason: z.enum(['max_output_tokens', 'content_filter']) })
      .nullable(),
    instructions: z.string().nullable(),
    max_output_tokens: z.number().int().min(1).nullable(),
    max_tool_calls: z.number().int().min(1).nullable(),
    model: z.string(),
    output: z.array(outputItem.schema),
    parallel_tool_calls: z.boolean(),
    previous_response_id: z.string().nullable(),
    prompt_cache_key: z.string().nullable(),
    reasoning: z.object({
      effort: z.string().nullable(),
      summary: z.literal('detailed').nullable(),
    }),
    safety_identifier: z.string().nullable(),
    service_tier: servedTier,
    store: z.boolean().describe('Whether it is kept.'),
    temperature: z.number(),
    text: z.object({
      format: z.looseObject({ type: z.enum(['text', 'json_object', 'json_schema']) }),
      verbosity: z.enum(['low', 'medium', 'high']),
    }),
    tool_choice: z.unknown().describe('As it was asked for.'),
    tools: z
      .array(z.looseObject({ type: z.enum(['function', 'custom']), name: z.string() }))
      .describe('As they were offered.'),
    top_logprobs: count,
    top_p: z.number(),
    truncation: z.literal('disabled'),
    usage: z
      .object({
        input_tokens: count,
        input_tokens_details: z.object({ cached_tokens: count, cache_write_tokens: count }),
        output_tokens: count,
        output_tokens_details: z.object({ reasoning_tokens: count }),
        total_tokens: count,
      })
      .nullable(),
    user: z.string().nullable(),
    metadata: z.record(z.string(), z.string()),
    access_programs: z.null(),
    ...besides,
  }),
}

const output = { item_id: z.string(), output_index: count }
const content = { ...output, content_index: count }
const summary = { ...output, summary_index: count }

function event<Type extends string, Fields extends z.ZodRawShape>(type: Type, shape: Fields) {
  return z.object({ type: z.literal(type), sequence_number: count, ...shape })
}

const part = z.discriminatedUnion('type', [textPart, refusalPart, reasoningPart])
const streamEvent: NamedSchema = {
  name: 'ResponseEvent',
  schema: z.discriminatedUnion('type', [
    event('response.created', { response: response.schema }),
    event('response.in_progress', { response: response.schema }),
    event('response.completed', { response: response.schema }),
    event('response.incomplete', { response: response.schema }),
    event('response.failed', { response: response.schema }),
    event('response.output_item.added', { output_index: count, item: outputItem.schema }),
    event('response.output_item.done', { output_index: count, item: outputItem.schema }),
    event('response.content_part.added', { ...content, part }),
    event('response.content_part.done', { ...content, part }),
    event('response.output_text.delta', { ...content, delta: z.string(), logprobs }),
    event('response.output_text.done', { ...content, text: z.string(), logprobs }),
    event('response.refusal.delta', { ...content, delta: z.string() }),
    event('response.refusal.done', { ...content, refusal: z.string() }),
    event('response.reasoning_text.delta', { ...content, delta: z.string() }),
    event('response.reasoning_text.done', { ...content, text: z.string() }),
    event('response.reasoning_summary_part.added', { ...summary, part: summaryPart }),
    event('response.reasoning_summary_part.done', { ...summary, part: summaryPart }),
    event('response.reasoning_summary_text.delta', { ...summary, delta: z.string() }),
    event('response.reasoning_summary_text.done', { ...summary, text: z.string() }),
    event('response.function_call_arguments.delta', { ...output, delta: z.string() }),
    event('response.function_call_arguments.done', {
      ...output,
      name: z.string(),
      arguments: z.string(),
    }),
    event('response.custom_tool_call_input.delta', { ...output, delta: z.string() }),
    event('response.custom_tool_call_input.done', { ...output, input: z.string() }),
    event('error', {
      code: z.string().nullable(),
      message: z.string(),
      param: z.string().nullable(),
    }),
  ]),
}

const ends = ['response.completed', 'response.incomplete', 'response.failed']

export const responsesDoc: OperationDoc = {
  id: 'createResponse',
  summary: 'Answer a conversation',
  description:
    'Nothing is kept unless the tenant wants it and the request says `store: true`; then `previous_response_id` goes on from it. `conversation`, `prompt` and `background` are refused. Reasoning may go with the client: ask for it with `include: ["reasoning.encrypted_content"]`.',
  tag: 'Responses',
  isBilled: true,
  request: {
    type: 'application/json',
    name: 'ResponseRequest',
    schema: fields,
    examples: {
      'A question': { model: 'qwen3-8b', input: 'Why is the sky blue?', max_output_tokens: 100 },
      'A conversation, as events': {
        model: 'qwen3-8b',
        instructions: 'Answer in one sentence.',
        input: [{ role: 'user', content: 'What is the weather in Lisbon?' }],
        tools: [
          {
            type: 'function',
            name: 'get_weather',
            parameters: { type: 'object', properties: { place: { type: 'string' } } },
          },
        ],
        store: false,
        stream: true,
      },
    },
  },
  answers: [
    {
      description: 'One response, or events where `stream` is true.',
      content: [
        { type: 'application/json', ...response },
        { type: 'text/event-stream', ...streamEvent, isNamed: true, end: { types: ends } },
      ],
    },
  ],
  // What is kept, and what a conversation goes on from.
  faults: ['platform.database_unavailable'],
  parts: [outputItem],
}

export const responsesSocketDoc: SocketDoc = {
  id: 'openResponsesSocket',
  summary: 'Answer one conversation after another on one connection',
  description:
    'A WebSocket. Each message of the client is a request, answered by events; the next one waits for the end of the one before. 60 minutes at most.',
  tag: 'Responses',
  clientMessage: {
    name: 'ResponseCreate',
    schema: fields.extend({ type: z.literal('response.create') }),
  },
  serverMessage: {
    name: 'ResponseSocketMessage',
    schema: z.union([
      streamEvent.schema,
      z
        .object({
          type: z.literal('error'),
          status: z.number().int().min(400).max(599),
          error: z.object(errorFields),
        })
        .describe('Before anything of an answer was said.'),
    ]),
  },
}
