/** Encodes typed parts as OpenAI's `text_completion` events, and gathers them into one object for clients that do not stream. */
import type { FinishCause, StreamPart, TokenLogprob } from '../../../engines/engine.ts'
import { Fault } from '../../../platform/fault.ts'
import { logprobsMissing } from './chat-finish.ts'
import { doneEvent, toWireUsage } from './chat-stream.ts'

/** A whole answer is held in memory until its end. */
const answerCharactersMax = 16 * 1024 * 1024

export interface CompletionOptions {
  readonly id: string
  readonly createdSeconds: number
  readonly model: string
  readonly systemFingerprint: string
  readonly includeUsage: boolean
  readonly serviceTier?: string | undefined
  /** How many alternatives go with each token; `undefined` for no probabilities at all. */
  readonly logprobs: number | undefined
  readonly echo: 'none' | 'gateway' | 'engine'
  readonly prompts: readonly string[] | readonly (readonly number[])[]
  readonly n: number
  /** A signed receipt, from the settlement on, for a client that asked for one. */
  readonly receipt?: (() => string | undefined) | undefined
}

/** OpenAI's legacy form: parallel lists, one entry a token. */
interface WireLogprobs {
  readonly tokens: readonly string[]
  readonly token_logprobs: readonly (number | null)[]
  readonly top_logprobs: readonly (Readonly<Record<string, number>> | null)[] | null
  readonly text_offset: readonly number[]
}

interface Piece {
  readonly text: string
  readonly logprobs: WireLogprobs | null
}

/** Returns a function from each part to the events that it makes, as text; '' for none. */
export function createCompletionEncoder(options: CompletionOptions): (part: StreamPart) => string {
  const fields = headOf(options)
  const speak = createSpeaker(options)
  const event = (choices: readonly unknown[], more: Readonly<Record<string, unknown>>): string =>
    `data: ${JSON.stringify({ ...fields, choices, ...more })}\n\n`
  const usage = options.includeUsage ? { usage: null } : {}
  let isReceiptGiven = false
  const takeReceipt = (): string | undefined => {
    const receipt = isReceiptGiven ? undefined : options.receipt?.()
    isReceiptGiven ||= receipt !== undefined
    return receipt
  }
  const say = (index: number, { text, logprobs }: Piece): string =>
    event([{ index, text, logprobs, finish_reason: null }], usage)

  return (part) => {
    switch (part.type) {
      case 'text-delta':
        return say(part.choice, speak(part))
      case 'choice-finish': {
        const { choice: index, reason, cause } = part
        // What is echoed is said even where nothing follows it.
        const echo = speak({ choice: index, text: '' })
        const finish = { index, text: '', logprobs: null, finish_reason: toFinishReason(reason) }
        return (
          (echo.text === '' ? '' : say(index, echo)) +
          event([finish], { ...usage, limit: cause, receipt: takeReceipt() })
        )
      }
      case 'usage':
        return options.includeUsage
          ? event([], { usage: toWireUsage(part.usage), receipt: takeReceipt() })
          : ''
      case 'end':
        return doneEvent
      default:
        // The other parts belong to other tasks.
        return ''
    }
  }
}

export async function gatherCompletion(
  parts: AsyncIterable<StreamPart>,
  options: CompletionOptions,
): Promise<string> {
  const speak = createSpeaker(options)
  const choices = Array.from({ length: options.prompts.length * options.n }, () => ({
    text: '',
    logprobs: [] as WireLogprobs[],
    reason: 'stop',
  }))
  let usage: Record<string, unknown> | undefined
  let limit: FinishCause | undefined
  let characters = 0
  const add = (choice: number, { text, logprobs }: Piece): void => {
    characters += text.length
    const kept = choices[choice]
    if (characters > answerCharactersMax || !kept) throw unusable()
    kept.text += text
    if (logprobs) kept.logprobs.push(logprobs)
  }
  for await (const part of parts) {
    if (part.type === 'usage') usage = toWireUsage(part.usage)
    else if (part.type === 'text-delta') add(part.choice, speak(part))
    else if (part.type === 'choice-finish') {
      add(part.choice, speak({ choice: part.choice, text: '' }))
      const kept = choices[part.choice]
      if (kept) kept.reason = toFinishReason(part.reason)
      limit ??= part.cause
    }
  }
  return JSON.stringify({
    ...headOf(options),
    choices: choices.map(({ text, logprobs, reason }, index) => ({
      index,
      text,
      logprobs: joined(logprobs),
      finish_reason: reason,
    })),
    usage,
    // Left out unless a limit ended the answer.
    limit,
  })
}

