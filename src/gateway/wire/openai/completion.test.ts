import { expect, test } from 'vitest'
import type { StreamPart, TokenLogprob } from '../../../engines/engine.ts'
import { Fault } from '../../../platform/fault.ts'
import { toCompletionsWork } from '../../endpoints/completions.ts'
import { parseCompletionRequest } from './completion-request.ts'
import {
  createCompletionEncoder,
  gatherCompletion,
  type CompletionOptions,
} from './completion-stream.ts'

const promptForms = [
  { name: 'a text', prompt: 'one', want: ['one'] },
  { name: 'a list of texts', prompt: ['one', 'two'], want: ['one', 'two'] },
  { name: 'token ids', prompt: [1, 2], want: [[1, 2]] },
  { name: 'a list of token ids', prompt: [[1, 2], [3]], want: [[1, 2], [3]] },
]
for (const { name, prompt, want } of promptForms) {
  test(`a prompt may be ${name}`, () => {
    const request = parseCompletionRequest({ model: 'm', prompt })
    // OpenAI's documented default of this endpoint.
    expect(request.body).toEqual({ prompt: want, max_tokens: 16 })
    const work = toCompletionsWork({ model: 'm', prompt, n: 3, max_tokens: 5 })
    expect(work).toMatchObject({ choices: want.length * 3, maxOutputTokens: 5 })
  })
}

test('fields pass to the engine as they are, null is absent, and the rest stays here', () => {
  const fields = {
    temperature: 0,
    suffix: 'end',
    logprobs: 0,
    n: 2,
    stop: ['a'],
    seed: 1,
    top_k: 4,
  }
  const request = parseCompletionRequest({
    model: 'm',
    prompt: 'x',
    max_tokens: 3,
    ...fields,
    best_of: 2,
    top_p: null,
    user: 'u',
    stream_options: null,
    cache_salt: 'mine',
  })
  expect(request.body).toEqual({ prompt: ['x'], max_tokens: 3, ...fields })
})

test.each([
  ['no prompt', {}, 'prompt'],
  ['an empty list', { prompt: [] }, 'prompt'],
  ['an empty list of token ids', { prompt: [[]] }, 'prompt[0]'],
  ['a mixed list', { prompt: ['a', 1] }, 'prompt'],
  ['a negative token id', { prompt: [-1] }, 'prompt[0]'],
  ['too many prompts', { prompt: Array.from({ length: 129 }, () => 'a') }, 'prompt'],
  ['too many answers', { prompt: ['a', 'b'], n: 65 }, 'n'],
  ['the best of several', { prompt: 'a', best_of: 2 }, 'best_of'],
  ['the best of fewer than wanted', { prompt: 'a', n: 2, best_of: 1 }, 'best_of'],
  ['logprobs as in chats', { prompt: 'a', logprobs: true }, 'logprobs'],
  ['too many logprobs', { prompt: 'a', logprobs: 6 }, 'logprobs'],
  ['an answer of no tokens', { prompt: 'a', max_tokens: 0 }, 'max_tokens'],
  ['a prompt and messages', { prompt: 'a', messages: [{ role: 'user', content: 'b' }] }, 'prompt'],
])('%s is refused, and param says where', (_, fields, want) => {
  try {
    toCompletionsWork({ model: 'm', ...fields })
    expect.unreachable()
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    expect([error.status, error.param]).toEqual([400, want])
  }
})

test('messages in place of a prompt make it a chat', () => {
  const messages = [{ role: 'user', content: 'hi' }]
  expect(toCompletionsWork({ model: 'm', messages, prompt: null })).toMatchObject({
    endpoint: '/v1/completions',
    tasks: [{ kind: 'chat', body: { messages } }],
    maxOutputTokens: undefined,
  })
})

test('a text is echoed here; where ids or probabilities are asked for, by the engine', () => {
  const echoOf = (fields: object) => parseCompletionRequest({ model: 'm', echo: true, ...fields })
  expect(echoOf({ prompt: 'a' })).toMatchObject({ echo: 'gateway' })
  expect(echoOf({ prompt: 'a' }).body).not.toHaveProperty('echo')
  for (const fields of [{ prompt: [1] }, { prompt: 'a', logprobs: 1 }]) {
    expect(echoOf(fields)).toMatchObject({ echo: 'engine', body: { echo: true } })
  }
  // Only the prompt is looked at: nothing is generated, and nothing is charged as output.
  const scoring = { model: 'm', prompt: ['a', 'b'], echo: true, logprobs: 1, max_tokens: 0 }
  expect(toCompletionsWork(scoring)).toMatchObject({ choices: 0 })
})

