import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { StreamPart } from '../../../engines/engine.ts'
import { createChatStreamEncoder, doneEvent } from './chat-stream.ts'

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

test('the role comes once for each choice, first, and all chunks share id, created and model', () => {
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
  expect(new Set(chunks.map((chunk) => `${chunk.id} ${chunk.created} ${chunk.model}`)).size).toBe(1)
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
