/** What the client reads: OpenAI's legacy completion, whole or in chunks. */
import type { TokenLogprob } from '../engine.ts'
import { toWireUsage, type ChatUsage } from './chat-wire.ts'

/** A token of an answer, or of an echoed prompt, whose first one has nothing before it and so no probability. */
export type WeighedToken = TokenLogprob | { readonly token: string; readonly logprob: null }

export type CompletionFinishReason = 'stop' | 'length'

export interface CompletionWire {
  chunk(piece: {
    readonly choice: number
    readonly text: string
    readonly logprobs?: readonly WeighedToken[] | undefined
    readonly finishReason?: CompletionFinishReason | undefined
    readonly usage?: ChatUsage | undefined
  }): string
  usageChunk(usage: ChatUsage): string
  whole(choices: readonly WholeText[], usage: ChatUsage): unknown
}

export interface WholeText {
  readonly text: string
  readonly logprobs: readonly WeighedToken[] | undefined
  readonly finishReason: CompletionFinishReason
}

export function createCompletionWire(
  id: string,
  model: string,
  createdSeconds: number,
): CompletionWire {
  const head = { id, object: 'text_completion', created: createdSeconds, model }
  const event = (choices: readonly unknown[], usage: ChatUsage | undefined): string =>
    `data: ${JSON.stringify({ ...head, choices, ...(usage && { usage: toWireUsage(usage) }) })}\n\n`
  /** Characters of each choice's tokens so far. */
  const offsets = new Map<number, number>()
  const weigh = (choice: number, tokens: readonly WeighedToken[]): unknown => {
    const start = offsets.get(choice) ?? 0
    const ends = runningLengths(tokens, start)
    offsets.set(choice, ends.at(-1) ?? start)
    return toWireLogprobs(tokens, [start, ...ends.slice(0, -1)])
  }
  return {
    chunk: ({ choice, text, logprobs, finishReason, usage }) =>
      event(
        [
          {
            index: choice,
            text,
            logprobs: logprobs ? weigh(choice, logprobs) : null,
            finish_reason: finishReason ?? null,
          },
        ],
        usage,
      ),
    usageChunk: (usage) => event([], usage),
    whole: (choices, usage) => ({
      ...head,
      choices: choices.map(({ text, logprobs, finishReason }, index) => ({
        index,
        text,
        logprobs: logprobs ? weigh(index, logprobs) : null,
        finish_reason: finishReason,
      })),
      usage: toWireUsage(usage),
    }),
  }
}

function runningLengths(tokens: readonly WeighedToken[], start: number): readonly number[] {
  let length = start
  return tokens.map(({ token }) => (length += token.length))
}

function toWireLogprobs(tokens: readonly WeighedToken[], offsets: readonly number[]): unknown {
  return {
    tokens: tokens.map(({ token }) => token),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.map((weighed) =>
      'top_logprobs' in weighed
        ? Object.fromEntries(weighed.top_logprobs.map(({ token, logprob }) => [token, logprob]))
        : null,
    ),
    text_offset: offsets,
  }
}
