/** A message, streamed and whole: whatever parts come, the stream is one that Anthropic's SDKs can read, and says what the whole answer says. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { StreamPart } from '../../../engines/engine.ts'
import { createMessageStream } from './message-stream.ts'
import { gatherMessage } from './message-whole.ts'

const options = {
  id: 'msg_1',
  model: 'm',
  estimatedInputTokens: 9,
  receipt: (): string | undefined => undefined,
}
const usage: StreamPart = {
  type: 'usage',
  usage: { inputTokens: 20, cachedInputTokens: 8, outputTokens: 5, reasoningTokens: 2 },
}
const text = (value: string): StreamPart => ({ type: 'text-delta', choice: 0, text: value })
const thought = (value: string): StreamPart => ({ type: 'reasoning-delta', choice: 0, text: value })
const call = (toolCall: number, name: string): StreamPart => ({
  type: 'tool-call-start',
  choice: 0,
  toolCall,
  id: `call_${toolCall}`,
  name,
})
const piece = (toolCall: number, value: string): StreamPart => ({
  type: 'tool-call-delta',
  choice: 0,
  toolCall,
  arguments: value,
})
const ended = (reason: 'stop' | 'length' | 'tool_calls' | 'content_filter'): StreamPart[] => [
  { type: 'choice-finish', choice: 0, reason },
  usage,
  { type: 'end' },
]

interface WireEvent {
  readonly type: string
  readonly index?: number
  readonly [field: string]: unknown
}

function streamed(parts: readonly StreamPart[], receipt = options.receipt): WireEvent[] {
  const stream = createMessageStream({ ...options, receipt })
  return parseEvents(parts.map(stream.encode).join(''))
}

function parseEvents(wire: string): WireEvent[] {
  expect(wire.endsWith('\n\n')).toBe(true)
  return wire
    .slice(0, -2)
    .split('\n\n')
    .map((event) => {
      const [, name, data] = /^event: (\w+)\ndata: (.*)$/s.exec(event) ?? []
      const value = JSON.parse(data ?? '') as WireEvent
      expect(value.type).toBe(name)
      return value
    })
}

async function whole(parts: readonly StreamPart[]): Promise<Record<string, unknown>> {
  async function* all(): AsyncGenerator<StreamPart> {
    yield* parts
  }
  return JSON.parse(await gatherMessage(all(), options)) as Record<string, unknown>
}

interface Accumulated {
  readonly content: Record<string, unknown>[]
  readonly ending: WireEvent | undefined
}

/** Reads a stream as SDKs do, and fails where they would. */
function accumulate(events: readonly WireEvent[]): Accumulated {
  const content: Record<string, unknown>[] = []
  const inputs = new Map<number, string>()
  let state: 'before' | 'between' | 'within' | 'told' | 'over' = 'before'
  let ending: WireEvent | undefined
  for (const event of events) {
    switch (event.type) {
      case 'message_start':
        expect(state).toBe('before')
        state = 'between'
        break
      case 'content_block_start':
        expect(state).toBe('between')
        expect(event.index).toBe(content.length)
        content.push({ ...(event['content_block'] as object) })
        state = 'within'
        break
      case 'content_block_delta': {
        expect(state).toBe('within')
        expect(event.index).toBe(content.length - 1)
        extend(content.at(-1) ?? {}, event['delta'] as Record<string, string>, inputs, content)
        break
      }
      case 'content_block_stop':
        expect(state).toBe('within')
        expect(event.index).toBe(content.length - 1)
        state = 'between'
        break
      case 'message_delta':
        expect(state).toBe('between')
        ending = event
        state = 'told'
        break
      case 'message_stop':
        expect(state).toBe('told')
        state = 'over'
        break
      default:
        throw new Error(`an event that nobody knows: ${event.type}`)
    }
  }
  expect(state).toBe('over')
  for (const [index, json] of inputs) {
    const block = content[index]
    if (block) block['input'] = parseInput(json)
  }
  return { content, ending }
}

function extend(
  block: Record<string, unknown>,
  delta: Record<string, string>,
  inputs: Map<number, string>,
  content: readonly unknown[],
): void {
  const kinds: Record<string, readonly [block: string, field: string]> = {
    text_delta: ['text', 'text'],
    thinking_delta: ['thinking', 'thinking'],
    signature_delta: ['thinking', 'signature'],
    input_json_delta: ['tool_use', 'partial_json'],
  }
  const [type, field] = kinds[delta['type'] ?? ''] ?? ['', '']
  expect(block['type']).toBe(type)
  const value = delta[field] ?? ''
  if (type === 'tool_use') {
    const index = content.length - 1
    inputs.set(index, (inputs.get(index) ?? '') + value)
  } else if (field === 'signature') {
    block['signature'] = value
  } else {
    block[field] = `${String(block[field])}${value}`
  }
}

