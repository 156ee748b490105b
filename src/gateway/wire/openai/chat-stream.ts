/** Encodes typed parts as OpenAI's `chat.completion.chunk` events. Strings from engines only ever pass through JSON.stringify. */
import type { StreamPart, TokenUsage } from '../../../engines/engine.ts'
import { logprobsMissing, toFinishReason, type CallStyle } from './chat-finish.ts'

export interface ChatStreamOptions extends CallStyle {
  readonly id: string
  readonly createdSeconds: number
  readonly model: string
  readonly systemFingerprint: string
  readonly includeUsage: boolean
  /** The tier that the client asked for; `undefined` where it did not. */
  readonly serviceTier?: string | undefined
  /** An answer without logprobs is refused. */
  readonly wantsLogprobs?: boolean | undefined
  /** A signed receipt, from the settlement on, for a client that asked for one. */
  readonly receipt?: (() => string | undefined) | undefined
}

export const doneEvent = 'data: [DONE]\n\n'
export const keepAliveComment = ': keep-alive\n\n'

/** Returns a function from each part to the events that it makes, as text; '' for none. */
export function createChatStreamEncoder(options: ChatStreamOptions): (part: StreamPart) => string {
  const head =
    `data: {"id":${JSON.stringify(options.id)},"object":"chat.completion.chunk",` +
    `"created":${options.createdSeconds},"model":${JSON.stringify(options.model)},` +
    `"system_fingerprint":${JSON.stringify(options.systemFingerprint)},` +
    (options.serviceTier === undefined
      ? ''
      : `"service_tier":${JSON.stringify(options.serviceTier)},`)
  // With include_usage every chunk names usage, and the last one has it; without, no chunk does.
  const tail = options.includeUsage ? '],"usage":null}\n\n' : ']}\n\n'
  const introduced = new Set<number>()
  /** Choices that called something, and those that gave probabilities. */
  const calling = new Set<number>()
  const weighed = new Set<number>()

  /** What surrounds a delta of a choice is always the same: joined once, a token costs three pieces of text, not nine. */
  const starts: string[] = []
  const startOf = (choice: number): string =>
    (starts[choice] ??= [head, '"choices":[{"index":', choice, ',"delta":{'].join(''))
  const end = ['},"logprobs":null,"finish_reason":null}', tail].join('')

  const event = (choice: number, delta: string): string => startOf(choice) + delta + end
  const lastEvent = (choice: number, finishReason: string): string =>
    `${startOf(choice)}},"logprobs":null,"finish_reason":"${finishReason}"}${tail}`
  const weighedEvent = (choice: number, delta: string, logprobs: string): string =>
    `${startOf(choice)}${delta}},"logprobs":${logprobs},"finish_reason":null}${tail}`

  /** The role comes first, once a choice. */
  const introduce = (choice: number): string => {
    if (introduced.has(choice)) return ''
    introduced.add(choice)
    return event(choice, '"role":"assistant","content":"","refusal":null')
  }

  let isReceiptGiven = false
  /** Once: with the first part that follows the settlement. */
  const takeReceipt = (): string | undefined => {
    const receipt = isReceiptGiven ? undefined : options.receipt?.()
    isReceiptGiven ||= receipt !== undefined
    return receipt
  }

  /**
   * A limit that ended the answer, and the receipt, stand beside the choices, where clients that do not know them look past. An event of
   * its own without choices would break clients that read `choices[0]`, and SDKs never show a comment.
   */
  const finish = ({
    choice,
    reason,
    cause,
  }: Extract<StreamPart, { type: 'choice-finish' }>): string => {
    const finishReason = toFinishReason(reason, calling.has(choice), options)
    return besides(lastEvent(choice, finishReason), { limit: cause, receipt: takeReceipt() })
  }

  /** The form before tools knows one call. */
  const callEvent = (
    { choice, toolCall }: { readonly choice: number; readonly toolCall: number },
    functionCall: string,
    call: string,
  ): string => {
    if (!options.usesFunctions) return event(choice, `"tool_calls":[${call}]`)
    return toolCall === 0 ? event(choice, `"function_call":${functionCall}`) : ''
  }

  return (part) => {
    switch (part.type) {
      case 'text-delta': {
        const delta = `"content":${JSON.stringify(part.text)}`
        if (part.logprobs) {
          weighed.add(part.choice)
          const logprobs = `{"content":${JSON.stringify(part.logprobs)},"refusal":null}`
          return introduce(part.choice) + weighedEvent(part.choice, delta, logprobs)
        }
        if (options.wantsLogprobs && !weighed.has(part.choice)) throw logprobsMissing()
        return introduce(part.choice) + event(part.choice, delta)
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
        calling.add(part.choice)
        const called = `{"name":${JSON.stringify(part.name)},"arguments":""}`
        const call = `{"index":${part.toolCall},"id":${JSON.stringify(part.id)},"type":"function","function":${called}}`
        return introduce(part.choice) + callEvent(part, called, call)
      }
      case 'tool-call-delta': {
        const piece = `{"arguments":${JSON.stringify(part.arguments)}}`
        return callEvent(part, piece, `{"index":${part.toolCall},"function":${piece}}`)
      }
      case 'choice-finish':
        return introduce(part.choice) + finish(part)
      case 'usage': {
        if (!options.includeUsage) return ''
        const text = `${head}"choices":[],"usage":${JSON.stringify(toWireUsage(part.usage))}}\n\n`
        return besides(text, { receipt: takeReceipt() })
      }
      case 'end': {
        // An answer without any finish: what is left is a comment, which no client trips over.
        const receipt = takeReceipt()
        return receipt === undefined ? doneEvent : `: receipt ${receipt}\n\n${doneEvent}`
      }
      default:
        // The other parts belong to other tasks.
        return ''
    }
  }
}

/** Adds fields at the end of an event's object. */
function besides(event: string, fields: Readonly<Record<string, unknown>>): string {
  const text = JSON.stringify(fields)
  return text === '{}' ? event : `${event.slice(0, -'}\n\n'.length)},${text.slice(1)}\n\n`
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
