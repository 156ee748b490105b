import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Fault } from '../../../platform/fault.ts'
import { parseChatRequest, toEngineBody } from '../openai/chat-request.ts'
import { toChatBody } from './chat-body.ts'
import { parseCountRequest, parseMessageRequest } from './request.ts'

const minimal = { model: 'm', max_tokens: 64, messages: [{ role: 'user', content: 'hi' }] }

/** What the engine would be asked. */
function engineBody(fields: Record<string, unknown>): Record<string, unknown> {
  return toEngineBody(parseChatRequest(toChatBody(parseMessageRequest({ ...minimal, ...fields }))))
}

function refusal(fields: Record<string, unknown>): { code: string; param: string | undefined } {
  try {
    engineBody(fields)
  } catch (error) {
    if (error instanceof Fault) return { code: error.code, param: error.param }
    throw error
  }
  return { code: 'accepted', param: undefined }
}

const asUser = (...content: unknown[]): Record<string, unknown> => ({
  messages: [{ role: 'user', content }],
})

test('a system text as a string or as blocks with cache_control becomes one system message', () => {
  const cached = { type: 'ephemeral', ttl: '1h' }
  const blocks = [
    { type: 'text', text: 'Be brief.', cache_control: cached },
    { type: 'text', text: 'Be kind.' },
  ]
  const first = (system: unknown): unknown => (engineBody({ system })['messages'] as unknown[])[0]
  expect(first('Be brief.')).toEqual({ role: 'system', content: 'Be brief.' })
  expect(first(blocks)).toEqual({ role: 'system', content: 'Be brief.\n\nBe kind.' })
  expect(engineBody({ system: [] })['messages']).toEqual([{ role: 'user', content: 'hi' }])
})

test('a last message of the assistant is the last one that the engine is given, as it was written', () => {
  const messages = [
    { role: 'user', content: 'As JSON.' },
    { role: 'assistant', content: '{"name":' },
  ]
  expect(engineBody({ messages })['messages']).toEqual(messages)
})

test("an agent's account of itself, new with each request, does not come before the system text", () => {
  const account = (n: number): string =>
    `x-anthropic-billing-header: cc_version=2.1.${n}; cc_entrypoint=cli; cch=${n};`
  const asBlocks = (n: number): unknown => [
    { type: 'text', text: account(n) },
    { type: 'text', text: 'You are an agent.' },
  ]
  expect(engineBody({ system: asBlocks(1) })).toEqual(engineBody({ system: asBlocks(2) }))
  expect(engineBody({ system: `${account(1)}\nYou are an agent.` })).toEqual(
    engineBody({ system: asBlocks(3) }),
  )
})

test('calls and their results become tool calls and tool messages with the same ids, and what the turn says beside follows', () => {
  const png = { type: 'base64', media_type: 'image/png', data: onePixel }
  const body = engineBody({
    tools: [{ name: 'look', input_schema: { type: 'object', properties: {} } }],
    messages: [
      { role: 'user', content: 'What is there?' },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'I must look.', signature: 'abc' },
          { type: 'redacted_thinking', data: 'opaque' },
          { type: 'text', text: 'I look.' },
          { type: 'tool_use', id: 'toolu_1', name: 'look', input: { at: 'a' } },
          { type: 'tool_use', id: 'toolu_2', name: 'look', input: {} },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'toolu_1', content: 'a cat' },
          {
            type: 'tool_result',
            tool_use_id: 'toolu_2',
            is_error: true,
            content: [
              { type: 'text', text: 'too dark' },
              { type: 'image', source: png },
            ],
          },
          { type: 'text', text: 'Go on.' },
        ],
      },
    ],
  })
  expect(body['messages']).toEqual([
    { role: 'user', content: 'What is there?' },
    {
      role: 'assistant',
      content: 'I look.',
      reasoning_content: 'I must look.',
      reasoning: 'I must look.',
      reasoning_signature: 'abc',
      tool_calls: [
        { id: 'toolu_1', type: 'function', function: { name: 'look', arguments: '{"at":"a"}' } },
        { id: 'toolu_2', type: 'function', function: { name: 'look', arguments: '{}' } },
      ],
    },
    { role: 'tool', tool_call_id: 'toolu_1', content: 'a cat' },
    { role: 'tool', tool_call_id: 'toolu_2', content: 'Error: too dark' },
    {
      role: 'user',
      content: [
        { type: 'image_url', image_url: { url: `data:image/png;base64,${onePixel}` } },
        { type: 'text', text: 'Go on.' },
      ],
    },
  ])
})

