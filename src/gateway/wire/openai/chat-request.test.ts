import { expect, test } from 'vitest'
import { Fault } from '../../../platform/fault.ts'
import { parseChatRequest, toEngineBody } from './chat-request.ts'

const minimal = { model: 'm', messages: [{ role: 'user', content: 'hi' }] }

function paramOf(value: unknown): string | undefined {
  try {
    parseChatRequest(value)
    return 'accepted'
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    expect(error.status).toBe(400)
    return error.param
  }
}

const refused = [
  { name: 'no messages', given: { model: 'm' }, want: 'messages' },
  { name: 'an empty list of messages', given: { model: 'm', messages: [] }, want: 'messages' },
  {
    name: 'an unknown role',
    given: { model: 'm', messages: [{ role: 'root', content: 'x' }] },
    want: 'messages[0].role',
  },
  { name: 'a temperature above 2', given: { ...minimal, temperature: 3 }, want: 'temperature' },
  { name: 'max_tokens of 0', given: { ...minimal, max_tokens: 0 }, want: 'max_tokens' },
  { name: 'an absurd max_tokens', given: { ...minimal, max_tokens: 1e300 }, want: 'max_tokens' },
  { name: 'n of 9', given: { ...minimal, n: 9 }, want: 'n' },
  { name: 'five stop texts', given: { ...minimal, stop: ['a', 'b', 'c', 'd', 'e'] }, want: 'stop' },
  {
    name: 'top_logprobs without logprobs',
    given: { ...minimal, top_logprobs: 3 },
    want: 'top_logprobs',
  },
  {
    name: 'tool_choice without tools',
    given: { ...minimal, tool_choice: 'required' },
    want: 'tool_choice',
  },
  { name: 'a body that is a list', given: [], want: undefined },
]
for (const { name, given, want } of refused) {
  test(`${name} is refused, and param says where`, () => {
    expect(paramOf(given)).toBe(want)
  })
}

test('null means absent, zero is kept, unknown and routing fields never reach the engine', () => {
  const request = parseChatRequest({
    ...minimal,
    temperature: 0,
    top_p: null,
    tools: null,
    api_base: 'http://evil',
    chat_template: '{{ x }}',
    user_config: { api_base: 'http://evil' },
    cache_salt: 'mine',
    user: 'u',
    metadata: { a: 'b' },
  })
  expect(toEngineBody(request)).toEqual({ messages: minimal.messages, temperature: 0 })
})

test('of both limits the newer one wins', () => {
  const request = parseChatRequest({ ...minimal, max_tokens: 5, max_completion_tokens: 9 })
  expect(toEngineBody(request)).toMatchObject({ max_tokens: 9 })
})

test('messages in every shape that SDKs send are accepted', () => {
  const messages = [
    { role: 'developer', content: 'be brief' },
    { role: 'system', content: [{ type: 'text', text: 'again' }], name: null },
    { role: 'user', content: 'x', name: 'ann' },
    {
      role: 'assistant',
      content: null,
      tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '' } }],
    },
    { role: 'tool', tool_call_id: 'c', content: 'ok' },
    { role: 'assistant', content: '', refusal: null, audio: null },
    { role: 'user', content: [] },
  ]
  expect(paramOf({ model: 'm', messages })).toBe('accepted')
})

const bodyOf = (fields: object): Record<string, unknown> =>
  toEngineBody(parseChatRequest({ ...minimal, ...fields }))

test('without a limit of the caller there is none for the engine', () => {
  expect(bodyOf({ max_tokens: null })).toEqual({ messages: minimal.messages })
})

test('sampling fields of open engines pass, and a temperature of 0 stays one', () => {
  const fields = {
    temperature: 0,
    top_k: 0,
    min_p: 0,
    repetition_penalty: 1.1,
    min_tokens: 3,
    seed: 0,
    logit_bias: { 7: -100 },
    stop: 'x',
    presence_penalty: 0,
    chat_template_kwargs: { enable_thinking: false },
    reasoning_effort: 'low',
    verbosity: 'low',
  }
  expect(bodyOf(fields)).toEqual({ messages: minimal.messages, ...fields })
})

