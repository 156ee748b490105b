import fc from 'fast-check'
import { ResponseStream } from 'openai/lib/responses/ResponseStream'
import { expect, test } from 'vitest'
import type { StreamPart } from '../../../engines/engine.ts'
import { Fault } from '../../../platform/fault.ts'
import { parseResponseRequest } from './request.ts'
import {
  createResponseWriter,
  type ResponseEvent,
  type ResponseWriter,
  type ResponseWriterOptions,
} from './response-writer.ts'

function writer(change: Partial<ResponseWriterOptions> = {}): ResponseWriter {
  return createResponseWriter({
    id: 'resp_test',
    createdSeconds: 1,
    model: 'm',
    request: parseResponseRequest({ model: 'm', input: 'Hi' }),
    customTools: new Set(['shell']),
    wantsLogprobs: false,
    reasoningAs: 'content',
    sealReasoning: undefined,
    nowSeconds: () => 2,
    receipt: () => undefined,
    ...change,
  })
}

const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 1 }
const end: readonly StreamPart[] = [{ type: 'usage', usage }, { type: 'end' }]
const finish = (reason: 'stop' | 'length' | 'content_filter' | 'tool_calls'): StreamPart => ({
  type: 'choice-finish',
  choice: 0,
  reason,
})

const words = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 6 })
const toolCall = fc.nat({ max: 3 })
const anyPart: fc.Arbitrary<StreamPart> = fc.oneof(
  words.map((text): StreamPart => ({ type: 'text-delta', choice: 0, text })),
  words.map((text): StreamPart => ({ type: 'refusal-delta', choice: 0, text })),
  words.map((text): StreamPart => ({ type: 'reasoning-delta', choice: 0, text })),
  fc.tuple(toolCall, fc.constantFrom('get_weather', 'shell')).map(([index, name]): StreamPart => ({
    type: 'tool-call-start',
    choice: 0,
    toolCall: index,
    id: `call_${index}`,
    name,
  })),
  fc.tuple(toolCall, words).map(([index, text]): StreamPart => ({
    type: 'tool-call-delta',
    choice: 0,
    toolCall: index,
    arguments: text,
  })),
)
/** A call starts once, and says something only afterwards. */
const answers = fc.array(anyPart, { maxLength: 40 }).map((parts) => {
  const started = new Set<number>()
  return parts.filter((part) => {
    if (part.type === 'tool-call-delta') return started.has(part.toolCall)
    if (part.type !== 'tool-call-start') return true
    if (started.has(part.toolCall)) return false
    started.add(part.toolCall)
    return true
  })
})

interface Wire extends Readonly<Record<string, unknown>> {
  readonly type: string
}
const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null
    ? Object.entries(value).find(([key]) => key === name)?.[1]
    : undefined

/** Deltas put together, by the place that they are for. */
function gather(events: readonly ResponseEvent[]): ReadonlyMap<string, string> {
  const texts = new Map<string, string>()
  for (const event of events) {
    if (!event.type.endsWith('.delta')) continue
    const index = Number(event['content_index'] ?? event['summary_index'] ?? 0)
    const place = `${String(event['item_id'])}/${index}`
    texts.set(place, (texts.get(place) ?? '') + String(event['delta']))
  }
  return texts
}

/** The same texts as an item has them in the end. */
function textsOf(item: Wire): readonly (readonly [place: string, text: string])[] {
  const id = String(item['id'])
  if (item.type === 'function_call') return [[`${id}/0`, String(item['arguments'])]]
  if (item.type === 'custom_tool_call') return [[`${id}/0`, String(item['input'])]]
  const parts = [item['content'], item['summary']].flat().filter((part) => part !== undefined)
  return parts.map((part, index) => [
    `${id}/${index}`,
    String(fieldOf(part, 'text') ?? fieldOf(part, 'refusal')),
  ])
}

test('whatever an engine says, in whatever order: deltas make up the texts of the end, and each item begins and ends once', () => {
  fc.assert(
    fc.property(answers, fc.constantFrom('content', 'summary'), (parts, reasoningAs) => {
      const { accept } = writer({ reasoningAs })
      const events = [...parts, finish('stop'), ...end].flatMap((part) => accept(part))
      expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index))
      expect(events.slice(0, 2).map((event) => event.type)).toEqual([
        'response.created',
        'response.in_progress',
      ])
      expect(events.at(-1)?.type).toBe('response.completed')
      const output = fieldOf(events.at(-1)?.['response'], 'output') as readonly Wire[]

      const added = events.filter((event) => event.type === 'response.output_item.added')
      expect(added.map((event) => event['output_index'])).toEqual(output.map((_, index) => index))
      expect(added.map((event) => fieldOf(event['item'], 'id'))).toEqual(
        output.map((item) => item['id']),
      )
      for (const [index, item] of output.entries()) {
        const own = events.filter((event) => event['output_index'] === index)
        expect(own.at(0)?.type).toBe('response.output_item.added')
        expect(own.at(-1)).toMatchObject({ type: 'response.output_item.done', item })
        expect(own.filter((event) => event.type.includes('output_item'))).toHaveLength(2)
        for (const event of own) {
          expect(event['item_id'] ?? fieldOf(event['item'], 'id')).toBe(item['id'])
        }
      }

      const deltas = gather(events)
      const whole = output.flatMap(textsOf).filter(([, text]) => text !== '')
      expect(Object.fromEntries(deltas)).toEqual(Object.fromEntries(whole))
      const said = parts.flatMap((part) => (part.type === 'text-delta' ? [part.text] : []))
      const texts = output.flatMap((item) =>
        item.type === 'message' ? [item['content']].flat() : [],
      )
      const shown = texts.map((part) => fieldOf(part, 'text')).filter((each) => each !== undefined)
      expect(shown.map(String).join('')).toBe(said.join(''))
    }),
    { numRuns: 300 },
  )
})

