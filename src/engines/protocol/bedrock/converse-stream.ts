/** Bedrock's stream as typed parts (docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStreamOutput.html). */
import { Fault } from '../../../platform/fault.ts'
import type { FinishReason, StreamPart, TokenUsage } from '../../engine.ts'
import { failedInStream, invalid, isRecord, parseEvent, toNumber, truncated } from '../answer.ts'
import { createFrameReader, type EventFrame } from './event-frames.ts'

const blocksMax = 256

type Fields = Readonly<Record<string, unknown>>

interface State {
  /** Numbers of the blocks that are calls of tools → the number of the call. */
  readonly calls: Map<number, number>
  finish: FinishReason | undefined
  usage: Fields | undefined
}

export async function* readConverseStream(
  chunks: AsyncIterable<Buffer>,
): AsyncGenerator<StreamPart> {
  const state: State = { calls: new Map(), finish: undefined, usage: undefined }
  const frames = createFrameReader()
  for await (const chunk of chunks) {
    for (const frame of frames.read(chunk)) yield* fromFrame(frame, state)
  }
  if (!state.finish || frames.isAmidFrame()) throw truncated('stream closed without messageStop')
  yield { type: 'choice-finish', choice: 0, reason: state.finish }
  if (state.usage) yield { type: 'usage', usage: toUsage(state.usage) }
  yield { type: 'end' }
}

function* fromFrame({ headers, payload }: EventFrame, state: State): Generator<StreamPart> {
  const kind = headers.get(':message-type')
  if (kind === 'exception' || kind === 'error') {
    throw toFault(headers.get(':exception-type') ?? headers.get(':error-code'))
  }
  const event = parseEvent(payload.toString('utf8'))
  if (!isRecord(event)) throw invalid('an event that is not an object')
  switch (headers.get(':event-type')) {
    case 'contentBlockStart':
      yield* fromBlockStart(event, state)
      return
    case 'contentBlockDelta':
      yield* fromBlockDelta(event, state)
      return
    case 'messageStop': {
      const { stopReason: reason } = event
      if (typeof reason !== 'string') throw invalid('a stop without its reason')
      if (broken.has(reason)) throw failedInStream(`stopReason ${reason}`)
      state.finish = finishReasons.get(reason) ?? 'stop'
      return
    }
    case 'metadata':
      if (isRecord(event['usage'])) state.usage = event['usage']
  }
}

function* fromBlockStart(event: Fields, state: State): Generator<StreamPart> {
  const toolUse = isRecord(event['start']) ? event['start']['toolUse'] : undefined
  if (!isRecord(toolUse)) return
  const { toolUseId: id, name } = toolUse
  if (typeof id !== 'string' || id === '' || typeof name !== 'string' || name === '') {
    throw invalid('a call of a tool without id or name')
  }
  const key = blockNumber(event['contentBlockIndex'])
  const toolCall = state.calls.size
  if (state.calls.has(key)) throw invalid('two blocks of one number')
  state.calls.set(key, toolCall)
  yield { type: 'tool-call-start', choice: 0, toolCall, id, name }
}

function* fromBlockDelta(event: Fields, state: State): Generator<StreamPart> {
  const { delta } = event
  if (!isRecord(delta)) throw invalid('a delta that is not an object')
  const { text, toolUse, reasoningContent: reasoning } = delta
  if (isRecord(toolUse)) {
    const toolCall = state.calls.get(blockNumber(event['contentBlockIndex']))
    if (toolCall === undefined) throw invalid('arguments of a tool that was not called')
    const input = toText(toolUse['input'])
    if (input !== '') yield { type: 'tool-call-delta', choice: 0, toolCall, arguments: input }
  } else if (isRecord(reasoning)) {
    const thought = toText(reasoning['text'])
    const signature = toText(reasoning['signature'])
    if (thought !== '') yield { type: 'reasoning-delta', choice: 0, text: thought }
    if (signature !== '') yield { type: 'reasoning-signature', choice: 0, signature }
  } else if (toText(text) !== '') {
    yield { type: 'text-delta', choice: 0, text: toText(text) }
  }
}

function blockNumber(value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < blocksMax)
    return value
  throw invalid('a block out of range')
}

function toText(value: unknown): string {
  if (value === undefined || value === null) return ''
  if (typeof value !== 'string') throw invalid('a delta that is not text')
  return value
}

/** `inputTokens` are those beside the cache; ours are all. */
function toUsage(usage: Fields): TokenUsage {
  const read = toNumber(usage['cacheReadInputTokens'], 0)
  const written = toNumber(usage['cacheWriteInputTokens'], 0)
  return {
    inputTokens: toNumber(usage['inputTokens'], NaN) + read + written,
    cachedInputTokens: read,
    outputTokens: toNumber(usage['outputTokens'], 0),
    reasoningTokens: 0,
  }
}

const finishReasons: ReadonlyMap<string, FinishReason> = new Map([
  ['max_tokens', 'length'],
  ['model_context_window_exceeded', 'length'],
  ['tool_use', 'tool_calls'],
  ['guardrail_intervened', 'content_filter'],
  ['content_filtered', 'content_filter'],
])
/** The model broke its own rules; there is nothing to show. */
const broken: ReadonlySet<string> = new Set(['malformed_model_output', 'malformed_tool_use'])

function toFault(exception: string | undefined): Fault {
  const retryAfterMs = 1_000
  if (exception === 'throttlingException') {
    const text = 'The model server is at its limit. Try again shortly.'
    return new Fault({ code: 'capacity.engine_rate_limited', public: text, retryAfterMs })
  }
  if (exception === 'serviceUnavailableException') {
    const text = 'The model server is busy. Try again shortly.'
    return new Fault({ code: 'capacity.overloaded', public: text, retryAfterMs })
  }
  return failedInStream('exception in the stream')
}
