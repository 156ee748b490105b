/** A request for a response as the body of a chat completion: from here on it is one, and is checked as one. */
import type { Seal } from '../../../platform/seal.ts'
import { Fault } from '../../../platform/fault.ts'
import { toConversation, type Conversation } from './messages.ts'
import type { InputItem } from './input-item.ts'
import type { ResponseRequest } from './request.ts'
import { toChatTool, toChatToolChoice } from './tools.ts'

export interface ChatBody {
  readonly body: Readonly<Record<string, unknown>>
  /** A field of that body in the words of the client, who never saw it. */
  toParam(chatParam: string): string
}

export function toChatBody(
  request: ResponseRequest,
  seal: () => Seal,
  /** What the conversation held before. */
  earlier: readonly InputItem[] = [],
): ChatBody {
  const { messages, places } = toConversation({ ...request, earlier }, seal)
  const { text, reasoning, tools, tool_choice: choice } = request
  const logprobs = wantsLogprobs(request)
  return {
    body: {
      model: request.model,
      messages,
      stream: request.stream,
      tools: tools.length > 0 ? tools.map(toChatTool) : undefined,
      tool_choice: choice === undefined || choice === null ? undefined : toChatToolChoice(choice),
      parallel_tool_calls: request.parallel_tool_calls,
      response_format: toResponseFormat(text?.format),
      verbosity: text?.verbosity,
      reasoning_effort: reasoning?.effort,
      max_completion_tokens: request.max_output_tokens,
      temperature: request.temperature,
      top_p: request.top_p,
      logprobs: logprobs ? true : undefined,
      top_logprobs: logprobs ? (request.top_logprobs ?? 0) : undefined,
      service_tier: request.service_tier,
      user: request.user,
      safety_identifier: request.safety_identifier,
      prompt_cache_key: request.prompt_cache_key,
    },
    toParam: (param) => toResponseParam(param, places),
  }
}

export function wantsLogprobs(request: ResponseRequest): boolean {
  return (
    (request.top_logprobs ?? 0) > 0 ||
    request.include?.includes('message.output_text.logprobs') === true
  )
}

function toResponseFormat(format: NonNullable<ResponseRequest['text']>['format']): unknown {
  if (format?.type !== 'json_schema') return format
  const { type, ...json_schema } = format
  return { type, json_schema }
}

const renamed: readonly (readonly [chat: RegExp, response: string])[] = [
  [/^(max_completion_tokens|max_tokens)$/, 'max_output_tokens'],
  [/^response_format\.json_schema/, 'text.format'],
  [/^response_format/, 'text.format'],
  [/^reasoning_effort$/, 'reasoning.effort'],
  [/^verbosity$/, 'text.verbosity'],
  [/^logprobs$/, 'include'],
  [/^(tools\[\d+\])\.function/, '$1'],
  [/^messages$/, 'input'],
]

export function toResponseParam(param: string, places: Conversation['places'] = []): string {
  const [, index, rest = ''] = /^messages\[(\d+)\](.*)$/.exec(param) ?? []
  if (index !== undefined) {
    const place = places[Number(index)] ?? 'input'
    // What is not about the content of a message is about all of its item.
    return rest.startsWith('.content') ? place + rest.slice('.content'.length) : itemOf(place)
  }
  for (const [chat, response] of renamed) {
    if (chat.test(param)) return param.replace(chat, response)
  }
  return param
}

function itemOf(place: string): string {
  return place.replace(/\.\w+$/, '')
}

/** The same refusal in the words of the client. */
export function renameParam(fault: Fault, toParam: (param: string) => string): Fault {
  const { param } = fault
  if (param === undefined) return fault
  const here = toParam(param)
  if (here === param) return fault
  return new Fault({
    code: fault.code,
    public: fault.public.replaceAll(param, here),
    internal: fault.internal,
    param: here,
    cause: fault.cause,
    retryAfterMs: fault.retryAfterMs,
    details: fault.details,
  })
}