const options: CompletionOptions = {
  id: 'cmpl-1',
  createdSeconds: 1_700_000_000,
  model: 'm',
  systemFingerprint: 'fp',
  includeUsage: true,
  logprobs: undefined,
  echo: 'none',
  prompts: ['One ', 'Two '],
  n: 2,
}
const logprob = (token: string, value: number): TokenLogprob => ({
  token,
  logprob: value,
  bytes: null,
  top_logprobs: [
    { token, logprob: value, bytes: null },
    { token: '?', logprob: -9, bytes: null },
  ],
})
const usage: StreamPart = {
  type: 'usage',
  usage: { inputTokens: 5, cachedInputTokens: 2, outputTokens: 3, reasoningTokens: 0 },
}
const finishes = [0, 1, 2, 3].map((choice): StreamPart => {
  return { type: 'choice-finish', choice, reason: 'length' }
})
const end: StreamPart = { type: 'end' }
const said: StreamPart[] = [
  { type: 'text-delta', choice: 2, text: 'c' },
  { type: 'text-delta', choice: 0, text: 'a' },
  { type: 'text-delta', choice: 2, text: 'C' },
]

interface Chunk {
  object: string
  usage: unknown
  choices: { index: number; text: string; finish_reason: string | null; logprobs: unknown }[]
}
function chunksOf(parts: StreamPart[], fields: Partial<CompletionOptions> = {}): Chunk[] {
  const text = parts.map(createCompletionEncoder({ ...options, ...fields })).join('')
  const events = text.split('\n\n').filter((event) => event !== '')
  expect(events.pop()).toBe('data: [DONE]')
  return events.map((event) => JSON.parse(event.slice('data: '.length)) as Chunk)
}
async function* partsOf(parts: StreamPart[]): AsyncGenerator<StreamPart> {
  yield* parts
}
async function wholeOf(parts: StreamPart[], fields: Partial<CompletionOptions> = {}) {
  return JSON.parse(await gatherCompletion(partsOf(parts), { ...options, ...fields })) as Chunk
}

test('streamed and whole, each choice has its text, one finish, and one count of all tokens', async () => {
  const parts = [...said, ...finishes, usage, end]
  const chunks = chunksOf(parts)
  const textOf = (index: number) =>
    chunks.flatMap((chunk) => chunk.choices.filter((choice) => choice.index === index))
  expect(textOf(2).map((choice) => choice.text)).toEqual(['c', 'C', ''])
  for (const index of [0, 1, 2, 3]) {
    expect(textOf(index).filter((choice) => choice.finish_reason === 'length')).toHaveLength(1)
  }
  expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 8 } })
  expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true)
  expect(chunksOf(parts, { includeUsage: false }).some((chunk) => 'usage' in chunk)).toBe(false)
  const whole = await wholeOf(parts)
  expect(whole.object).toBe('text_completion')
  expect(whole.choices.map((choice) => choice.text)).toEqual(['a', '', 'cC', ''])
  expect(whole.usage).toMatchObject({ prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 })
})

test('an echoed prompt precedes every answer to it once, even an empty one', async () => {
  const parts = [...said, ...finishes, usage, end]
  const whole = await wholeOf(parts, { echo: 'gateway' })
  const texts = ['One a', 'One ', 'Two cC', 'Two ']
  expect(whole.choices.map((choice) => choice.text)).toEqual(texts)
  const streamed = ['', '', '', '']
  for (const { choices } of chunksOf(parts, { echo: 'gateway' })) {
    for (const { index, text } of choices) streamed[index] += text
  }
  expect(streamed).toEqual(texts)
})

test('probabilities have the legacy form, with offsets into the text', async () => {
  const parts: StreamPart[] = [
    { type: 'text-delta', choice: 0, text: 'One', logprobs: [logprob('On', 0), logprob('e', -1)] },
    { type: 'text-delta', choice: 0, text: ' two', logprobs: [logprob(' two', -2)] },
    ...finishes.slice(0, 1),
    end,
  ]
  const want = {
    tokens: ['On', 'e', ' two'],
    token_logprobs: [0, -1, -2],
    top_logprobs: [
      { On: 0, '?': -9 },
      { e: -1, '?': -9 },
      { ' two': -2, '?': -9 },
    ],
    text_offset: [0, 2, 3],
  }
  const single = { prompts: ['x'], n: 1, logprobs: 2 }
  expect((await wholeOf(parts, single)).choices[0]?.logprobs).toEqual(want)
  // The first token of an echoed prompt has nothing before it.
  expect((await wholeOf(parts, { ...single, echo: 'engine' })).choices[0]?.logprobs).toEqual({
    ...want,
    token_logprobs: [null, -1, -2],
    top_logprobs: [null, ...want.top_logprobs.slice(1)],
  })
  expect(chunksOf(parts, single)[1]?.choices[0]?.logprobs).toMatchObject({ text_offset: [3] })
  expect((await wholeOf(parts, { ...single, logprobs: 0 })).choices[0]?.logprobs).toMatchObject({
    top_logprobs: null,
  })
})

test('an engine that leaves out the probabilities that were asked for is found out', async () => {
  const parts = [...said, ...finishes, usage, end]
  await expect(wholeOf(parts, { logprobs: 1 })).rejects.toThrow('unsupported_value')
  expect(() => chunksOf(parts, { logprobs: 1 })).toThrow('unsupported_value')
})
