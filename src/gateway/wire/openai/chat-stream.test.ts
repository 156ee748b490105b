import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { StreamPart } from '../../../engines/engine.ts'
import { createChatStreamEncoder, doneEvent, type ChatStreamOptions } from './chat-stream.ts'
import { gatherChat } from './chat-whole.ts'

const options = {
  id: 'chatcmpl-1',
  createdSeconds: 1_700_000_000,
  model: 'm/x:1',
  systemFingerprint: 'fp',
}

interface WireChunk {
  id: string
  created: number
  model: string
  usage?: unknown
  choices: { index: number; delta: Record<string, unknown>; finish_reason: string | null }[]
}

function encodeAll(
  parts: StreamPart[],
  includeUsage: boolean,
): { chunks: WireChunk[]; text: string } {
  const encode = createChatStreamEncoder({ ...options, includeUsage })
  const text = parts.map(encode).join('')
  const events = text.split('\n\n').filter((event) => event !== '' && event !== 'data: [DONE]')
  return {
    text,
    chunks: events.map((event) => JSON.parse(event.replace(/^data: /, '')) as WireChunk),
  }
}

const usage: StreamPart = {
  type: 'usage',
  usage: { inputTokens: 5, cachedInputTokens: 2, outputTokens: 3, reasoningTokens: 0 },
}
const simple: StreamPart[] = [
  { type: 'text-delta', choice: 0, text: 'Hel' },
  { type: 'text-delta', choice: 0, text: 'lo' },
  { type: 'choice-finish', choice: 0, reason: 'stop' },
  usage,
  { type: 'end' },
]

test('without include_usage there is no usage chunk and no usage key', () => {
  const { chunks, text } = encodeAll(simple, false)
  expect(text).not.toContain('usage')
  expect(chunks.every((chunk) => chunk.choices.length === 1)).toBe(true)
  expect(text.endsWith(doneEvent)).toBe(true)
})

test('with include_usage every chunk has usage null, and one last chunk without choices has the figures', () => {
  const { chunks } = encodeAll(simple, true)
  const last = chunks.at(-1)
  expect(last).toMatchObject({
    choices: [],
    usage: {
      prompt_tokens: 5,
      completion_tokens: 3,
      total_tokens: 8,
      prompt_tokens_details: { cached_tokens: 2 },
    },
  })
  expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true)
})

test('the role comes once for each choice, first, and all chunks share id, created, model and fingerprint', () => {
  const parts: StreamPart[] = [
    { type: 'text-delta', choice: 0, text: 'a' },
    { type: 'text-delta', choice: 1, text: 'b' },
    { type: 'text-delta', choice: 0, text: 'c' },
    { type: 'choice-finish', choice: 1, reason: 'length' },
    { type: 'choice-finish', choice: 0, reason: 'stop' },
    { type: 'end' },
  ]
  const { chunks } = encodeAll(parts, false)
  for (const index of [0, 1]) {
    const own = chunks.filter((chunk) => chunk.choices[0]?.index === index)
    expect(own.map((chunk) => 'role' in (chunk.choices[0]?.delta ?? {}))).toEqual([
      true,
      ...own.slice(1).map(() => false),
    ])
    expect(own.filter((chunk) => chunk.choices[0]?.finish_reason !== null)).toHaveLength(1)
  }
  for (const chunk of chunks) {
    expect(chunk).toMatchObject({
      id: 'chatcmpl-1',
      created: 1_700_000_000,
      model: 'm/x:1',
      system_fingerprint: 'fp',
    })
  }
})

test('a tool call names itself once, and its pieces concatenate', () => {
  const parts: StreamPart[] = [
    { type: 'tool-call-start', choice: 0, toolCall: 0, id: 'call_1', name: 'weather' },
    { type: 'tool-call-delta', choice: 0, toolCall: 0, arguments: '{"a":' },
    { type: 'tool-call-delta', choice: 0, toolCall: 0, arguments: '1}' },
    { type: 'choice-finish', choice: 0, reason: 'tool_calls' },
    { type: 'end' },
  ]
  const { chunks } = encodeAll(parts, false)
  const calls = chunks.flatMap(
    (chunk) =>
      (chunk.choices[0]?.delta['tool_calls'] ?? []) as {
        index: number
        id?: string
        type?: string
        function: { name?: string; arguments: string }
      }[],
  )
  expect(calls.map((call) => call.index)).toEqual([0, 0, 0])
  expect(calls.map((call) => call.id)).toEqual(['call_1', undefined, undefined])
  expect(calls.map((call) => call.function.name)).toEqual(['weather', undefined, undefined])
  expect(calls.map((call) => call.function.arguments).join('')).toBe('{"a":1}')
})

