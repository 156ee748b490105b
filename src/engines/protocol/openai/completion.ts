/**
 * OpenAI's legacy completions as spoken to engines: text that goes on where a prompt ends. An echoed prompt is text like any other here; nothing
 * precedes its first token, so that one's probability is absent on the wire and 0 in its part.
 */
import type { CompletionTask, FinishReason, StreamPart, TokenLogprob } from '../../engine.ts'
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
import { streamOptions } from './chat.ts'
import { fromWireUsage } from './usage.ts'

const choicesMax = 128

export const openAiCompletion: TaskDialect<CompletionTask> = {
  path: '/v1/completions',
  render: ({ task, model, stream, cacheSalt }, { continuousUsage }) => ({
    json: {
      ...task.body,
      prompt: alone(task.body['prompt']),
      model,
      cache_salt: cacheSalt,
      ...(stream
        ? { stream: true, stream_options: streamOptions(continuousUsage) }
        : { stream: false }),
    },
  }),
  read(response) {
    if (response.mediaType === 'text/event-stream') return readCompletionStream(response.body)
    if (response.mediaType === 'application/json') return readWholeCompletion(response.body)
    throw invalid('the engine answered with neither JSON nor an event stream')
  },
}

/** Not every engine takes a list, so one prompt goes without. */
function alone(prompt: unknown): unknown {
  return Array.isArray(prompt) && prompt.length === 1 ? prompt[0] : prompt
}

interface CompletionState {
  readonly finished: Set<number>
  choices: number
}

export async function* readCompletionStream(
  chunks: AsyncIterable<Buffer>,
): AsyncGenerator<StreamPart> {
  const state: CompletionState = { finished: new Set(), choices: 0 }
  const events = createEventReader()
  for await (const chunk of chunks) {
    for (const event of events.read(chunk)) {
      if (event === '[DONE]') {
        for (let choice = 0; choice < state.choices; choice += 1) {
          if (!state.finished.has(choice)) yield { type: 'choice-finish', choice, reason: 'stop' }
        }
        yield { type: 'end' }
        return
      }
      yield* fromCompletion(parseEvent(event), state)
    }
  }
  // Some servers leave [DONE] out. The answer is whole if every choice said why it ended.
  if (state.choices === 0 || state.finished.size < state.choices) {
    throw truncated('stream closed without finish_reason and [DONE]')
  }
  yield { type: 'end' }
}

async function* readWholeCompletion(chunks: AsyncIterable<Buffer>): AsyncGenerator<StreamPart> {
  const state: CompletionState = { finished: new Set(), choices: 0 }
  yield* fromCompletion(parseWhole(await collect(chunks)), state)
  if (state.choices === 0 || state.finished.size < state.choices) {
    throw invalid('a whole answer without choices or finish_reason')
  }
  yield { type: 'end' }
}

function* fromCompletion(value: unknown, state: CompletionState): Generator<StreamPart> {
  if (!isRecord(value)) throw invalid('an event that is not an object')
  if (value['error'] !== undefined && value['error'] !== null) throw failedInStream()
  const choices: unknown = value['choices']
  if (Array.isArray(choices)) {
    for (const choice of choices) if (isRecord(choice)) yield* fromChoice(choice, state)
  }
  if (isRecord(value['usage'])) yield { type: 'usage', usage: fromWireUsage(value['usage']) }
}

function* fromChoice(wire: Record<string, unknown>, state: CompletionState): Generator<StreamPart> {
  const choice = toNumber(wire['index'], 0)
  if (!Number.isInteger(choice) || choice < 0 || choice >= choicesMax) {
    throw invalid('a choice out of range')
  }
  state.choices = Math.max(state.choices, choice + 1)
  const text = typeof wire['text'] === 'string' ? wire['text'] : ''
  const logprobs = fromLogprobs(wire['logprobs'])
  if (text !== '' || logprobs) yield { type: 'text-delta', choice, text, logprobs }
  const reason = wire['finish_reason']
  if (typeof reason === 'string' && !state.finished.has(choice)) {
    state.finished.add(choice)
    yield { type: 'choice-finish', choice, reason: fromFinishReason(reason) }
  }
}

function fromFinishReason(reason: string): FinishReason {
  return reason === 'length' || reason === 'content_filter' ? reason : 'stop'
}

/** Parallel lists, one entry a token. */
function fromLogprobs(wire: unknown): readonly TokenLogprob[] | undefined {
  const { tokens, token_logprobs: values, top_logprobs: tops } = isRecord(wire) ? wire : {}
  if (!Array.isArray(tokens) || tokens.length === 0 || !Array.isArray(values)) return undefined
  return tokens.map((token, index) => ({
    token: String(token),
    logprob: toNumber(values[index], 0),
    bytes: null,
    top_logprobs: Array.isArray(tops) ? fromTop(tops[index]) : [],
  }))
}

function fromTop(wire: unknown): TokenLogprob['top_logprobs'] {
  if (!isRecord(wire)) return []
  return Object.entries(wire).map(([token, value]) => ({
    token,
    logprob: toNumber(value, -9999),
    bytes: null,
  }))
}
