/** Encodes typed parts as OpenAI's `chat.completion.chunk` events. Strings from engines only ever pass through JSON.stringify. */
import type { StreamPart, TokenUsage } from '../../../engines/engine.ts'
import { unreachable } from '../../../platform/assert.ts'

export interface ChatStreamOptions {
  readonly id: string
  readonly createdSeconds: number
  readonly model: string
  readonly systemFingerprint: string
  readonly includeUsage: boolean
}

export const doneEvent = 'data: [DONE]\n\n'
export const keepAliveComment = ': keep-alive\n\n'

/** Returns a function from each part to the events that it makes, as text; '' for none. */
export function createChatStreamEncoder(options: ChatStreamOptions): (part: StreamPart) => string {
  const head =
    `data: {"id":${JSON.stringify(options.id)},"object":"chat.completion.chunk",` +
    `"created":${options.createdSeconds},"model":${JSON.stringify(options.model)},` +
    `"system_fingerprint":${JSON.stringify(options.systemFingerprint)},`
  // With include_usage every chunk names usage, and the last one has it; without, no chunk does.
  const tail = options.includeUsage ? '],"usage":null}\n\n' : ']}\n\n'
  const introduced = new Set<number>()

  const event = (choice: number, delta: string, finishReason = 'null', logprobs = 'null'): string =>
    `${head}"choices":[{"index":${choice},"delta":{${delta}},"logprobs":${logprobs},"finish_reason":${finishReason}}${tail}`

  /** The role comes first, once a choice. */
  const introduce = (choice: number): string => {
    if (introduced.has(choice)) return ''
    introduced.add(choice)
    return event(choice, '"role":"assistant","content":"","refusal":null')
  }

  /** An answer that a limit ended says so beside its choices, where clients that do not care look past it. */
  const finish = ({
    choice,
    reason,
    cause,
  }: Extract<StreamPart, { type: 'choice-finish' }>): string => {
    const text = event(choice, '', `"${reason}"`)
    return cause ? text.replace(/\}\n\n$/, `,"limit":${JSON.stringify(cause)}}\n\n`) : text
  }

  return (part) => {
    switch (part.type) {
      case 'text-delta': {
        const logprobs = part.logprobs
          ? `{"content":${JSON.stringify(part.logprobs)},"refusal":null}`
          : 'null'
        return (
          introduce(part.choice) +
          event(part.choice, `"content":${JSON.stringify(part.text)}`, 'null', logprobs)
        )
      }
      case 'reasoning-delta': {
        // Clients look for one of the two names.
        const text = JSON.stringify(part.text)
        return (
          introduce(part.choice) +
          event(part.choice, `"reasoning_content":${text},"reasoning":${text}`)
        )
      }
      case 'refusal-delta':
        return introduce(part.choice) + event(part.choice, `"refusal":${JSON.stringify(part.text)}`)
      case 'tool-call-start': {
        const call = `{"index":${part.toolCall},"id":${JSON.stringify(part.id)},"type":"function","function":{"name":${JSON.stringify(part.name)},"arguments":""}}`
        return introduce(part.choice) + event(part.choice, `"tool_calls":[${call}]`)
      }
      case 'tool-call-delta': {
        const call = `{"index":${part.toolCall},"function":{"arguments":${JSON.stringify(part.arguments)}}}`
        return event(part.choice, `"tool_calls":[${call}]`)
      }
      case 'choice-finish':
        return introduce(part.choice) + finish(part)
      case 'usage': {
        if (!options.includeUsage) return ''
        return `${head}"choices":[],"usage":${JSON.stringify(toWireUsage(part.usage))}}\n\n`
      }
      case 'end':
        return doneEvent
      case 'embeddings':
        return ''
      default:
        return unreachable(part)
    }
  }
}

export function toWireUsage(usage: TokenUsage): Record<string, unknown> {
  return {
    prompt_tokens: usage.inputTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.inputTokens + usage.outputTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedInputTokens, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: usage.reasoningTokens,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  }
}