test('the proof of a thought goes back with it, where there is one thought and a proof', () => {
  const answerOf = (...signatures: string[]): unknown => {
    const content = signatures.map((signature) => ({
      type: 'thinking',
      thinking: 'Hm.',
      signature,
    }))
    const messages = [...minimal.messages, { role: 'assistant', content }]
    return (toChatBody(parseCountRequest({ model: 'm', messages }))['messages'] as unknown[])[1]
  }
  const thought = { role: 'assistant', content: '', reasoning_content: 'Hm.' }
  expect(answerOf('proof')).toEqual({ ...thought, reasoning_signature: 'proof' })
  expect(answerOf('')).toEqual(thought)
  expect(answerOf('one', 'two')).toEqual({ ...thought, reasoning_content: 'Hm.\n\nHm.' })
})

test('results without anything beside are followed by no empty message, and neighbours of one role are one turn', () => {
  const body = engineBody({
    messages: [
      { role: 'user', content: 'a' },
      { role: 'user', content: 'b' },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'c', name: 'f', input: {} }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'c' }] },
    ],
  })
  expect(body['messages']).toEqual([
    { role: 'user', content: 'a\n\nb' },
    {
      role: 'assistant',
      content: null,
      tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }],
    },
    { role: 'tool', tool_call_id: 'c', content: '' },
  ])
})

test('documents are shown as text, with their title, and PDFs as files', () => {
  const plain = { type: 'text', media_type: 'text/plain', data: 'Once.' }
  const encoded = { type: 'base64', media_type: 'text/plain', data: btoa('Twice.') }
  const contentOf = (...blocks: unknown[]): unknown =>
    (engineBody(asUser(...blocks))['messages'] as { content: unknown }[])[0]?.content
  expect(
    contentOf(
      { type: 'document', source: plain, title: 'Tale' },
      { type: 'document', source: encoded, citations: { enabled: true } },
      { type: 'document', source: { type: 'content', content: 'Thrice.' } },
      {
        type: 'search_result',
        title: 'Found',
        source: 'page',
        content: [{ type: 'text', text: 'Here.' }],
      },
    ),
  ).toBe('Tale\n\nOnce.\n\nTwice.\n\nThrice.\n\nFound\n\npage\n\nHere.')
  const pdf = { type: 'base64', media_type: 'application/pdf', data: btoa('%PDF-1.4') }
  expect(contentOf({ type: 'document', source: pdf })).toEqual([
    {
      type: 'file',
      file: {
        filename: 'document.pdf',
        file_data: `data:application/pdf;base64,${btoa('%PDF-1.4')}`,
      },
    },
  ])
})

test('tools and every form of tool_choice have their counterparts', () => {
  const tools = [
    {
      name: 'weather',
      description: 'Tells it.',
      input_schema: { type: 'object', properties: { city: { type: 'string' } } },
      cache_control: { type: 'ephemeral' },
      eager_input_streaming: true,
    },
  ]
  const choiceOf = (choice: unknown): unknown =>
    engineBody({ tools, tool_choice: choice })['tool_choice']
  expect(engineBody({ tools })['tools']).toEqual([
    {
      type: 'function',
      function: {
        name: 'weather',
        description: 'Tells it.',
        parameters: { type: 'object', properties: { city: { type: 'string' } } },
      },
    },
  ])
  expect(choiceOf(undefined)).toBeUndefined()
  expect(choiceOf({ type: 'auto' })).toBe('auto')
  expect(choiceOf({ type: 'any' })).toBe('required')
  expect(choiceOf({ type: 'none' })).toBe('none')
  expect(choiceOf({ type: 'tool', name: 'weather' })).toEqual({
    type: 'function',
    function: { name: 'weather' },
  })
  const alone = { type: 'auto', disable_parallel_tool_use: true }
  expect(engineBody({ tools, tool_choice: alone })['parallel_tool_calls']).toBe(false)
  expect(engineBody({ tools })['parallel_tool_calls']).toBeUndefined()
  // Without tools, a choice of them says nothing.
  expect(engineBody({ tool_choice: { type: 'auto' } })['tool_choice']).toBeUndefined()
})

