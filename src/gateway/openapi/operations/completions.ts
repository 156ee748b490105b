import { z } from 'zod'
import { schema as chatRequest } from '../../wire/openai/chat-request.ts'
import { schema as textRequest } from '../../wire/openai/completion-request.ts'
import { besides, chatUsage, seconds, servedTier } from '../answers.ts'
import { openAiError } from '../errors.ts'
import type { NamedSchema, OperationDoc } from '../operation.ts'
import { chatCompletion, chatCompletionChunk } from './chat-completions.ts'

const finishReason = z.enum(['stop', 'length', 'content_filter'])
const logprobs = z
  .object({
    tokens: z.array(z.string()),
    token_logprobs: z.array(z.number().nullable()),
    top_logprobs: z.array(z.record(z.string(), z.number()).nullable()).nullable(),
    text_offset: z.array(z.number().int().min(0)),
  })
  .nullable()
const head = {
  id: z.string().startsWith('cmpl-'),
  object: z.literal('text_completion'),
  created: seconds,
  model: z.string(),
  system_fingerprint: z.string(),
  service_tier: servedTier.optional(),
}
const choice = { index: z.number().int().min(0), text: z.string(), logprobs }

const completion: NamedSchema = {
  name: 'Completion',
  schema: z.object({
    ...head,
    choices: z.array(z.object({ ...choice, finish_reason: finishReason })).min(1),
    usage: chatUsage,
    limit: besides.limit,
  }),
}
const completionChunk: NamedSchema = {
  name: 'CompletionChunk',
  schema: z.object({
    ...head,
    choices: z.array(z.object({ ...choice, finish_reason: finishReason.nullable() })),
    usage: chatUsage.nullable().optional(),
    ...besides,
  }),
}

export const completionsDoc: OperationDoc = {
  id: 'createCompletion',
  summary: 'Go on where a text ends',
  description:
    'With `messages` in place of `prompt` it is a chat, and is answered as one. Without `max_tokens` a text goes on for 16 tokens.',
  tag: 'Chat',
  isBilled: true,
  request: {
    type: 'application/json',
    name: 'CompletionRequest',
    schema: z.union([textRequest, chatRequest]),
    examples: {
      'A text': { model: 'qwen3-8b', prompt: 'Once upon a time', max_tokens: 50 },
      'Two texts at once, as events': {
        model: 'qwen3-8b',
        prompt: ['To be or', 'The quick brown'],
        max_tokens: 10,
        stream: true,
        stop: '\n',
      },
    },
  },
  answers: [
    {
      description: 'One object, or events where `stream` is true.',
      content: [
        {
          type: 'application/json',
          name: 'CompletionAnswer',
          schema: z.union([completion.schema, chatCompletion.schema]),
        },
        {
          type: 'text/event-stream',
          name: 'CompletionEvent',
          schema: z.union([completionChunk.schema, chatCompletionChunk.schema, openAiError.schema]),
          isNamed: false,
          end: { data: '[DONE]' },
        },
      ],
    },
  ],
  parts: [completion, completionChunk],
}
