import { z } from 'zod'
import { countSchema, messageSchema } from '../../wire/anthropic/request.ts'
import { besides, count } from '../answers.ts'
import { anthropicError, modelFaults } from '../errors.ts'
import { anthropicMeteredHeaders } from '../headers.ts'
import type { NamedSchema, OperationDoc } from '../operation.ts'

const usageFields = {
  input_tokens: count,
  cache_creation_input_tokens: count,
  cache_read_input_tokens: count,
  output_tokens: count,
  output_tokens_details: z.object({ thinking_tokens: count }),
}
const stopReason = z.enum(['end_turn', 'max_tokens', 'stop_sequence', 'tool_use', 'refusal'])
const block = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text'), text: z.string() }),
  z.object({ type: z.literal('thinking'), thinking: z.string(), signature: z.string() }),
  z.object({
    type: z.literal('tool_use'),
    id: z.string(),
    name: z.string(),
    input: z.record(z.string(), z.unknown()),
  }),
])
const messageFields = {
  id: z.string().startsWith('msg_'),
  type: z.literal('message'),
  role: z.literal('assistant'),
  model: z.string(),
  content: z.array(block),
  stop_sequence: z.string().nullable(),
}

const message: NamedSchema = {
  name: 'Message',
  schema: z.object({
    ...messageFields,
    stop_reason: stopReason,
    usage: z.object({ ...usageFields, service_tier: z.literal('standard') }),
    limit: besides.limit,
  }),
}

const index = z.number().int().min(0)
const events = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('message_start'),
    message: z.object({
      ...messageFields,
      stop_reason: z.null(),
      usage: z.object(usageFields),
    }),
  }),
  z.object({ type: z.literal('content_block_start'), index, content_block: block }),
  z.object({
    type: z.literal('content_block_delta'),
    index,
    delta: z.discriminatedUnion('type', [
      z.object({ type: z.literal('text_delta'), text: z.string() }),
      z.object({ type: z.literal('thinking_delta'), thinking: z.string() }),
      z.object({ type: z.literal('signature_delta'), signature: z.string() }),
      z.object({ type: z.literal('input_json_delta'), partial_json: z.string() }),
    ]),
  }),
  z.object({ type: z.literal('content_block_stop'), index }),
  z.object({
    type: z.literal('message_delta'),
    delta: z.object({ stop_reason: stopReason, stop_sequence: z.string().nullable() }),
    usage: z.object(usageFields),
    ...besides,
  }),
  z.object({ type: z.literal('message_stop') }),
  z.object({ type: z.literal('ping') }),
])

const question = [{ role: 'user', content: 'Why is the sky blue?' }]

export const messagesDoc: OperationDoc = {
  id: 'createMessage',
  summary: 'Answer a conversation',
  description:
    'For Anthropic’s clients, whose base URL is this gateway without `/v1`. `cache_control` is passed over: prefixes are cached without being asked.',
  tag: 'Messages',
  isBilled: true,
  meteredHeaders: anthropicMeteredHeaders,
  headerParameters: ['anthropic-version', 'anthropic-beta'],
  request: {
    type: 'application/json',
    name: 'MessageRequest',
    schema: messageSchema,
    examples: {
      'A question': { model: 'qwen3-8b', max_tokens: 100, messages: question },
      'A tool, as events': {
        model: 'qwen3-8b',
        max_tokens: 200,
        system: 'Answer in one sentence.',
        messages: [{ role: 'user', content: 'What is the weather in Lisbon?' }],
        tools: [
          {
            name: 'get_weather',
            description: 'The weather of a place, now.',
            input_schema: {
              type: 'object',
              properties: { place: { type: 'string' } },
              required: ['place'],
            },
          },
        ],
        stream: true,
      },
    },
  },
  answers: [
    {
      description: 'One message, or events where `stream` is true.',
      content: [
        { type: 'application/json', ...message },
        {
          type: 'text/event-stream',
          name: 'MessageEvent',
          schema: z.union([events, anthropicError.schema]),
          isNamed: true,
          end: { types: ['message_stop'] },
        },
      ],
    },
  ],
  error: anthropicError,
}

export const countTokensDoc: OperationDoc = {
  id: 'countTokens',
  summary: 'Count the tokens of a conversation',
  description: 'Nothing is run, counted towards a limit or billed.',
  tag: 'Messages',
  headerParameters: ['anthropic-version', 'anthropic-beta'],
  request: {
    type: 'application/json',
    name: 'CountRequest',
    schema: countSchema,
    examples: { 'A question': { model: 'qwen3-8b', messages: question } },
  },
  answers: [
    {
      headers: ['x-token-count'],
      content: [
        {
          type: 'application/json',
          name: 'TokenCount',
          schema: z.object({ input_tokens: z.number().int().min(1) }),
        },
      ],
    },
  ],
  faults: [...modelFaults, 'capacity.no_replica'],
  error: anthropicError,
}