test('sampling, stops and a schema for the answer are passed on', () => {
  const schema = { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] }
  const format = { type: 'json_schema', schema }
  const responseFormat = {
    type: 'json_schema',
    json_schema: { name: 'output', schema, strict: true },
  }
  expect(
    engineBody({
      temperature: 0,
      top_k: 5,
      top_p: 0.5,
      stop_sequences: ['END'],
      metadata: { user_id: 'x'.repeat(2_000) },
      service_tier: 'auto',
      output_config: { format },
    }),
  ).toEqual({
    messages: [{ role: 'user', content: 'hi' }],
    max_tokens: 64,
    temperature: 0,
    top_k: 5,
    top_p: 0.5,
    stop: ['END'],
    response_format: responseFormat,
  })
  expect(engineBody({ output_format: format })['response_format']).toEqual(responseFormat)
})

const thoughts = [
  { name: 'nothing said', given: {}, want: {} },
  {
    name: 'enabled with a small budget',
    given: { thinking: { type: 'enabled', budget_tokens: 1_024 } },
    want: {
      chat_template_kwargs: { enable_thinking: true, thinking: true },
      reasoning_effort: 'low',
    },
  },
  {
    name: 'enabled with a large budget',
    given: { thinking: { type: 'enabled', budget_tokens: 31_999 } },
    want: {
      chat_template_kwargs: { enable_thinking: true, thinking: true },
      reasoning_effort: 'high',
    },
  },
  {
    name: 'disabled',
    given: { thinking: { type: 'disabled' }, output_config: { effort: 'high' } },
    want: { chat_template_kwargs: { enable_thinking: false, thinking: false } },
  },
  { name: 'adaptive', given: { thinking: { type: 'adaptive' } }, want: {} },
  {
    name: 'adaptive with the greatest effort',
    given: { thinking: { type: 'adaptive' }, output_config: { effort: 'max' } },
    want: { reasoning_effort: 'high' },
  },
]
for (const { name, given, want } of thoughts) {
  test(`thinking, ${name}: the engine is told just that`, () => {
    const { messages: _messages, max_tokens: _limit, ...rest } = engineBody(given)
    expect(rest).toEqual(want)
  })
}

const invalid = 'client.invalid_request'
const unsupported = 'client.unsupported_value'
const refused = [
  { name: 'no max_tokens', given: { max_tokens: undefined }, code: invalid, param: 'max_tokens' },
  {
    name: 'a temperature above 1',
    given: { temperature: 1.5 },
    code: invalid,
    param: 'temperature',
  },
  { name: 'no messages', given: { messages: [] }, code: invalid, param: 'messages' },
  {
    name: 'five stop sequences',
    given: { stop_sequences: ['a', 'b', 'c', 'd', 'e'] },
    code: invalid,
    param: 'stop_sequences',
  },
  {
    name: 'a remote image',
    given: asUser({ type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } }),
    code: unsupported,
    param: 'messages[0].content[0].source.type',
  },
  {
    name: 'a stored document',
    given: asUser({ type: 'document', source: { type: 'file', file_id: 'file_1' } }),
    code: unsupported,
    param: 'messages[0].content[0].source.type',
  },
  {
    name: "a block of Anthropic's own tools",
    given: asUser({ type: 'server_tool_use', id: 'srvtoolu_1', name: 'web_search', input: {} }),
    code: unsupported,
    param: 'messages[0].content[0].type',
  },
  {
    name: "one of Anthropic's own tools",
    given: { tools: [{ type: 'web_search_20250305', name: 'web_search' }] },
    code: unsupported,
    param: 'tools[0].type',
  },
  {
    name: 'an MCP server',
    given: { mcp_servers: [{ type: 'url', url: 'https://example.com', name: 'x' }] },
    code: unsupported,
    param: 'mcp_servers',
  },
  {
    name: 'a choice of a tool that is not offered',
    given: {
      tools: [{ name: 'a', input_schema: { type: 'object' } }],
      tool_choice: { type: 'tool', name: 'b' },
    },
    code: invalid,
    param: 'tool_choice',
  },
]
for (const { name, given, code, param } of refused) {
  test(`${name} is refused, and param says where`, () => {
    expect(refusal(given)).toEqual({ code, param })
  })
}

