/**
 * OpenAI's chat completions as spoken to engines: our requests out, their chunks in, translated to typed parts. Nothing that an engine sends is
 * relayed as it came: what this file does not recognise does not pass.
 */
import type { ChatTask, FinishReason, StreamPart, TokenLogprob } from '../../engine.ts'
import {
  collect,
  failedInStream,
  invalid,
  isRecord,
  parseEvent,
  parseWhole,
  toNumber,
  truncated,
} from '../answer.ts'
import type { TaskDialect } from '../connection.ts'
import { createEventReader } from '../sse.ts'
import { fromWireUsage } from './usage.ts'

const toolCallsMax = 128
const logprobMin = -9999
/** As long as one that a request may name. */
const stopCharactersMax = 1_000

export const openAiChat: TaskDialect<ChatTask> = {
  path: '/v1/chat/completions',
  render: ({ task, model, stream, cacheSalt }, { continuousUsage }) => ({
    json: {
      ...task.body,
      model,
      cache_salt: cacheSalt,
      ...(stream
        ? { stream: true, stream_options: streamOptions(continuousUsage) }
        : { stream: false }),
    },
  }),
  read(response) {
    if (response.mediaType === 'text/event-stream') return readChatStream(response.body)
    if (response.mediaType === 'application/json') return readWholeChat(response.body)
    throw invalid('the engine answered with neither JSON nor an event stream')
  },
}

/** The whole usage at the end; running totals too from engines that know them. */
export function streamOptions(continuousUsage: boolean): Readonly<Record<string, boolean>> {
  return continuousUsage
    ? { include_usage: true, continuous_usage_stats: true }
    : { include_usage: true }
}

/** What an engine's choice carries, in a chunk (`delta`) or in a whole answer (`message`). */
interface WireChoice {
  readonly index?: unknown
  readonly delta?: WireMessage | null
  readonly message?: WireMessage | null
  readonly finish_reason?: unknown
  /** vLLM's word for the stop text, or the id of the token, that ended it. */
  readonly stop_reason?: unknown
  /** SGLang's word for the same. */
  readonly matched_stop?: unknown
  readonly logprobs?: { readonly content?: unknown } | null
}
interface WireMessage {
  readonly content?: unknown
  readonly reasoning_content?: unknown
  readonly reasoning?: unknown
  readonly refusal?: unknown
  readonly tool_calls?: unknown
}
interface WireToolCall {
  readonly index?: unknown
  readonly id?: unknown
  readonly function?: { readonly name?: unknown; readonly arguments?: unknown } | null
}

export async function* readChatStream(chunks: AsyncIterable<Buffer>): AsyncGenerator<StreamPart> {
  const state = createState()
  const events = createEventReader()
  for await (const chunk of chunks) {
    for (const event of events.read(chunk)) {
      if (event === '[DONE]') {
        yield* finishRest(state)
        yield { type: 'end' }
        return
      }
      // One list an event: delegating to generators costs more than reading.
      for (const part of fromChatObject(parseEvent(event), state)) yield part
    }
  }
  // Some servers leave [DONE] out. The answer is whole if every choice said why it ended.
  if (state.choices > 0 && state.finished.size === state.choices) {
    yield { type: 'end' }
    return
  }
  throw truncated('stream closed without finish_reason and [DONE]')
}

async function* readWholeChat(chunks: AsyncIterable<Buffer>): AsyncGenerator<StreamPart> {
  const state = createState()
  const value = parseWhole(await collect(chunks))
  yield* fromChatObject(value, state)
  if (state.choices === 0 || state.finished.size < state.choices) {
    throw invalid('a whole answer without choices or finish_reason')
  }
  yield { type: 'end' }
}

interface ChatState {
  readonly finished: Set<number>
  /** The calls of each choice that have begun, by the numbers that we give them. */
  readonly calls: Map<number, StartedCall[]>
  choices: number
}
interface StartedCall {
  /** As the engine numbers it; some begin each call with 0. */
  readonly wireIndex: number
  readonly id: string
}

function createState(): ChatState {
  return { finished: new Set(), calls: new Map(), choices: 0 }
}

/** The engine said that the answer is whole, and clients wait for a reason of each choice: it ended as such choices do. */
function* finishRest(state: ChatState): Generator<StreamPart> {
  for (let choice = 0; choice < state.choices; choice += 1) {
    if (state.finished.has(choice)) continue
    const reason = state.calls.has(choice) ? 'tool_calls' : 'stop'
    yield { type: 'choice-finish', choice, reason }
  }
}

function fromChatObject(value: unknown, state: ChatState): readonly StreamPart[] {
  if (!isRecord(value)) throw invalid('an event that is not an object')
  if (value['error'] !== undefined && value['error'] !== null) {
    throw failedInStream()
  }
  const parts: StreamPart[] = []
  const choices: unknown = value['choices']
  if (Array.isArray(choices)) {
    for (const choice of choices) {
      if (isRecord(choice)) addChoice(parts, choice, state)
    }
  }
  if (isRecord(value['usage'])) parts.push({ type: 'usage', usage: fromWireUsage(value['usage']) })
  return parts
}

