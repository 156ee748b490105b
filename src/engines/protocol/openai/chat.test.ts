/** The reader of engines' streams, over bytes cut at every position. */
import { expect, test } from 'vitest'
import { Fault } from '../../../platform/fault.ts'
import type { StreamPart } from '../../engine.ts'
import { readChatStream } from './chat.ts'

const chunk = (choices: unknown[], more: Record<string, unknown> = {}): string =>
  `data: ${JSON.stringify({ id: 'x', object: 'chat.completion.chunk', choices, ...more })}\n\n`
const delta = (content: string): string =>
  chunk([{ index: 0, delta: { content }, finish_reason: null }])
const finish = chunk([{ index: 0, delta: {}, finish_reason: 'stop' }])
const usage = chunk([], {
  usage: { prompt_tokens: 7, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 3 } },
})
const done = 'data: [DONE]\n\n'

async function* pieces(...buffers: Buffer[]): AsyncGenerator<Buffer> {
  yield* buffers
}

async function read(bytes: AsyncIterable<Buffer>): Promise<StreamPart[]> {
  const parts: StreamPart[] = []
  for await (const part of readChatStream(bytes)) parts.push(part)
  return parts
}

async function codeOf(text: string): Promise<string> {
  try {
    await read(pieces(Buffer.from(text)))
    return 'accepted'
  } catch (error) {
    return error instanceof Fault ? error.code : String(error)
  }
}

const whole = delta('Grüß ') + delta('Gott 👋') + finish + usage + done
const wanted: StreamPart[] = [
  { type: 'text-delta', choice: 0, text: 'Grüß ', logprobs: undefined },
  { type: 'text-delta', choice: 0, text: 'Gott 👋', logprobs: undefined },
  { type: 'choice-finish', choice: 0, reason: 'stop' },
  {
    type: 'usage',
    usage: { inputTokens: 7, cachedInputTokens: 3, outputTokens: 2, reasoningTokens: 0 },
  },
  { type: 'end' },
]

test('a stream cut in two at any byte reads the same', async () => {
  const bytes = Buffer.from(whole)
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    expect(await read(pieces(bytes.subarray(0, cut), bytes.subarray(cut)))).toEqual(wanted)
  }
})

test('a stream that arrives byte by byte reads the same', async () => {
  expect(
    await read(pieces(...Array.from(Buffer.from(whole), (byte) => Buffer.from([byte])))),
  ).toEqual(wanted)
})

test('CRLF, comments, fields without a space and unknown fields are understood', async () => {
  const text = `: hello\r\nevent: message\r\nid: 4\r\n${whole.replaceAll('\n', '\r\n').replaceAll('data: ', 'data:')}`
  expect(await read(pieces(Buffer.from(text)))).toEqual(wanted)
})

const truncations = [
  {
    name: 'a clean close before any finish reason is a truncation',
    given: delta('half an ans'),
    want: 'upstream.truncated',
  },
  {
    name: 'a clean close with nothing at all is a truncation',
    given: '',
    want: 'upstream.truncated',
  },
  {
    name: 'a close after the finish reason, without [DONE], is whole',
    given: delta('x') + finish,
    want: 'accepted',
  },
  {
    name: 'one of two choices unfinished is a truncation',
    given: chunk([{ index: 1, delta: { content: 'b' } }]) + finish,
    want: 'upstream.truncated',
  },
  {
    name: 'an error event is a failure',
    given: delta('x') + 'data: {"error":{"message":"CUDA out of memory on gpu-7"}}\n\n',
    want: 'upstream.failed',
  },
  {
    name: 'an event that is not JSON is refused',
    given: 'data: <html>\n\n',
    want: 'upstream.invalid_response',
  },
  {
    name: 'an event that is no object is refused',
    given: 'data: [1]\n\n',
    want: 'upstream.invalid_response',
  },
  {
    name: 'an event without end is refused',
    given: `data: ${'x'.repeat(1_100_000)}`,
    want: 'upstream.invalid_response',
  },
  {
    name: 'a choice far out of range is refused',
    given: chunk([{ index: 1e9, delta: { content: 'x' } }]),
    want: 'upstream.invalid_response',
  },
  {
    name: 'arguments of a tool that was never named are refused',
    given: chunk([
      { index: 0, delta: { tool_calls: [{ index: 0, function: { arguments: '{' } }] } },
    ]),
    want: 'upstream.invalid_response',
  },
]
for (const { name, given, want } of truncations) {
  test(name, async () => {
    expect(await codeOf(given)).toBe(want)
  })
}

test("a failure's public text holds nothing that the engine said", async () => {
  const reading = read(pieces(Buffer.from('data: {"error":{"message":"host gpu-7.internal"}}\n\n')))
  await expect(reading).rejects.toSatisfy((error: Fault) => !error.public.includes('gpu-7'))
})