test.each([
  'chat_template',
  'tokenize',
  'messages',
  'continue_final_message',
  'return_dict',
  '__x',
])("the renderer's own argument %s is no variable of a template", (key) => {
  expect(paramOf({ ...minimal, chat_template_kwargs: { [key]: 'x' } })).toMatch(
    /^chat_template_kwargs/,
  )
})

test("OpenAI's bookkeeping fields are accepted, null or not, and stay here", () => {
  const fields = {
    user: 'u',
    safety_identifier: 's',
    metadata: { a: 'b' },
    store: true,
    service_tier: 'flex',
    prompt_cache_key: 'k',
    prompt_cache_retention: '24h',
    prediction: { type: 'content', content: 'guess' },
    modalities: ['text'],
    stream: false,
    stream_options: { include_usage: true, include_obfuscation: false },
  }
  expect(bodyOf(fields)).toEqual({ messages: minimal.messages })
  const nulls = Object.fromEntries(Object.keys(fields).map((key) => [key, null]))
  expect(bodyOf({ ...nulls, tools: null, tool_choice: null, functions: null })).toEqual({
    messages: minimal.messages,
  })
})

test.each([
  ['modalities', { modalities: ['text', 'audio'] }],
  ['audio', { audio: { voice: 'alloy', format: 'wav' } }],
  ['web_search_options', { web_search_options: {} }],
])('%s that nobody can serve is refused, not passed over', (param, fields) => {
  expect(paramOf({ ...minimal, ...fields })).toBe(param)
})

test('developers speak as system, and reasoning comes back under both of its names', () => {
  const call = { id: 'c', type: 'function', function: { name: 'f', arguments: '' } }
  const messages = [
    { role: 'developer', content: 'be brief' },
    { role: 'system', content: [{ type: 'text', text: 'and kind' }] },
    { role: 'user', content: 'x', name: 'ann' },
    { role: 'assistant', content: null, reasoning: 'hm', tool_calls: [call] },
    { role: 'tool', tool_call_id: 'c', content: 'ok' },
    {
      role: 'assistant',
      content: 'y',
      reasoning_content: 'so',
      reasoning_signature: 'proof',
      tool_calls: [],
      refusal: null,
    },
  ]
  expect(bodyOf({ messages })['messages']).toEqual([
    { role: 'system', content: 'be brief' },
    { role: 'system', content: [{ type: 'text', text: 'and kind' }] },
    { role: 'user', content: 'x', name: 'ann' },
    {
      role: 'assistant',
      content: null,
      reasoning_content: 'hm',
      reasoning: 'hm',
      tool_calls: [call],
    },
    { role: 'tool', tool_call_id: 'c', content: 'ok' },
    {
      role: 'assistant',
      content: 'y',
      reasoning_content: 'so',
      reasoning: 'so',
      reasoning_signature: 'proof',
    },
  ])
})

test('the wanted form of an answer goes on as it is, strict or not', () => {
  const schema = {
    $defs: { mood: { enum: ['good', 'bad'] } },
    type: 'object',
    properties: {
      mood: { $ref: '#/$defs/mood' },
      at: { anyOf: [{ type: 'string' }, { type: 'null' }] },
    },
  }
  for (const strict of [true, false, undefined]) {
    const format = { type: 'json_schema', json_schema: { name: 'a', schema, strict } }
    expect(bodyOf({ response_format: format })['response_format']).toEqual(format)
  }
  expect(bodyOf({ response_format: { type: 'json_object' } })['response_format']).toEqual({
    type: 'json_object',
  })
})

const schemaField = 'response_format.json_schema.schema'
test.each([
  ['points to another host', { $ref: 'http://169.254.169.254/schema' }],
  [
    'has too many properties',
    { properties: Object.fromEntries(Array.from({ length: 5_001 }, (_, key) => [key, {}])) },
  ],
  ['has too many values', { enum: Array.from({ length: 1_001 }, (_, value) => value) }],
  ['has too much text', { enum: ['x'.repeat(120_001)] }],
])('a schema that %s is refused, in answers and in tools', (_, schema) => {
  const format = { type: 'json_schema', json_schema: { name: 'a', schema: { items: schema } } }
  expect(paramOf({ ...minimal, response_format: format })).toBe(schemaField)
  const tools = [{ type: 'function', function: { name: 'f', parameters: schema } }]
  expect(paramOf({ ...minimal, tools })).toBe('tools[0].function.parameters')
})