function parseInput(json: string): unknown {
  try {
    return JSON.parse(json) as unknown
  } catch {
    return {}
  }
}

test('a message starts with input tokens that are not zero, and ends with those that the engine counted', () => {
  const events = streamed([text('Hel'), text('lo'), ...ended('stop')])
  expect(events.map((event) => event.type)).toEqual([
    'message_start',
    'content_block_start',
    'content_block_delta',
    'content_block_delta',
    'content_block_stop',
    'message_delta',
    'message_stop',
  ])
  expect(events[0]).toMatchObject({
    message: {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model: 'm',
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: { input_tokens: 9, output_tokens: 0 },
    },
  })
  // What was read from a cache stands beside the input.
  expect(events.at(-2)).toEqual({
    type: 'message_delta',
    delta: { stop_reason: 'end_turn', stop_sequence: null },
    usage: {
      input_tokens: 12,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 8,
      output_tokens: 5,
      output_tokens_details: { thinking_tokens: 2 },
    },
  })
})

test('thinking comes in a block of its own that ends with its signature', () => {
  const signed: StreamPart = { type: 'reasoning-signature', choice: 0, signature: 'proof' }
  const read = (parts: StreamPart[]): unknown =>
    accumulate(streamed([...parts, ...ended('stop')])).content
  expect(read([thought('Hm'), thought('m.'), signed, text('Yes.')])).toEqual([
    { type: 'thinking', thinking: 'Hmm.', signature: 'proof' },
    { type: 'text', text: 'Yes.' },
  ])
  const unsigned = streamed([thought('Hm.'), text('Yes.'), ...ended('stop')])
  expect(unsigned[3]).toEqual({
    type: 'content_block_delta',
    index: 0,
    delta: { type: 'signature_delta', signature: '' },
  })
})

test('a call begins with an empty piece, and its pieces are its input', () => {
  const events = streamed([
    text('I look.'),
    call(0, 'look'),
    piece(0, '{"at":'),
    piece(0, '1}'),
    ...ended('tool_calls'),
  ])
  expect(events.slice(4, 6)).toEqual([
    {
      type: 'content_block_start',
      index: 1,
      content_block: { type: 'tool_use', id: 'call_0', name: 'look', input: {} },
    },
    {
      type: 'content_block_delta',
      index: 1,
      delta: { type: 'input_json_delta', partial_json: '' },
    },
  ])
  const { content, ending } = accumulate(events)
  expect(content[1]).toEqual({ type: 'tool_use', id: 'call_0', name: 'look', input: { at: 1 } })
  expect(ending).toMatchObject({ delta: { stop_reason: 'tool_use' } })
})

test('calls that an engine tells at once follow each other, each whole', () => {
  const parts = [
    call(0, 'a'),
    call(1, 'b'),
    piece(1, '{"y":'),
    piece(0, '{"x":'),
    text('And so on.'),
    piece(0, '1}'),
    piece(1, '2}'),
    ...ended('tool_calls'),
  ]
  expect(accumulate(streamed(parts)).content).toEqual([
    { type: 'tool_use', id: 'call_0', name: 'a', input: { x: 1 } },
    { type: 'tool_use', id: 'call_1', name: 'b', input: { y: 2 } },
    { type: 'text', text: 'And so on.' },
  ])
})

const reasons = [
  { given: 'stop', want: 'end_turn' },
  { given: 'length', want: 'max_tokens' },
  { given: 'tool_calls', want: 'tool_use' },
  { given: 'content_filter', want: 'refusal' },
] as const
for (const { given, want } of reasons) {
  test(`an answer that ended by ${given} says ${want}, streamed and whole`, async () => {
    const parts = [text('x'), ...ended(given)]
    expect(accumulate(streamed(parts)).ending).toMatchObject({ delta: { stop_reason: want } })
    expect(await whole(parts)).toMatchObject({ stop_reason: want, stop_sequence: null })
  })
}