test('parallel tool calls keep their indices, and a missing id or index is made up', async () => {
  const text =
    chunk([
      {
        index: 0,
        delta: {
          tool_calls: [
            {
              index: 0,
              id: 'call_a',
              type: 'function',
              function: { name: 'weather', arguments: '' },
            },
          ],
        },
      },
    ]) +
    chunk([
      { index: 0, delta: { tool_calls: [{ index: 0, function: { arguments: '{"city":' } }] } },
    ]) +
    chunk([
      {
        index: 0,
        delta: { tool_calls: [{ index: 1, function: { name: 'time', arguments: '{}' } }] },
      },
    ]) +
    chunk([
      { index: 0, delta: { tool_calls: [{ index: 0, function: { arguments: '"Bern"}' } }] } },
    ]) +
    chunk([{ index: 0, delta: {}, finish_reason: 'tool_calls' }]) +
    done
  expect(await read(pieces(Buffer.from(text)))).toEqual([
    { type: 'tool-call-start', choice: 0, toolCall: 0, id: 'call_a', name: 'weather' },
    { type: 'tool-call-delta', choice: 0, toolCall: 0, arguments: '{"city":' },
    { type: 'tool-call-start', choice: 0, toolCall: 1, id: 'call_0_1', name: 'time' },
    { type: 'tool-call-delta', choice: 0, toolCall: 1, arguments: '{}' },
    { type: 'tool-call-delta', choice: 0, toolCall: 0, arguments: '"Bern"}' },
    { type: 'choice-finish', choice: 0, reason: 'tool_calls' },
    { type: 'end' },
  ])
})

test('reasoning is read from both of its names, and logprobs pass', async () => {
  const logprob = {
    token: 'a',
    logprob: -0.5,
    bytes: [97],
    top_logprobs: [{ token: 'a', logprob: -0.5, bytes: [97] }],
  }
  const text =
    chunk([{ index: 0, delta: { reasoning_content: 'hm' } }]) +
    chunk([{ index: 0, delta: { reasoning: ' so' } }]) +
    chunk([{ index: 0, delta: { content: 'a' }, logprobs: { content: [logprob] } }]) +
    finish +
    done
  expect(await read(pieces(Buffer.from(text)))).toEqual([
    { type: 'reasoning-delta', choice: 0, text: 'hm' },
    { type: 'reasoning-delta', choice: 0, text: ' so' },
    { type: 'text-delta', choice: 0, text: 'a', logprobs: [logprob] },
    { type: 'choice-finish', choice: 0, reason: 'stop' },
    { type: 'end' },
  ])
})

test('calls that an engine all numbers 0 are told apart by their ids', async () => {
  const call = (id: string, name: string, more: object = {}) =>
    chunk([
      {
        index: 0,
        delta: { tool_calls: [{ index: 0, id, function: { name, arguments: '{}' }, ...more }] },
      },
    ])
  const text = call('call_a', 'look') + call('call_b', 'go', { index: undefined }) + finish + done
  expect(await read(pieces(Buffer.from(text)))).toEqual([
    { type: 'tool-call-start', choice: 0, toolCall: 0, id: 'call_a', name: 'look' },
    { type: 'tool-call-delta', choice: 0, toolCall: 0, arguments: '{}' },
    { type: 'tool-call-start', choice: 0, toolCall: 1, id: 'call_b', name: 'go' },
    { type: 'tool-call-delta', choice: 0, toolCall: 1, arguments: '{}' },
    { type: 'choice-finish', choice: 0, reason: 'stop' },
    { type: 'end' },
  ])
})

test('a name that is repeated with each piece begins no new call, nor does a changing id alone', async () => {
  const piece = (id: string, fields: object) =>
    chunk([{ index: 0, delta: { tool_calls: [{ index: 0, id, function: fields }] } }])
  const text =
    piece('call_a', { name: 'look', arguments: '{' }) +
    piece('call_a', { name: 'look', arguments: '"a":' }) +
    piece('call_z', { arguments: '1}' }) +
    finish +
    done
  const parts = await read(pieces(Buffer.from(text)))
  expect(parts.filter((part) => part.type === 'tool-call-start')).toHaveLength(1)
  const args = parts.flatMap((part) => (part.type === 'tool-call-delta' ? [part.arguments] : []))
  expect(args.join('')).toBe('{"a":1}')
})

test('every choice has a reason for its end before the end, even if the engine forgot it', async () => {
  const text =
    chunk([{ index: 1, delta: { content: 'b' }, finish_reason: 'length' }]) +
    chunk([{ index: 0, delta: { content: 'a' } }]) +
    done
  expect((await read(pieces(Buffer.from(text)))).slice(1)).toEqual([
    { type: 'choice-finish', choice: 1, reason: 'length' },
    { type: 'text-delta', choice: 0, text: 'a', logprobs: undefined },
    { type: 'choice-finish', choice: 0, reason: 'stop' },
    { type: 'end' },
  ])
})

test.each([
  ['vLLM', { stop_reason: 'END' }, 'END'],
  ['SGLang', { matched_stop: 'END' }, 'END'],
  ['vLLM, by a token', { stop_reason: 128_009 }, undefined],
  ['SGLang, by a token', { matched_stop: 2 }, undefined],
  ['none', { stop_reason: null }, undefined],
])('the stop text that ended a choice is told: %s', async (_, told, stopSequence) => {
  const choices = [{ index: 0, delta: { content: 'a' }, finish_reason: 'stop', ...told }]
  const parts = await read(pieces(Buffer.from(chunk(choices) + done)))
  const finish = parts.find((part) => part.type === 'choice-finish')
  expect(finish && 'stopSequence' in finish ? finish.stopSequence : undefined).toBe(stopSequence)
})
