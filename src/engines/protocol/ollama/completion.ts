/**
 * Text that goes on, as Ollama speaks it (docs.ollama.com/api/generate): its own route, asked for `raw`, because the one in OpenAI's shape puts each
 * prompt into the chat's template. One prompt, as text; the answer is a line of JSON for each piece, the last with the counts.
 */
import { StringDecoder } from 'node:string_decoder'
import { Fault } from '../../../platform/fault.ts'
import type { CompletionTask, StreamPart, TokenLogprob } from '../../engine.ts'
import { failedInStream, invalid, isRecord, parseEvent, toNumber, truncated } from '../answer.ts'
import type { TaskDialect } from '../connection.ts'
import { eventBytesMax } from '../sse.ts'

export const ollamaCompletion: TaskDialect<CompletionTask> = {
  path: '/api/generate',
  render: ({ task: { body }, model, stream }) => ({
    json: {
      model,
      prompt: onlyPrompt(body),
      raw: true,
      // A prompt that is too long is refused, not cut.
      truncate: false,
      stream,
      options: optionsOf(body),
      ...logprobsOf(body),
    },
  }),
  read: (answer) => readLines(answer.body),
}

function onlyPrompt({ prompt, echo, suffix }: CompletionTask['body']): string {
  if (echo === true) throw cannot('echo', 'does not repeat prompts')
  if (typeof suffix === 'string' && suffix !== '') throw cannot('suffix', 'takes no suffix')
  const only: unknown = Array.isArray(prompt) && prompt.length === 1 ? prompt[0] : prompt
  if (typeof only !== 'string') throw cannot('prompt', 'takes one prompt at a time, as text')
  return only
}

/** Ollama's names for OpenAI's numbers; `undefined` leaves it to the model. */
function optionsOf(body: CompletionTask['body']): Readonly<Record<string, unknown>> {
  const { temperature, top_p, seed, frequency_penalty, presence_penalty, stop } = body
  return {
    // As OpenAI has it where nothing is said.
    num_predict: body['max_tokens'] ?? 16,
    temperature: temperature ?? undefined,
    top_p: top_p ?? undefined,
    seed: seed ?? undefined,
    frequency_penalty: frequency_penalty ?? undefined,
    presence_penalty: presence_penalty ?? undefined,
    stop: stop === null || stop === undefined || Array.isArray(stop) ? (stop ?? undefined) : [stop],
  }
}

function logprobsOf({ logprobs }: CompletionTask['body']): Readonly<Record<string, unknown>> {
  return typeof logprobs === 'number' ? { logprobs: true, top_logprobs: logprobs } : {}
}

async function* readLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<StreamPart> {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  for await (const chunk of chunks) {
    const lines = (rest + decoder.write(chunk)).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > eventBytesMax) throw invalid('a line without end')
    for (const line of lines) {
      if (line.trim() === '') continue
      if (yield* fromLine(line)) return
    }
  }
  // A whole answer is one line, with or without its end.
  if (rest.trim() !== '' && (yield* fromLine(rest))) return
  throw truncated('the answer ended before its last line')
}

/** Whether it was the last. */
function* fromLine(line: string): Generator<StreamPart, boolean> {
  const value = parseEvent(line)
  if (!isRecord(value)) throw invalid('a line that is not an object')
  if (value['error'] !== undefined && value['error'] !== null) throw failedInStream()
  const text = typeof value['response'] === 'string' ? value['response'] : ''
  const logprobs = fromLogprobs(value['logprobs'])
  if (text !== '' || logprobs) yield { type: 'text-delta', choice: 0, text, logprobs }
  if (value['done'] !== true) return false
  const reason = value['done_reason'] === 'length' ? 'length' : 'stop'
  yield { type: 'choice-finish', choice: 0, reason }
  yield {
    type: 'usage',
    usage: {
      inputTokens: toNumber(value['prompt_eval_count'], NaN),
      cachedInputTokens: 0,
      outputTokens: toNumber(value['eval_count'], 0),
      reasoningTokens: 0,
    },
  }
  yield { type: 'end' }
  return true
}

function fromLogprobs(wire: unknown): readonly TokenLogprob[] | undefined {
  if (!Array.isArray(wire) || wire.length === 0) return undefined
  return wire.filter(isRecord).map((entry) => ({
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
    logprob: toNumber(wire['logprob'], -9999),
    bytes: Array.isArray(bytes) ? bytes.filter((byte) => typeof byte === 'number') : null,
  }
}

function cannot(param: string, what: string): Fault {
  return new Fault({
    code: 'catalog.capability_missing',
    public: `The model server of this model ${what}.`,
    param,
  })
}
