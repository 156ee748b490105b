/** Google's stream of `GenerateContentResponse`s as typed parts (ai.google.dev/api/generate-content). Each event is a response of its own. */
import type { FinishReason, StreamPart, TokenUsage } from '../../engine.ts'
import { failedInStream, invalid, isRecord, parseEvent, toNumber, truncated } from '../answer.ts'
import { createEventReader } from '../sse.ts'

const choicesMax = 128
const toolCallsMax = 128

type Fields = Readonly<Record<string, unknown>>

interface State {
  readonly finishes: Map<number, FinishReason>
  /** How many tools each choice has called. */
  readonly calls: Map<number, number>
  /** As many as were asked for, or have come. */
  choices: number
  usage: Fields | undefined
}

export async function* readContentStream(
  chunks: AsyncIterable<Buffer>,
  choices: number,
): AsyncGenerator<StreamPart> {
  const state: State = { finishes: new Map(), calls: new Map(), choices, usage: undefined }
  const events = createEventReader()
  for await (const chunk of chunks) {
    for (const text of events.read(chunk)) yield* fromResponse(parseEvent(text), state)
  }
  if (state.finishes.size < state.choices) {
    throw truncated('stream closed without a finishReason')
  }
  for (const [choice, reason] of state.finishes) {
    const isCall = reason === 'stop' && state.calls.has(choice)
    yield { type: 'choice-finish', choice, reason: isCall ? 'tool_calls' : reason }
  }
  if (state.usage) yield { type: 'usage', usage: toUsage(state.usage) }
  yield { type: 'end' }
}

function* fromResponse(response: unknown, state: State): Generator<StreamPart> {
  if (!isRecord(response)) throw invalid('an event that is not an object')
  const { candidates, promptFeedback, usageMetadata, error } = response
  if (error !== undefined && error !== null) throw failedInStream()
  if (isRecord(usageMetadata)) state.usage = { ...state.usage, ...usageMetadata }
  if (isRecord(promptFeedback) && typeof promptFeedback['blockReason'] === 'string') {
    // The prompt was refused, so all answers are empty.
    for (let choice = 0; choice < state.choices; choice += 1)
      state.finishes.set(choice, 'content_filter')
  }
  if (!Array.isArray(candidates)) return
  for (const candidate of candidates) {
    if (isRecord(candidate)) yield* fromCandidate(candidate, state)
  }
}

function* fromCandidate(candidate: Fields, state: State): Generator<StreamPart> {
  const choice = candidate['index'] ?? 0
  if (typeof choice !== 'number' || !Number.isInteger(choice) || choice < 0 || choice >= choicesMax)
    throw invalid('a candidate out of range')
  state.choices = Math.max(state.choices, choice + 1)
  const parts = isRecord(candidate['content']) ? candidate['content']['parts'] : undefined
  for (const part of Array.isArray(parts) ? parts : []) {
    if (isRecord(part)) yield* fromPart(part, choice, state)
  }
  const reason = candidate['finishReason']
  if (typeof reason === 'string' && reason !== 'FINISH_REASON_UNSPECIFIED') {
    if (broken.has(reason)) throw failedInStream(`finishReason ${reason}`)
    state.finishes.set(choice, finishReasons.get(reason) ?? 'content_filter')
  }
}

function* fromPart(part: Fields, choice: number, state: State): Generator<StreamPart> {
  const { text, thought, functionCall, thoughtSignature } = part
  if (isRecord(functionCall)) {
    yield* fromCall(functionCall, choice, state)
  } else if (text !== undefined && typeof text !== 'string') {
    throw invalid('text that is none')
  } else if (text !== undefined && text !== '') {
    yield thought === true
      ? { type: 'reasoning-delta', choice, text }
      : { type: 'text-delta', choice, text }
  }
  if (typeof thoughtSignature === 'string' && thoughtSignature !== '') {
    yield { type: 'reasoning-signature', choice, signature: thoughtSignature }
  }
}

/** Calls come whole. Their ids are optional, and clients want one. */
function* fromCall(
  { id, name, args }: Fields,
  choice: number,
  state: State,
): Generator<StreamPart> {
  const toolCall = state.calls.get(choice) ?? 0
  if (typeof name !== 'string' || name === '') throw invalid('a call of a tool without its name')
  if (toolCall >= toolCallsMax) throw invalid('more tool calls than anybody can want')
  if (args !== undefined && args !== null && !isRecord(args)) {
    throw invalid('arguments that are not an object')
  }
  state.calls.set(choice, toolCall + 1)
  const callId = typeof id === 'string' && id !== '' ? id : `call_${choice}_${toolCall}`
  yield { type: 'tool-call-start', choice, toolCall, id: callId, name }
  yield { type: 'tool-call-delta', choice, toolCall, arguments: JSON.stringify(args ?? {}) }
}

function toUsage(usage: Fields): TokenUsage {
  const thoughts = toNumber(usage['thoughtsTokenCount'], 0)
  return {
    inputTokens: toNumber(usage['promptTokenCount'], NaN),
    cachedInputTokens: toNumber(usage['cachedContentTokenCount'], 0),
    outputTokens: toNumber(usage['candidatesTokenCount'], 0) + thoughts,
    reasoningTokens: thoughts,
  }
}

/** The others are about what may be said: safety, recitation, forbidden words. */
const finishReasons: ReadonlyMap<string, FinishReason> = new Map([
  ['STOP', 'stop'],
  ['MAX_TOKENS', 'length'],
])
/** The model broke its own rules; there is nothing to show. */
const broken: ReadonlySet<string> = new Set([
  'MALFORMED_FUNCTION_CALL',
  'UNEXPECTED_TOOL_CALL',
  'TOO_MANY_TOOL_CALLS',
  'MISSING_THOUGHT_SIGNATURE',
  'MALFORMED_RESPONSE',
  'OTHER',
])
