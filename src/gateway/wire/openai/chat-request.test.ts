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
    expect(error.code).toBe('client.invalid_request')
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

test('a remote image is refused: the gateway fetches nothing, and no engine does it for us', () => {
  const content = [{ type: 'image_url', image_url: { url: 'http://169.254.169.254/latest' } }]
  expect(paramOf({ model: 'm', messages: [{ role: 'user', content }] })).not.toBe('accepted')
})

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
    {
      role: 'user',
      content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } }],
    },
  ]
  expect(paramOf({ model: 'm', messages })).toBe('accepted')
})
