/**
 * Chat as OpenAI's own service wants it: strict about fields that it does not know, and with a newer name for the bound on output
 * (platform.openai.com/docs/api-reference/chat/create).
 */
import type { ChatTask } from '../../engine.ts'
import { isRecord } from '../answer.ts'
import type { TaskDialect } from '../connection.ts'
import { effortOf, refuseMissing } from '../vendor/request-fields.ts'
import { openAiChat } from './chat.ts'

const known: ReadonlySet<string> = new Set([
  'messages',
  'max_tokens',
  'temperature',
  'top_p',
  'n',
  'logprobs',
  'top_logprobs',
  'frequency_penalty',
  'presence_penalty',
  'stop',
  'seed',
  'logit_bias',
  'response_format',
  'reasoning_effort',
  'verbosity',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'chat_template_kwargs',
])

export const openAiHostedChat: TaskDialect<ChatTask> = {
  ...openAiChat,
  render: (request, traits) =>
    openAiChat.render({ ...request, task: { kind: 'chat', body: toHosted(request.task) } }, traits),
}

function toHosted({ body }: ChatTask): Readonly<Record<string, unknown>> {
  refuseMissing(body, known)
  // Switches of templates become an effort.
  const effort = effortOf(body)
  const rest = Object.fromEntries(
    Object.entries(body).filter(([name]) => known.has(name) && !renamed.has(name)),
  )
  return {
    ...rest,
    messages: Array.isArray(body['messages']) ? body['messages'].map(withoutReasoning) : [],
    max_completion_tokens: body['max_tokens'] ?? undefined,
    reasoning_effort: effort,
  }
}

const renamed: ReadonlySet<string> = new Set(['max_tokens', 'chat_template_kwargs'])

/** Thoughts are not taken back. */
function withoutReasoning(message: unknown): unknown {
  if (!isRecord(message)) return message
  const { reasoning: _1, reasoning_content: _2, reasoning_signature: _3, ...rest } = message
  return rest
}