test('fields that only Anthropic knows are tolerated', () => {
  const given = {
    context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
    container: null,
    betas: ['x'],
    cache_control: { type: 'ephemeral' },
    inference_geo: 'eu',
    mcp_servers: [],
  }
  expect(engineBody(given)).toEqual(engineBody({}))
})

test('a count takes the same body without max_tokens', () => {
  const { max_tokens: _limit, ...rest } = minimal
  expect(toChatBody(parseCountRequest(rest))).toMatchObject({ model: 'm' })
  expect(() => parseMessageRequest(rest)).toThrow(Fault)
})

/** As it should be, nine times of ten. */
const mostly = (good: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 9, arbitrary: good }, { weight: 1, arbitrary: fc.jsonValue() })
const word = mostly(fc.stringMatching(/^[a-z]{1,8}$/))
const textBlock = fc.record({ type: fc.constant('text'), text: mostly(fc.string()) })
const source = fc.record({
  type: mostly(fc.constantFrom('base64', 'text', 'content')),
  media_type: fc.constantFrom('text/plain', 'application/pdf'),
  data: fc.base64String({ minLength: 4 }),
  content: mostly(fc.array(textBlock, { maxLength: 2 })),
})
const anyBlock = mostly(
  fc.oneof(
    textBlock,
    fc.record({ type: fc.constant('document'), source, title: word }),
    fc.record({ type: fc.constant('tool_use'), id: word, name: word, input: fc.object() }),
    fc.record({
      type: fc.constant('tool_result'),
      tool_use_id: word,
      content: mostly(fc.array(textBlock, { maxLength: 2 })),
      is_error: mostly(fc.boolean()),
    }),
    fc.record({ type: fc.constant('thinking'), thinking: fc.string(), signature: word }),
  ),
)
const anyRequest = fc.record(
  {
    model: fc.constant('m'),
    max_tokens: mostly(fc.integer({ min: 1, max: 100 })),
    messages: fc.array(
      fc.record({
        role: fc.constantFrom('user', 'assistant', 'system'),
        content: mostly(fc.oneof(fc.string(), fc.array(anyBlock, { maxLength: 3 }))),
      }),
      { minLength: 1, maxLength: 4 },
    ),
    system: mostly(fc.oneof(fc.string(), fc.array(textBlock, { maxLength: 2 }))),
    tools: mostly(fc.array(fc.record({ name: word, input_schema: fc.object() }))),
    tool_choice: mostly(fc.record({ type: fc.constantFrom('auto', 'any', 'none') })),
    thinking: mostly(
      fc.record({ type: fc.constantFrom('enabled', 'adaptive'), budget_tokens: fc.constant(9) }),
    ),
    output_config: mostly(fc.constant({ effort: 'low' })),
  },
  { requiredKeys: ['model', 'max_tokens', 'messages'] },
)

test('whatever is sent becomes a body for an engine, or a refusal of the client', () => {
  let accepted = 0
  const judge = (value: unknown): void => {
    try {
      const body = toEngineBody(parseChatRequest(toChatBody(parseMessageRequest(value))))
      expect(Array.isArray(body['messages'])).toBe(true)
      accepted += 1
    } catch (error) {
      if (!(error instanceof Fault) || !error.code.startsWith('client.')) throw error
    }
  }
  fc.assert(fc.property(anyRequest, judge), { numRuns: 500 })
  fc.assert(fc.property(fc.jsonValue(), judge), { numRuns: 200 })
  // Enough of them go all the way.
  expect(accepted).toBeGreaterThan(50)
})

/** A PNG of one pixel. */
const onePixel =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