test("OpenAI's own accumulator accepts whatever is written, and has the same response in the end", async () => {
  await fc.assert(
    fc.asyncProperty(answers, async (parts) => {
      const { accept } = writer()
      const events = [...parts, finish('stop'), ...end].flatMap((part) => accept(part))
      const lines = events.map((event) => `${JSON.stringify(event)}\n`).join('')
      const stream = ResponseStream.fromReadableStream(new Blob([lines]).stream())
      const response = await stream.finalResponse()
      const last: unknown = events.at(-1)?.['response']
      expect(response.output.map((item) => item.id)).toEqual(
        (fieldOf(last, 'output') as readonly Wire[]).map((item) => item['id']),
      )
    }),
    { numRuns: 50 },
  )
})

test('calls that an engine writes at once keep their own arguments', () => {
  const { accept, response } = writer()
  const start = (toolCall: number): StreamPart => ({
    type: 'tool-call-start',
    choice: 0,
    toolCall,
    id: `call_${toolCall}`,
    name: 'f',
  })
  const say = (toolCall: number, text: string): StreamPart => ({
    type: 'tool-call-delta',
    choice: 0,
    toolCall,
    arguments: text,
  })
  for (const part of [start(0), say(0, '{"a"'), start(1), say(1, '{}'), say(0, ':1}')]) accept(part)
  for (const part of [finish('tool_calls'), ...end]) accept(part)
  expect(response().output).toMatchObject([
    { call_id: 'call_0', arguments: '{"a":1}', status: 'completed' },
    { call_id: 'call_1', arguments: '{}', status: 'completed' },
  ])
})

test('an answer without a word is a response without an item', () => {
  const { accept } = writer()
  const events = [finish('stop'), ...end].flatMap((part) => accept(part))
  expect(events.map((event) => event.type)).toEqual([
    'response.created',
    'response.in_progress',
    'response.completed',
  ])
  expect(fieldOf(events.at(-1)?.['response'], 'output')).toEqual([])
})

test.each([
  ['length', 'max_output_tokens'],
  ['content_filter', 'content_filter'],
] as const)(
  'an answer that ended by %s is incomplete, and the item that was cut says so',
  (reason, why) => {
    const { accept } = writer()
    accept({ type: 'reasoning-delta', choice: 0, text: 'Hm' })
    accept({ type: 'text-delta', choice: 0, text: 'Once' })
    const events = [finish(reason), ...end].flatMap((part) => accept(part))
    expect(events.at(-1)).toMatchObject({
      type: 'response.incomplete',
      response: {
        status: 'incomplete',
        incomplete_details: { reason: why },
        output: [{ status: 'completed' }, { status: 'incomplete' }],
        usage: {
          input_tokens: 1,
          output_tokens: 2,
          output_tokens_details: { reasoning_tokens: 1 },
        },
      },
    })
  },
)

test('a failure is numbered on, names what clients know, and ends no item that did not end', () => {
  const { accept, fail } = writer()
  const before = accept({ type: 'text-delta', choice: 0, text: 'Once' })
  const fault = new Fault({ code: 'upstream.truncated', public: 'It broke off.' })
  const events = [...before, ...fail(fault)]
  expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index))
  expect(events.at(-2)).toMatchObject({ type: 'error', code: 'engine_truncated', param: null })
  expect(events.at(-1)).toMatchObject({
    type: 'response.failed',
    response: {
      status: 'failed',
      error: { code: 'server_error', message: 'It broke off.' },
      output: [{ status: 'incomplete', content: [{ text: 'Once' }] }],
    },
  })
  expect(events.some((event) => event.type === 'response.output_item.done')).toBe(false)
})

test('probabilities that were asked for come with their bytes, and their absence is told before the first text', () => {
  const asking = writer({ wantsLogprobs: true })
  const logprob = { token: 'Hi', logprob: -0.5, bytes: null, top_logprobs: [] }
  const events = asking.accept({ type: 'text-delta', choice: 0, text: 'Hi', logprobs: [logprob] })
  expect(events.at(-1)).toMatchObject({ delta: 'Hi', logprobs: [{ token: 'Hi', bytes: [] }] })
  const lacking = writer({ wantsLogprobs: true })
  expect(() => lacking.accept({ type: 'text-delta', choice: 0, text: 'Hi' })).toThrow(/logprobs/)
})

test('reasoning is sealed once: the item of its end and that of the whole are the same', () => {
  let seals = 0
  const { accept, response } = writer({ sealReasoning: (text) => `${text}#${(seals += 1)}` })
  accept({ type: 'reasoning-delta', choice: 0, text: 'Hm' })
  const events = [finish('stop'), ...end].flatMap((part) => accept(part))
  const done = events.find((event) => event.type === 'response.output_item.done')
  expect(done?.['item']).toMatchObject({ type: 'reasoning', encrypted_content: 'Hm#1' })
  expect(response().output).toEqual([done?.['item']])
})

test('what is concluded before the end is what the last event tells', () => {
  for (const [status, ...last] of [
    ['completed', finish('stop')],
    ['incomplete', finish('length')],
    ['completed'],
  ] as const) {
    let seconds = 1
    const { accept, conclude } = writer({ nowSeconds: () => (seconds += 1) })
    const parts: readonly StreamPart[] = [
      { type: 'text-delta', choice: 0, text: 'Once' },
      ...last,
      { type: 'usage', usage },
    ]
    for (const part of parts) accept(part)
    const concluded = conclude()
    const events = accept({ type: 'end' })
    expect(events.at(-1)?.['response']).toEqual(concluded)
    expect(concluded.status).toBe(status)
  }
})
