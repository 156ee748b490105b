/** How a message ended and what it took, in Anthropic's terms. */
import type { FinishCause, StreamPart, TokenUsage } from '../../../engines/engine.ts'

export interface MessageEnding {
  readonly stopReason: string
  readonly stopSequence: string | null
  /** A limit of the caller's that ended the answer. */
  readonly limit: FinishCause | undefined
  readonly usage: Readonly<Record<string, unknown>>
}

export interface EndingReader {
  note(part: StreamPart): void
  read(): MessageEnding
}

const stopReasons = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  content_filter: 'refusal',
} as const

export function createEndingReader(estimatedInputTokens: number): EndingReader {
  let finish: Extract<StreamPart, { type: 'choice-finish' }> | undefined
  let usage: TokenUsage = {
    inputTokens: estimatedInputTokens,
    cachedInputTokens: 0,
    outputTokens: 0,
    reasoningTokens: 0,
  }
  let hasCalls = false
  let isRefused = false

  const reason = (): string => {
    const named = stopReasons[finish?.reason ?? 'stop']
    if (named !== 'end_turn') return named
    if (isRefused) return 'refusal'
    // A call that the caller asked for by name ends with `stop` at engines.
    if (hasCalls) return 'tool_use'
    return finish?.stopSequence === undefined ? 'end_turn' : 'stop_sequence'
  }

  return {
    note(part) {
      if (part.type === 'usage') usage = part.usage
      if (!('choice' in part) || part.choice !== 0) return
      if (part.type === 'choice-finish') finish ??= part
      if (part.type === 'tool-call-start') hasCalls = true
      if (part.type === 'refusal-delta') isRefused = true
    },
    read() {
      const stopReason = reason()
      return {
        stopReason,
        stopSequence: stopReason === 'stop_sequence' ? (finish?.stopSequence ?? null) : null,
        limit: finish?.cause,
        usage: toMessageUsage(usage),
      }
    },
  }
}

/** Anthropic counts what was read from a cache beside the input, and not as part of it. */
export function toMessageUsage(usage: TokenUsage): Readonly<Record<string, unknown>> {
  return {
    input_tokens: Math.max(0, usage.inputTokens - usage.cachedInputTokens),
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: usage.cachedInputTokens,
    output_tokens: usage.outputTokens,
    output_tokens_details: { thinking_tokens: usage.reasoningTokens },
  }
}
