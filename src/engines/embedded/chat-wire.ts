/** What the client reads: OpenAI's chat completion, whole or in chunks. */
import type { TokenLogprob } from '../engine.ts'

export interface ChatUsage {
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly completionTokens: number
  /** Part of `completionTokens`. */
  readonly reasoningTokens: number
}

export type WireFinishReason = 'stop' | 'length' | 'tool_calls'

export interface WireToolCallDelta {
  readonly index: number
  readonly id?: string
  readonly type?: 'function'
  readonly function: { readonly name?: string; readonly arguments: string }
}

export interface WireDelta {
  readonly role?: 'assistant'
  readonly content?: string | null
  readonly reasoning_content?: string
  readonly tool_calls?: readonly WireToolCallDelta[]
}

export interface ChatWire {
  chunk(piece: {
    readonly choice: number
    readonly delta: WireDelta
    readonly logprobs?: readonly TokenLogprob[] | undefined
    readonly finishReason?: WireFinishReason
    readonly stopReason?: string | undefined
    readonly usage?: ChatUsage | undefined
  }): string
  usageChunk(usage: ChatUsage): string
  whole(choices: readonly WholeChoice[], usage: ChatUsage): unknown
}

export interface WholeChoice {
  readonly content: string
  readonly reasoning: string
  readonly toolCalls: readonly {
    readonly id: string
    readonly name: string
    readonly arguments: string
  }[]
  readonly logprobs: readonly TokenLogprob[] | undefined
  readonly finishReason: WireFinishReason
  /** The stop text of the request that ended it; `stop_reason` as vLLM has it. */
  readonly stopReason: string | undefined
}

export const doneEvent = 'data: [DONE]\n\n'

export function createChatWire(id: string, model: string, createdSeconds: number): ChatWire {
  // The same for every chunk of the answer: serialised once.
  const head = JSON.stringify({
    id,
    object: 'chat.completion.chunk',
    created: createdSeconds,
    model,
  }).slice(0, -1)
  return {
    chunk({ choice, delta, logprobs, finishReason, stopReason, usage }) {
      const body = JSON.stringify({
        index: choice,
        delta,
        logprobs: logprobs ? { content: logprobs, refusal: null } : null,
        finish_reason: finishReason ?? null,
        stop_reason: stopReason,
      })
      const tail = usage ? `,"usage":${JSON.stringify(toWireUsage(usage))}` : ''
      return `data: ${head},"choices":[${body}]${tail}}\n\n`
    },
    usageChunk: (usage) =>
      `data: ${head},"choices":[],"usage":${JSON.stringify(toWireUsage(usage))}}\n\n`,
    whole: (choices, usage) => ({
      id,
      object: 'chat.completion',
      created: createdSeconds,
      model,
      choices: choices.map(toWireChoice),
      usage: toWireUsage(usage),
    }),
  }
}

function toWireChoice(choice: WholeChoice, index: number): unknown {
  const hasCalls = choice.toolCalls.length > 0
  return {
    index,
    message: {
      role: 'assistant',
      content: hasCalls && choice.content === '' ? null : choice.content,
      refusal: null,
      ...(choice.reasoning === '' ? {} : { reasoning_content: choice.reasoning }),
      ...(hasCalls
        ? {
            tool_calls: choice.toolCalls.map((call) => ({
              id: call.id,
              type: 'function',
              function: { name: call.name, arguments: call.arguments },
            })),
          }
        : {}),
    },
    logprobs: choice.logprobs ? { content: choice.logprobs, refusal: null } : null,
    finish_reason: choice.finishReason,
    stop_reason: choice.stopReason,
  }
}

export function toWireUsage(usage: ChatUsage): unknown {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
    completion_tokens_details: { reasoning_tokens: usage.reasoningTokens },
  }
}