function headOf(options: CompletionOptions): Readonly<Record<string, unknown>> {
  return {
    id: options.id,
    object: 'text_completion',
    created: options.createdSeconds,
    model: options.model,
    system_fingerprint: options.systemFingerprint,
    service_tier: options.serviceTier,
  }
}

/** Calls of tools belong to chats. */
function toFinishReason(reason: string): string {
  return reason === 'tool_calls' ? 'stop' : reason
}

/** What each part adds to its choice: before the first, the prompt, where we echo it; with each, where its tokens stand in the text. */
function createSpeaker(
  options: CompletionOptions,
): (part: {
  readonly choice: number
  readonly text: string
  readonly logprobs?: readonly TokenLogprob[] | undefined
}) => Piece {
  const begun = new Set<number>()
  /** Characters of each choice's tokens so far. */
  const offsets = new Map<number, number>()
  return ({ choice, text, logprobs }) => {
    const isFirst = !begun.has(choice)
    begun.add(choice)
    const prompt = options.prompts[Math.floor(choice / options.n)]
    const echo = isFirst && options.echo === 'gateway' && typeof prompt === 'string' ? prompt : ''
    if (options.logprobs === undefined) return { text: echo + text, logprobs: null }
    if (!logprobs) {
      if (isFirst && text !== '') throw logprobsMissing()
      return { text: echo + text, logprobs: null }
    }
    const isPromptFirst = isFirst && options.echo === 'engine'
    const start = offsets.get(choice) ?? 0
    const wire = toWireLogprobs(logprobs, { start, isPromptFirst, top: options.logprobs })
    offsets.set(choice, start + logprobs.reduce((sum, { token }) => sum + token.length, 0))
    return { text: echo + text, logprobs: wire }
  }
}

function toWireLogprobs(
  entries: readonly TokenLogprob[],
  place: { readonly start: number; readonly isPromptFirst: boolean; readonly top: number },
): WireLogprobs {
  let offset = place.start
  const offsets = entries.map(({ token }) => {
    const own = offset
    offset += token.length
    return own
  })
  // Nothing precedes the first token of a prompt, so it has no probability.
  const isUnknown = (index: number): boolean => place.isPromptFirst && index === 0
  return {
    tokens: entries.map(({ token }) => token),
    token_logprobs: entries.map(({ logprob }, index) => (isUnknown(index) ? null : logprob)),
    top_logprobs:
      place.top === 0
        ? null
        : entries.map(({ top_logprobs: top }, index) =>
            isUnknown(index)
              ? null
              : Object.fromEntries(top.map(({ token, logprob }) => [token, logprob])),
          ),
    text_offset: offsets,
  }
}

function joined(pieces: readonly WireLogprobs[]): WireLogprobs | null {
  if (pieces.length === 0) return null
  return {
    tokens: pieces.flatMap((piece) => piece.tokens),
    token_logprobs: pieces.flatMap((piece) => piece.token_logprobs),
    top_logprobs: pieces[0]?.top_logprobs
      ? pieces.flatMap((piece) => piece.top_logprobs ?? [])
      : null,
    text_offset: pieces.flatMap((piece) => piece.text_offset),
  }
}

function unusable(): Fault {
  return new Fault({
    code: 'upstream.invalid_response',
    public: 'The answer is too large to be sent in one piece. Ask for a stream.',
  })
}