test('a call by name, which engines end with stop, is a tool use; a refusal is one; a stop text is named where it is known', async () => {
  expect(await whole([call(0, 'f'), piece(0, '{}'), ...ended('stop')])).toMatchObject({
    stop_reason: 'tool_use',
  })
  const refusing: StreamPart = { type: 'refusal-delta', choice: 0, text: 'No.' }
  expect(await whole([refusing, ...ended('stop')])).toMatchObject({
    content: [{ type: 'text', text: 'No.' }],
    stop_reason: 'refusal',
  })
  const stopped: StreamPart = {
    type: 'choice-finish',
    choice: 0,
    reason: 'stop',
    stopSequence: 'END',
  }
  expect(await whole([text('x'), stopped, usage, { type: 'end' }])).toMatchObject({
    stop_reason: 'stop_sequence',
    stop_sequence: 'END',
  })
})

test('the limit that ended an answer and the receipt stand beside what clients know', () => {
  const cause = { rule: 'r', limit: '10' }
  const cut: StreamPart = { type: 'choice-finish', choice: 0, reason: 'length', cause }
  const events = streamed([text('x'), cut, usage, { type: 'end' }], () => 'signed')
  expect(events.at(-2)).toMatchObject({
    delta: { stop_reason: 'max_tokens' },
    limit: cause,
    receipt: 'signed',
  })
})

test('a silence before the first word is bridged by the start of the message and pings', () => {
  const stream = createMessageStream(options)
  const wire = stream.keepAlive() + stream.keepAlive() + stream.encode(text('x'))
  expect(parseEvents(wire).map((event) => event.type)).toEqual([
    'message_start',
    'ping',
    'ping',
    'content_block_start',
    'content_block_delta',
  ])
})

const words = fc.string({ maxLength: 6, unit: 'grapheme' })
const json = fc.dictionary(fc.string({ maxLength: 4 }), fc.jsonValue({ maxDepth: 1 })).map(
  // A line break within JSON's white space is legal, and must not end an event.
  (value) => JSON.stringify(value, null, 1),
)

/** Texts, thoughts and calls in any order, the calls' pieces interleaved as no engine should. */
const anyParts = fc
  .record({
    calls: fc.array(json, { maxLength: 4 }),
    others: fc.array(
      fc.oneof(
        words.map(text),
        words.map(thought),
        fc.constant<StreamPart>({ type: 'reasoning-signature', choice: 0, signature: 's' }),
        words.map((value): StreamPart => ({ type: 'text-delta', choice: 1, text: value })),
      ),
      { maxLength: 8 },
    ),
    cuts: fc.array(fc.nat(40), { maxLength: 8 }),
    order: fc.array(fc.nat(99), { minLength: 1, maxLength: 60 }),
  })
  .map(({ calls, others, cuts, order }) => {
    const queues = [others, ...calls.map((value, index) => cutCall(index, value, cuts))]
    const parts: StreamPart[] = []
    while (queues.some((queue) => queue.length > 0)) {
      const filled = queues.filter((queue) => queue.length > 0)
      const part = filled[(order[parts.length % order.length] ?? 0) % filled.length]?.shift()
      if (part) parts.push(part)
    }
    return { parts, inputs: calls.map((value) => JSON.parse(value) as unknown) }
  })

function cutCall(index: number, value: string, cuts: readonly number[]): StreamPart[] {
  const places = [0, ...cuts.toSorted((a, b) => a - b), value.length]
  const pieces = places.slice(1).map((end, at) => value.slice(places[at], end))
  return [call(index, `f${index}`), ...pieces.map((each) => piece(index, each))]
}

test('any parts make a valid stream whose deltas concatenate to the blocks of the whole answer', async () => {
  await fc.assert(
    fc.asyncProperty(anyParts, async ({ parts, inputs }) => {
      const all = [...parts, ...ended('stop')]
      const { content, ending } = accumulate(streamed(all))
      const message = await whole(all)
      expect(content).toEqual(message['content'])
      expect(ending).toMatchObject({ delta: { stop_reason: message['stop_reason'] } })

      const uses = content.filter((block) => block['type'] === 'tool_use')
      const inOrder = uses.toSorted((a, b) => String(a['id']).localeCompare(String(b['id'])))
      expect(inOrder.map((block) => block['input'])).toEqual(inputs)
      const said = content.flatMap((block) => (block['type'] === 'text' ? block['text'] : []))
      const given = parts.flatMap((part) =>
        part.type === 'text-delta' && part.choice === 0 ? part.text : [],
      )
      expect(said.join('')).toBe(given.join(''))
    }),
    { numRuns: 300 },
  )
})
