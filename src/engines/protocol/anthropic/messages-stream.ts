/** Anthropic's stream as typed parts (platform.claude.com/docs, "Streaming messages", "Stop reasons", "Errors"). */
import { Fault } from '../../../platform/fault.ts'
import type { FinishReason, StreamPart, TokenUsage } from '../../engine.ts'
import { failedInStream, invalid, isRecord, parseEvent, toNumber, truncated } from '../answer.ts'
import { createEventReader } from '../sse.ts'

/** Blocks of an answer: texts, thoughts and calls of tools. */
const blocksMax = 256

type Fields = Readonly<Record<string, unknown>>

interface State {
  /** Numbers of the blocks that are calls of tools → the number of the call. */
  readonly calls: Map<number, number>
  usage: Fields
  finish: FinishReason | undefined
  stopSequence: string | undefined
}

export async function* readMessageStream(
  chunks: AsyncIterable<Buffer>,
): AsyncGenerator<StreamPart> {
  const state: State = { calls: new Map(), usage: {}, finish: undefined, stopSequence: undefined }
  const events = createEventReader()
  for await (const chunk of chunks) {
    for (const text of events.read(chunk)) {
      const event = parseEvent(text)
      if (!isRecord(event)) throw invalid('an event that is not an object')
      if (event['type'] === 'message_stop') {
        yield* finishMessage(state)
        return
      }
      yield* fromEvent(event, state)
    }
  }
  throw truncated('stream closed without message_stop')
}

function* finishMessage(state: State): Generator<StreamPart> {
  const { finish: reason, stopSequence } = state
  if (!reason) throw invalid('a message that stopped without a reason')
  yield {
    type: 'choice-finish',
    choice: 0,
    reason,
    ...(stopSequence !== undefined && { stopSequence }),
  }
  if (Object.keys(state.usage).length > 0) yield { type: 'usage', usage: toUsage(state.usage) }
  yield { type: 'end' }
}

/** Kinds that are not named here, such as `ping` and those to come, say nothing that we pass on. */
function* fromEvent(event: Fields, state: State): Generator<StreamPart> {
  switch (event['type']) {
    case 'message_start': {
      const message = isRecord(event['message']) ? event['message'] : {}
      if (isRecord(message['usage'])) state.usage = message['usage']
      return
    }
    case 'content_block_start':
      yield* fromBlockStart(event, state)
      return
    case 'content_block_delta':
      yield* fromBlockDelta(event, state)
      return
    case 'message_delta': {
      const delta = isRecord(event['delta']) ? event['delta'] : {}
      const { stop_reason: reason, stop_sequence: sequence } = delta
      if (typeof reason === 'string') state.finish = finishReasons.get(reason) ?? 'stop'
      if (typeof sequence === 'string') state.stopSequence = sequence
      // Totals, not differences.
      if (isRecord(event['usage'])) state.usage = { ...state.usage, ...present(event['usage']) }
      return
    }
    case 'error':
      throw toFault(isRecord(event['error']) ? event['error']['type'] : undefined)
  }
}

function* fromBlockStart(
  { index, content_block: block }: Fields,
  state: State,
): Generator<StreamPart> {
  if (!isRecord(block)) throw invalid('a block that is not an object')
  if (block['type'] !== 'tool_use') return
  const { id, name } = block
  if (typeof id !== 'string' || id === '' || typeof name !== 'string' || name === '') {
    throw invalid('a call of a tool without id or name')
  }
  const toolCall = state.calls.size
  const key = blockNumber(index)
  if (state.calls.has(key)) throw invalid('two blocks of one number')
  state.calls.set(key, toolCall)
  yield { type: 'tool-call-start', choice: 0, toolCall, id, name }
}

function* fromBlockDelta({ index, delta }: Fields, state: State): Generator<StreamPart> {
  if (!isRecord(delta)) throw invalid('a delta that is not an object')
  switch (delta['type']) {
    case 'text_delta': {
      const text = textOf(delta['text'])
      if (text !== '') yield { type: 'text-delta', choice: 0, text }
      return
    }
    case 'thinking_delta': {
      const text = textOf(delta['thinking'])
      if (text !== '') yield { type: 'reasoning-delta', choice: 0, text }
      return
    }
    case 'signature_delta': {
      const signature = textOf(delta['signature'])
      if (signature !== '') yield { type: 'reasoning-signature', choice: 0, signature }
      return
    }
    case 'input_json_delta': {
      const toolCall = state.calls.get(blockNumber(index))
      if (toolCall === undefined) throw invalid('arguments of a tool that was not called')
      const text = textOf(delta['partial_json'])
      if (text !== '') yield { type: 'tool-call-delta', choice: 0, toolCall, arguments: text }
    }
  }
}

function blockNumber(value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < blocksMax)
    return value
  throw invalid('a block out of range')
}

function textOf(value: unknown): string {
  if (typeof value !== 'string') throw invalid('a delta that is not text')
  return value
}

function present(usage: Fields): Fields {
  return Object.fromEntries(Object.entries(usage).filter(([, value]) => value !== null))
}

/** `input_tokens` are those after the last cached one; ours are all. */
function toUsage(usage: Fields): TokenUsage {
  const read = toNumber(usage['cache_read_input_tokens'], 0)
  const written = toNumber(usage['cache_creation_input_tokens'], 0)
  const details = isRecord(usage['output_tokens_details']) ? usage['output_tokens_details'] : {}
  return {
    inputTokens: toNumber(usage['input_tokens'], NaN) + read + written,
    cachedInputTokens: read,
    outputTokens: toNumber(usage['output_tokens'], 0),
    reasoningTokens: toNumber(details['thinking_tokens'], 0),
  }
}

const finishReasons: ReadonlyMap<string, FinishReason> = new Map([
  ['max_tokens', 'length'],
  ['model_context_window_exceeded', 'length'],
  ['tool_use', 'tool_calls'],
  ['refusal', 'content_filter'],
])

function toFault(type: unknown): Fault {
  const retryAfterMs = 1_000
  if (type === 'overloaded_error') {
    const text = 'The model server is busy. Try again shortly.'
    return new Fault({ code: 'capacity.overloaded', public: text, retryAfterMs })
  }
  if (type === 'rate_limit_error') {
    const text = 'The model server is at its limit. Try again shortly.'
    return new Fault({ code: 'capacity.engine_rate_limited', public: text, retryAfterMs })
  }
  return failedInStream()
}
