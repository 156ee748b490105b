import { z } from 'zod'
import { schema as request } from '../../wire/openai/chat-request.ts'
import { besides, chatUsage, seconds, servedTier, tokenLogprob } from '../answers.ts'
import { openAiError } from '../errors.ts'
import type { NamedSchema, OperationDoc } from '../operation.ts'

const finishReason = z.enum(['stop', 'length', 'tool_calls', 'content_filter', 'function_call'])
const logprobs = z
  .object({ content: z.array(tokenLogprob), refusal: z.null() })
  .nullable()
  .describe('Only where `logprobs` were asked for.')
const reasoning = {
  reasoning_content: z.string().optional(),
  reasoning: z.string().optional().describe('The same: clients know one name or the other.'),
}
const called = z.object({ name: z.string(), arguments: z.string() })

export const chatCompletion: NamedSchema = {
  name: 'ChatCompletion',
  schema: z.object({
    id: z.string().startsWith('chatcmpl-'),
    object: z.literal('chat.completion'),
    created: seconds,
    model: z.string(),
    choices: z.array(
      z.object({
        index: z.number().int().min(0),
        message: z.object({
          role: z.literal('assistant'),
          content: z.string().nullable(),
          refusal: z.string().nullable(),
          ...reasoning,
          tool_calls: z
            .array(z.object({ id: z.string(), type: z.literal('function'), function: called }))
            .min(1)
            .optional(),
          function_call: called.optional().describe('For a request in the form before tools.'),
        }),
        logprobs,
        finish_reason: finishReason,
      }),
    ),
    usage: chatUsage,
    service_tier: servedTier,
    system_fingerprint: z.string(),
    limit: besides.limit,
  }),
}

const callDelta = z.object({ name: z.string().optional(), arguments: z.string() })

export const chatCompletionChunk: NamedSchema = {
  name: 'ChatCompletionChunk',
  schema: z.object({
    id: z.string().startsWith('chatcmpl-'),
    object: z.literal('chat.completion.chunk'),
    created: seconds,
    model: z.string(),
    system_fingerprint: z.string(),
    service_tier: servedTier.optional(),
    choices: z
      .array(
        z.object({
          index: z.number().int().min(0),
          delta: z.object({
            role: z.literal('assistant').optional(),
            content: z.string().optional(),
            refusal: z.string().nullable().optional(),
            ...reasoning,
            tool_calls: z
              .array(
                z.object({
                  index: z.number().int().min(0),
                  id: z.string().optional(),
                  type: z.literal('function').optional(),
                  function: callDelta,
                }),
              )
              .min(1)
              .optional()
              .describe('The id, the type and the name stand in the first piece of a call.'),
            function_call: callDelta.optional(),
          }),
          logprobs,
          finish_reason: finishReason.nullable(),
        }),
      )
      .describe('Empty in the event that has the usage.'),
    usage: chatUsage
      .nullable()
      .optional()
      .describe('Only with `stream_options.include_usage`: null in all events but the last.'),
    ...besides,
  }),
}

export const chatCompletionsDoc: OperationDoc = {
  id: 'createChatCompletion',
  summary: 'Answer a chat',
  description:
    'Images, sounds and files are sent as data within the request; nothing is fetched. `limit` says which limit of yours ended an answer early.',
  tag: 'Chat',
  isBilled: true,
  request: {
    type: 'application/json',
    name: 'ChatCompletionRequest',
    schema: request,
    examples: {
      'A question': {
        model: 'qwen3-8b',
        messages: [
          { role: 'system', content: 'Answer in one sentence.' },
          { role: 'user', content: 'Why is the sky blue?' },
        ],
        max_completion_tokens: 100,
      },
      'A stream, with its usage': {
        model: 'qwen3-8b',
        messages: [{ role: 'user', content: 'Tell me a story.' }],
        stream: true,
        stream_options: { include_usage: true },
      },
      'A tool': {
        model: 'qwen3-8b',
        messages: [{ role: 'user', content: 'What is the weather in Lisbon?' }],
        tools: [
          {
            type: 'function',
            function: {
              name: 'get_weather',
              description: 'The weather of a place, now.',
              parameters: {
                type: 'object',
                properties: { place: { type: 'string' } },
                required: ['place'],
              },
            },
          },
        ],
        tool_choice: 'auto',
      },
      'An answer of a given form': {
        model: 'qwen3-8b',
        messages: [{ role: 'user', content: 'Name a river and its length.' }],
        response_format: {
          type: 'json_schema',
          json_schema: {
            name: 'river',
            strict: true,
            schema: {
              type: 'object',
              properties: { name: { type: 'string' }, kilometres: { type: 'number' } },
              required: ['name', 'kilometres'],
              additionalProperties: false,
            },
          },
        },
      },
    },
  },
  answers: [
    {
      description: 'One object, or events where `stream` is true.',
      content: [
        { type: 'application/json', ...chatCompletion },
        {
          type: 'text/event-stream',
          name: 'ChatCompletionEvent',
          schema: z.union([chatCompletionChunk.schema, openAiError.schema]),
          isNamed: false,
          end: { data: '[DONE]' },
        },
      ],
    },
  ],
  parts: [chatCompletionChunk],
}
