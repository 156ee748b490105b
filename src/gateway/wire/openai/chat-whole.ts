/** Gathers typed parts into one `chat.completion` object, for clients that do not stream. */
import type {
  FinishCause,
  FinishReason,
  StreamPart,
  TokenLogprob,
} from '../../../engines/engine.ts'
import { Fault } from '../../../platform/fault.ts'
import { logprobsMissing, toFinishReason } from './chat-finish.ts'
import { toWireUsage, type ChatStreamOptions } from './chat-stream.ts'

/** A whole answer is held in memory until its end. */
const answerCharactersMax = 16 * 1024 * 1024

interface Choice {
  text: string | undefined
  reasoning: string
  refusal: string | undefined
  finishReason: FinishReason
  readonly logprobs: TokenLogprob[]
  readonly toolCalls: { id: string; name: string; arguments: string }[]
}

export type WholeChatOptions = Omit<ChatStreamOptions, 'includeUsage'>

export async function gatherChat(
  parts: AsyncIterable<StreamPart>,
  options: WholeChatOptions,
): Promise<string> {
  const choices: Choice[] = []
  let usage: Record<string, unknown> | undefined
  let limit: FinishCause | undefined
  let characters = 0
  const grow = (text: string): string => {
    characters += text.length
    if (characters > answerCharactersMax) {
      throw new Fault({
        code: 'upstream.invalid_response',
        public: 'The answer is too large to be sent in one piece. Ask for a stream.',
      })
    }
    return text
  }

  for await (const part of parts) {
    if (part.type === 'usage') usage = toWireUsage(part.usage)
    if (!('choice' in part)) continue
    const choice = (choices[part.choice] ??= emptyChoice())
    if (part.type === 'text-delta') {
      choice.text = (choice.text ?? '') + grow(part.text)
      for (const logprob of part.logprobs ?? []) choice.logprobs.push(logprob)
      if (options.wantsLogprobs && choice.logprobs.length === 0) throw logprobsMissing()
    } else if (part.type === 'reasoning-delta') choice.reasoning += grow(part.text)
    else if (part.type === 'refusal-delta')
      choice.refusal = (choice.refusal ?? '') + grow(part.text)
    else if (part.type === 'choice-finish') {
      choice.finishReason = part.reason
      limit ??= part.cause
    } else if (part.type === 'tool-call-start') {
      choice.toolCalls[part.toolCall] = { id: part.id, name: part.name, arguments: '' }
    } else if (part.type === 'tool-call-delta') {
      const call = choice.toolCalls[part.toolCall]
      if (call) call.arguments += grow(part.arguments)
    }
  }
  return JSON.stringify({
    id: options.id,
    object: 'chat.completion',
    created: options.createdSeconds,
    model: options.model,
    choices: Array.from(choices, (choice, index) =>
      toWireChoice(choice ?? emptyChoice(), index, options),
    ),
    usage,
    service_tier: options.serviceTier ?? 'default',
    system_fingerprint: options.systemFingerprint,
    // Left out unless a limit ended the answer.
    limit,
  })
}

function emptyChoice(): Choice {
  return {
    text: undefined,
    reasoning: '',
    refusal: undefined,
    finishReason: 'stop',
    logprobs: [],
    toolCalls: [],
  }
}

function toWireChoice(choice: Choice, index: number, options: WholeChatOptions): unknown {
  const calls = choice.toolCalls.filter(Boolean)
  const content = choice.text ?? (calls.length > 0 || choice.refusal !== undefined ? null : '')
  return {
    index,
    message: {
      role: 'assistant',
      content,
      refusal: choice.refusal ?? null,
      ...(choice.reasoning === ''
        ? {}
        : { reasoning_content: choice.reasoning, reasoning: choice.reasoning }),
      ...toWireCalls(calls, options),
    },
    logprobs: choice.logprobs.length > 0 ? { content: choice.logprobs, refusal: null } : null,
    finish_reason: toFinishReason(choice.finishReason, calls.length > 0, options),
  }
}

/** Never an empty list: clients take it for a call. */
function toWireCalls(calls: Choice['toolCalls'], options: WholeChatOptions): object {
  const [first] = calls
  if (!first) return {}
  if (options.usesFunctions) {
    return { function_call: { name: first.name, arguments: first.arguments } }
  }
  return {
    tool_calls: calls.map((call) => ({
      id: call.id,
      type: 'function',
      function: { name: call.name, arguments: call.arguments },
    })),
  }
}
