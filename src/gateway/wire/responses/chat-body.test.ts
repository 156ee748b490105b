import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Fault } from '../../../platform/fault.ts'
import { createSeal } from '../../../platform/seal.ts'
import { parseChatRequest } from '../openai/chat-request.ts'
import { toChatBody, toResponseParam } from './chat-body.ts'
import { parseResponseRequest } from './request.ts'
import { sealReasoning } from './sealed-reasoning.ts'

const seal = createSeal(Buffer.alloc(32, 7))
const toBody = (request: Record<string, unknown>): Readonly<Record<string, unknown>> =>
  toChatBody(parseResponseRequest({ model: 'm', input: 'Hi', ...request }), () => seal).body
const messagesOf = (input: readonly unknown[]): unknown => toBody({ input })['messages']

test('reasoning belongs to the turn that follows it, and a new thought after a call is a new turn', () => {
  const thought = (text: string): unknown => ({
    type: 'reasoning',
    id: 'rs',
    summary: [],
    encrypted_content: sealReasoning(text, seal),
  })
  const call = (id: string): unknown => ({
    type: 'function_call',
    call_id: id,
    name: 'f',
    arguments: '{}',
  })
  expect(
    messagesOf([
      { role: 'user', content: 'Hi' },
      thought('first'),
      call('a'),
      call('b'),
      thought('second'),
      { role: 'assistant', content: [{ type: 'output_text', text: 'Done.' }] },
    ]),
  ).toMatchObject([
    { role: 'user' },
    {
      role: 'assistant',
      content: null,
      reasoning_content: 'first',
      tool_calls: [{ id: 'a' }, { id: 'b' }],
    },
    { role: 'assistant', content: 'Done.', reasoning_content: 'second' },
  ])
})

test('formats, effort, probabilities and choices stand where a chat has them', () => {
  const tools = [
    { type: 'function', name: 'f', parameters: { type: 'object' }, strict: true },
    { type: 'custom', name: 'c' },
  ]
  const body = toBody({
    text: {
      format: { type: 'json_schema', name: 'n', schema: { type: 'object' }, strict: true },
      verbosity: 'low',
    },
    reasoning: { effort: 'high' },
    max_output_tokens: 7,
    include: ['message.output_text.logprobs'],
    top_logprobs: 3,
    tools,
    tool_choice: { type: 'custom', name: 'c' },
  })
  expect(parseChatRequest(body)).toMatchObject({
    response_format: { type: 'json_schema', json_schema: { name: 'n', strict: true } },
    verbosity: 'low',
    reasoning_effort: 'high',
    max_completion_tokens: 7,
    logprobs: true,
    top_logprobs: 3,
    tools: [{ function: { name: 'f', strict: true } }, { function: { name: 'c' } }],
    tool_choice: { type: 'function', function: { name: 'c' } },
  })
})

test.each([
  ['messages[1].content[0].image_url.url', 'input[4].content[0].image_url.url'],
  ['messages[2].content[1].file.file_data', 'input[5].output[1].file.file_data'],
  ['messages[1].tool_calls[3]', 'input[4]'],
  ['messages[0].content', 'instructions'],
  ['messages', 'input'],
  ['tools[2].function.parameters', 'tools[2].parameters'],
  ['response_format.json_schema.schema', 'text.format.schema'],
  ['max_tokens', 'max_output_tokens'],
  ['reasoning_effort', 'reasoning.effort'],
  ['model', 'model'],
])('%s of a chat is %s to the client', (chat, response) => {
  expect(toResponseParam(chat, ['instructions', 'input[4].content', 'input[5].output'])).toBe(
    response,
  )
})

const words = fc.string({ maxLength: 5 })
const parts = fc.array(
  fc.oneof(
    words.map((text) => ({ type: 'input_text', text })),
    words.map((text) => ({ type: 'output_text', text, annotations: [] })),
    words.map((refusal) => ({ type: 'refusal', refusal })),
  ),
  { maxLength: 3 },
)
const content = fc.oneof(words, parts)
const callId = fc.constantFrom('a', 'b')
const item = fc.oneof(
  fc.record({ role: fc.constantFrom('user', 'assistant', 'system', 'developer'), content }),
  fc.record({
    type: fc.constant('function_call'),
    call_id: callId,
    name: fc.constant('f'),
    arguments: words,
  }),
  fc.record({
    type: fc.constant('custom_tool_call'),
    call_id: callId,
    name: fc.constant('c'),
    input: words,
  }),
  fc.record({ type: fc.constant('function_call_output'), call_id: callId, output: content }),
  fc.record({ type: fc.constant('custom_tool_call_output'), call_id: callId, output: content }),
  fc.record({ type: fc.constant('reasoning'), summary: fc.constant([]), content: parts }),
)

test('every conversation becomes messages that a chat takes, and no text is lost or said twice', () => {
  fc.assert(
    fc.property(fc.array(item, { minLength: 1, maxLength: 12 }), (input) => {
      const marked = input.map((each, index) =>
        'role' in each ? { ...each, content: `<${index}>` } : each,
      )
      let messages: unknown
      try {
        const body = toBody({ input: marked })
        messages = parseChatRequest(body).messages
      } catch (error) {
        // Parts that do not belong into their item are refused in words; nothing else is thrown.
        expect(error).toBeInstanceOf(Fault)
        return
      }
      const said = [...JSON.stringify(messages).matchAll(/<(\d+)>/g)].map((match) => match[1])
      const wanted = marked.flatMap((each, index) => ('role' in each ? [String(index)] : []))
      expect(said).toEqual(wanted)
    }),
    { numRuns: 300 },
  )
})