function addChoice(parts: StreamPart[], wire: WireChoice, state: ChatState): void {
  const choice = typeof wire.index === 'number' ? wire.index : 0
  if (!Number.isInteger(choice) || choice < 0 || choice > 127)
    throw invalid('a choice out of range')
  if (choice >= state.choices) state.choices = choice + 1
  const message = wire.delta ?? wire.message
  if (message) addMessage(parts, message, { wire, choice, state })
  if (typeof wire.finish_reason === 'string' && !state.finished.has(choice)) {
    state.finished.add(choice)
    const reason = fromFinishReason(wire.finish_reason)
    const stop = reason === 'stop' ? (wire.stop_reason ?? wire.matched_stop) : undefined
    const isNamed = typeof stop === 'string' && stop.length <= stopCharactersMax
    parts.push({ type: 'choice-finish', choice, reason, ...(isNamed && { stopSequence: stop }) })
  }
}

interface ChoiceScope {
  readonly wire: WireChoice
  readonly choice: number
  readonly state: ChatState
}

function addMessage(parts: StreamPart[], message: WireMessage, scope: ChoiceScope): void {
  const { wire, choice } = scope
  const reasoning = message.reasoning_content ?? message.reasoning
  if (typeof reasoning === 'string' && reasoning !== '') {
    parts.push({ type: 'reasoning-delta', choice, text: reasoning })
  }
  const logprobs = fromLogprobs(wire.logprobs)
  if (typeof message.content === 'string' && (message.content !== '' || logprobs)) {
    parts.push({ type: 'text-delta', choice, text: message.content, logprobs })
  }
  if (typeof message.refusal === 'string' && message.refusal !== '') {
    parts.push({ type: 'refusal-delta', choice, text: message.refusal })
  }
  if (Array.isArray(message.tool_calls)) {
    for (const [position, call] of message.tool_calls.entries()) {
      if (isRecord(call)) addToolCall(parts, { wire: call, position }, scope)
    }
  }
}

function addToolCall(
  parts: StreamPart[],
  { wire, position }: { readonly wire: WireToolCall; readonly position: number },
  { choice, state }: ChoiceScope,
): void {
  // Whole answers, and some engines' chunks, leave the index out.
  const wireIndex = typeof wire.index === 'number' ? wire.index : position
  const { name, arguments: pieces } = wire.function ?? {}
  const calls = state.calls.get(choice) ?? []
  const id = typeof wire.id === 'string' && wire.id !== '' ? wire.id : undefined
  let toolCall = calls.findLastIndex((call) => call.wireIndex === wireIndex)
  const isOther = id !== undefined && calls[toolCall]?.id !== id
  if (typeof name === 'string' && name !== '' && (toolCall < 0 || isOther)) {
    toolCall = calls.length
    if (toolCall >= toolCallsMax) throw invalid('more tool calls than anybody can want')
    const call = { wireIndex, id: id ?? `call_${choice}_${toolCall}` }
    state.calls.set(choice, [...calls, call])
    parts.push({ type: 'tool-call-start', choice, toolCall, id: call.id, name })
  }
  const text = isRecord(pieces) ? JSON.stringify(pieces) : pieces
  if (typeof text === 'string' && text !== '') {
    if (toolCall < 0) throw invalid('tool arguments before the tool was named')
    parts.push({ type: 'tool-call-delta', choice, toolCall, arguments: text })
  }
}

function fromFinishReason(reason: string): FinishReason {
  if (reason === 'length' || reason === 'tool_calls' || reason === 'content_filter') return reason
  if (reason === 'function_call') return 'tool_calls'
  return 'stop'
}

function fromLogprobs(wire: WireChoice['logprobs']): readonly TokenLogprob[] | undefined {
  const content = wire?.content
  if (!Array.isArray(content) || content.length === 0) return undefined
  return content.filter(isRecord).map((entry) => ({
    ...fromLogprob(entry),
    top_logprobs: Array.isArray(entry['top_logprobs'])
      ? entry['top_logprobs'].filter(isRecord).map(fromLogprob)
      : [],
  }))
}

function fromLogprob(wire: Record<string, unknown>): Omit<TokenLogprob, 'top_logprobs'> {
  const bytes = wire['bytes']
  return {
    token: typeof wire['token'] === 'string' ? wire['token'] : '',
    // What is impossible, and what is no logarithm of a probability, JSON cannot always say; OpenAI says it with this number.
    logprob: Math.min(Math.max(toNumber(wire['logprob'], logprobMin), logprobMin), 0),
    bytes: Array.isArray(bytes) ? bytes.filter((byte) => typeof byte === 'number') : null,
  }
}