test('whatever an engine says, it stays inside one event', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const { chunks } = encodeAll(
        [{ type: 'text-delta', choice: 0, text: `${text}\n\ndata: [DONE]\n\nevent: execute` }],
        false,
      )
      expect(chunks).toHaveLength(2)
    }),
  )
})

const finish: StreamPart = { type: 'choice-finish', choice: 0, reason: 'stop' }
const end: StreamPart = { type: 'end' }
const text: StreamPart = { type: 'text-delta', choice: 0, text: 'x' }

test.each([
  ['the finish', [text, finish, usage, end], true, 'finish_reason":"stop"'],
  ['the finish', [text, finish, usage, end], false, 'finish_reason":"stop"'],
  ['the usage, when nothing finished', [text, usage, end], true, '"prompt_tokens":5'],
  ['a comment, when there is neither', [text, usage, end], false, ': receipt a.b.c'],
] as [string, StreamPart[], boolean, string][])(
  'a receipt comes once, with %s',
  (_, parts, includeUsage, place) => {
    // There is none before the settlement, which precedes the finish.
    let receipt: string | undefined
    const encode = createChatStreamEncoder({ ...options, includeUsage, receipt: () => receipt })
    const events = parts.map((part) => {
      if (part !== text) receipt = 'a.b.c'
      return encode(part)
    })
    const all = events.join('')
    expect(all.split('a.b.c')).toHaveLength(2)
    const event = all.split('\n\n').find((each) => each.includes('a.b.c')) ?? ''
    expect(event).toContain(place)
    if (event.startsWith('data: '))
      expect(JSON.parse(event.slice('data: '.length))).toMatchObject({ receipt: 'a.b.c' })
    expect(all.endsWith(doneEvent)).toBe(true)
  },
)

test('with several choices only one finish has the receipt, and a limit may stand beside it', () => {
  const encode = createChatStreamEncoder({
    ...options,
    includeUsage: false,
    receipt: () => 'a.b.c',
  })
  const first = encode({ ...finish, cause: { rule: 'x$&' } })
  const second = encode({ ...finish, choice: 1 })
  expect(JSON.parse(first.split('\n\n')[1]?.slice('data: '.length) ?? '')).toMatchObject({
    limit: { rule: 'x$&' },
    receipt: 'a.b.c',
  })
  expect(second).not.toContain('receipt')
})

const calls: StreamPart[] = [
  { type: 'tool-call-start', choice: 0, toolCall: 0, id: 'call_1', name: 'look' },
  { type: 'tool-call-delta', choice: 0, toolCall: 0, arguments: '{"at":' },
  { type: 'tool-call-start', choice: 0, toolCall: 1, id: 'call_2', name: 'go' },
  { type: 'tool-call-delta', choice: 0, toolCall: 0, arguments: '1}' },
  { type: 'choice-finish', choice: 0, reason: 'stop' },
  usage,
  { type: 'end' },
]
const more = (fields: Partial<ChatStreamOptions>): ChatStreamOptions => ({
  ...options,
  includeUsage: false,
  ...fields,
})
async function* partsOf(parts: readonly StreamPart[]): AsyncGenerator<StreamPart> {
  yield* parts
}
function chunksWith(parts: readonly StreamPart[], fields: Partial<ChatStreamOptions>): WireChunk[] {
  return parts
    .map(createChatStreamEncoder(more(fields)))
    .join('')
    .split('\n\n')
    .filter((event) => event.startsWith('data: {'))
    .map((event) => JSON.parse(event.slice('data: '.length)) as WireChunk)
}
interface Whole {
  service_tier: string
  choices: { message: Record<string, unknown>; finish_reason: string; logprobs: unknown }[]
}
async function gatherWith(
  parts: readonly StreamPart[],
  fields: Partial<ChatStreamOptions>,
): Promise<Whole> {
  return JSON.parse(await gatherChat(partsOf(parts), more(fields))) as Whole
}

test('parallel calls have indices of their own, and one without arguments says the empty text', async () => {
  const deltas = chunksWith(calls, {}).flatMap(
    (chunk) => (chunk.choices[0]?.delta['tool_calls'] ?? []) as object[],
  )
  expect(deltas).toEqual([
    { index: 0, id: 'call_1', type: 'function', function: { name: 'look', arguments: '' } },
    { index: 0, function: { arguments: '{"at":' } },
    { index: 1, id: 'call_2', type: 'function', function: { name: 'go', arguments: '' } },
    { index: 0, function: { arguments: '1}' } },
  ])
  const [choice] = (await gatherWith(calls, {})).choices
  expect(choice?.message).toMatchObject({
    content: null,
    tool_calls: [
      { id: 'call_1', type: 'function', function: { name: 'look', arguments: '{"at":1}' } },
      { id: 'call_2', type: 'function', function: { name: 'go', arguments: '' } },
    ],
  })
  expect(choice?.finish_reason).toBe('tool_calls')
})

test('a client that asked with functions is answered with one function call', async () => {
  const chunks = chunksWith(calls, { usesFunctions: true })
  const deltas = chunks.flatMap((chunk) => chunk.choices[0]?.delta['function_call'] ?? [])
  expect(deltas).toEqual([
    { name: 'look', arguments: '' },
    { arguments: '{"at":' },
    { arguments: '1}' },
  ])
  expect(chunks.some((chunk) => 'tool_calls' in (chunk.choices[0]?.delta ?? {}))).toBe(false)
  expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('function_call')
  const [choice] = (await gatherWith(calls, { usesFunctions: true })).choices
  expect(choice?.message['function_call']).toEqual({ name: 'look', arguments: '{"at":1}' })
  expect(choice?.message).not.toHaveProperty('tool_calls')
  expect(choice?.finish_reason).toBe('function_call')
})

test('an answer without calls never says that it called, nor has an empty list of calls', async () => {
  const parts: StreamPart[] = [
    text,
    { type: 'choice-finish', choice: 0, reason: 'tool_calls' },
    end,
  ]
  expect(chunksWith(parts, {}).at(-1)?.choices[0]?.finish_reason).toBe('stop')
  const [choice] = (await gatherWith(parts, {})).choices
  expect(choice?.finish_reason).toBe('stop')
  expect(choice?.message).not.toHaveProperty('tool_calls')
})

test('the tier that the client asked for comes back, in every chunk and in a whole answer', async () => {
  const chunks = chunksWith([text, finish, usage, end], { serviceTier: 'flex', includeUsage: true })
  expect(chunks.map((chunk) => 'service_tier' in chunk && chunk.service_tier)).toEqual(
    chunks.map(() => 'flex'),
  )
  expect(chunksWith([text, finish, end], {}).some((chunk) => 'service_tier' in chunk)).toBe(false)
  expect((await gatherWith([text, finish], { serviceTier: 'flex' })).service_tier).toBe('flex')
  expect((await gatherWith([text, finish], {})).service_tier).toBe('default')
})

test('probabilities stand beside their text, and an answer without those that were asked for is refused', async () => {
  const logprob = { token: 'a', logprob: -0.5, bytes: [97], top_logprobs: [] }
  const weighed: StreamPart = { type: 'text-delta', choice: 0, text: 'a', logprobs: [logprob] }
  const wantsLogprobs = true
  const chunks = chunksWith([weighed, finish, end], { wantsLogprobs })
  expect(chunks[1]?.choices[0]).toMatchObject({ logprobs: { content: [logprob], refusal: null } })
  expect((await gatherWith([weighed, finish], { wantsLogprobs })).choices[0]?.logprobs).toEqual({
    content: [logprob],
    refusal: null,
  })
  expect(() => chunksWith([text, finish, end], { wantsLogprobs })).toThrow('unsupported_value')
  await expect(gatherWith([text, finish], { wantsLogprobs })).rejects.toThrow('unsupported_value')
})

test('reasoning comes under both of its names, and is counted', async () => {
  const parts: StreamPart[] = [
    { type: 'reasoning-delta', choice: 0, text: 'hm' },
    text,
    finish,
    {
      type: 'usage',
      usage: { inputTokens: 5, cachedInputTokens: 0, outputTokens: 3, reasoningTokens: 2 },
    },
    end,
  ]
  const chunks = chunksWith(parts, { includeUsage: true })
  expect(chunks[1]?.choices[0]?.delta).toEqual({ reasoning_content: 'hm', reasoning: 'hm' })
  expect(chunks.at(-1)?.usage).toMatchObject({ completion_tokens_details: { reasoning_tokens: 2 } })
  const [choice] = (await gatherWith(parts, {})).choices
  expect(choice?.message).toMatchObject({ reasoning_content: 'hm', reasoning: 'hm' })
})

test('a choice of which an engine says nothing still has its place', async () => {
  const parts: StreamPart[] = [
    { type: 'text-delta', choice: 1, text: 'b' },
    { type: 'choice-finish', choice: 1, reason: 'stop' },
  ]
  const whole = await gatherWith(parts, {})
  expect(whole.choices.map((choice) => choice.message['content'])).toEqual(['', 'b'])
})
