/** Anthropic's dialect, from the socket to the ledger, over an engine that says what its script says. */
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  doneEvent,
  gatewayForTests,
  toEvent,
  type EngineHears,
  type EngineSays,
  type GatewayForTests,
} from '../../test/gateway-for-tests.ts'

type Json = Readonly<Record<string, unknown>>

const usage = {
  prompt_tokens: 30,
  completion_tokens: 6,
  prompt_tokens_details: { cached_tokens: 10 },
  completion_tokens_details: { reasoning_tokens: 2 },
}

/** What the engine streams for each model. */
const scripts: Readonly<Record<string, readonly Json[]>> = {
  talks: [
    { delta: { role: 'assistant', content: '' } },
    { delta: { reasoning_content: 'Hm.' } },
    { delta: { content: 'Hel' } },
    { delta: { content: 'lo' } },
    { delta: {}, finish_reason: 'stop' },
  ],
  calls: [
    { delta: { content: 'I look.' } },
    {
      delta: {
        tool_calls: [
          { index: 0, id: 'call_a', type: 'function', function: { name: 'look', arguments: '' } },
        ],
      },
    },
    { delta: { tool_calls: [{ index: 0, function: { arguments: '{"at":' } }] } },
    { delta: { tool_calls: [{ index: 0, function: { arguments: '"a"}' } }] } },
    {
      delta: {
        tool_calls: [
          { index: 1, id: 'call_b', type: 'function', function: { name: 'look', arguments: '{}' } },
        ],
      },
    },
    { delta: {}, finish_reason: 'tool_calls' },
  ],
  breaks: [{ delta: { content: 'Once upon' } }],
  counts: [{ delta: { content: 'x' } }, { delta: {}, finish_reason: 'stop' }],
  dawdles: [{ delta: { content: 'x' } }, { delta: {}, finish_reason: 'stop' }],
}
const exactTokens = 1_234

let gateway: GatewayForTests

beforeAll(async () => {
  const model = { category: 'chat', contextWindowTokens: 8_000 } as const
  // Our own kind of engine counts tokens; any compatible one does not.
  const kinds: Readonly<Record<string, string>> = { counts: 'llama-cpp', dawdles: 'llama-cpp' }
  gateway = await gatewayForTests({
    script: answer,
    priceListId: 'standard',
    models: [
      ...[...Object.keys(scripts), 'busy'].map((id) => ({
        ...model,
        id,
        engineKind: kinds[id] ?? 'openai-compatible',
      })),
      { ...model, id: 'nowhere', engineKind: null },
    ],
  })
}, 120_000)

afterAll(() => gateway?.close())

async function answer({ path, body, closed }: EngineHears): Promise<EngineSays> {
  const model = String(body['model'])
  if (path === '/tokenize') {
    // Whoever asked gives up before this engine has counted.
    if (model !== 'counts') await closed
    return { body: { count: exactTokens, max_model_len: 8_000 } }
  }
  if (model === 'busy') return { status: 503, headers: { 'retry-after': '2' }, body: {} }
  if (body['stream'] !== true) {
    const message = { role: 'assistant', reasoning_content: 'Hm.', content: 'Hello' }
    return { body: { choices: [{ index: 0, message, finish_reason: 'stop' }], usage } }
  }
  const events = (scripts[model] ?? []).map((choice) =>
    toEvent({ choices: [{ index: 0, finish_reason: null, ...choice }] }),
  )
  if (model === 'breaks') return { pieces: events, ending: 'cut' }
  return { pieces: [...events, toEvent({ choices: [], usage }), doneEvent] }
}

interface Answer {
  readonly status: number
  readonly text: string
  readonly json: Json
  readonly events: readonly (Json & { readonly type: string })[]
  readonly headers: Headers
  readonly requestId: string
}

async function post(
  path: string,
  body: unknown,
  headers: Record<string, string> = { 'x-api-key': gateway.key },
): Promise<Answer> {
  gateway.heard()
  const response = await fetch(gateway.url + path, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'anthropic-version': '2023-06-01',
      ...headers,
    },
    body: JSON.stringify(body),
  })
  const text = await response.text()
  const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true
  return {
    status: response.status,
    text,
    json: isStream ? {} : (JSON.parse(text) as Json),
    events: isStream ? readEvents(text) : [],
    headers: response.headers,
    requestId: response.headers.get('request-id') ?? '',
  }
}

function readEvents(text: string): (Json & { readonly type: string })[] {
  return text
    .trim()
    .split('\n\n')
    .map((event) => {
      const [, name, data] = /^event: (\w+)\ndata: (.*)$/s.exec(event) ?? []
      const value = JSON.parse(data ?? '') as Json & { readonly type: string }
      expect(value.type).toBe(name)
      return value
    })
}

const ask = (fields: Json, headers?: Record<string, string>): Promise<Answer> =>
  post(
    '/v1/messages',
    {
      model: 'talks',
      max_tokens: 64,
      messages: [{ role: 'user', content: 'Hi.' }],
      ...fields,
    },
    headers,
  )

test('a whole message has its blocks, its usage and the id of its request, and is billed what the engine counted', async () => {
  const { status, json, headers, requestId } = await ask({})
  expect(status).toBe(200)
  expect(json).toEqual({
    id: `msg_${requestId.slice('req_'.length)}`,
    type: 'message',
    role: 'assistant',
    model: 'talks',
    content: [
      { type: 'thinking', thinking: 'Hm.', signature: '' },
      { type: 'text', text: 'Hello' },
    ],
    stop_reason: 'end_turn',
    stop_sequence: null,
    usage: {
      input_tokens: 20,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 10,
      output_tokens: 6,
      output_tokens_details: { thinking_tokens: 2 },
      service_tier: 'standard',
    },
  })
  expect(headers.get('x-request-id')).toBe(requestId)
  expect(await gateway.billed(requestId)).toMatchObject({
    endpoint: '/v1/messages',
    outcome: 'completed',
    input_tokens: 30n,
    output_tokens: 6n,
  })
})

test('a streamed message has its events in order, with indices, a first usage that is not zero and the last one as counted', async () => {
  const { events, headers, requestId } = await ask({ stream: true })
  expect(headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  expect(events.map((event) => [event.type, event['index']])).toEqual([
    ['message_start', undefined],
    ['content_block_start', 0],
    ['content_block_delta', 0],
    ['content_block_delta', 0],
    ['content_block_stop', 0],
    ['content_block_start', 1],
    ['content_block_delta', 1],
    ['content_block_delta', 1],
    ['content_block_stop', 1],
    ['message_delta', undefined],
    ['message_stop', undefined],
  ])
  const start = events[0]?.['message'] as { readonly usage: { readonly input_tokens: number } }
  expect(start.usage.input_tokens).toBeGreaterThan(0)
  expect(events.at(-2)).toMatchObject({
    delta: { stop_reason: 'end_turn', stop_sequence: null },
    usage: { input_tokens: 20, cache_read_input_tokens: 10, output_tokens: 6 },
  })
  expect(await gateway.billed(requestId)).toMatchObject({ outcome: 'completed', output_tokens: 6n })
})

test('an engine that breaks off ends the stream with an error event and without message_stop, and what was emitted is billed', async () => {
  const { status, events, requestId } = await ask({ model: 'breaks', stream: true })
  expect(status).toBe(200)
  expect(events.at(-1)).toMatchObject({
    type: 'error',
    error: { type: 'api_error' },
    request_id: requestId,
  })
  expect(events.map((event) => event.type)).not.toContain('message_stop')
  expect(await gateway.billed(requestId)).toMatchObject({ outcome: 'upstream_failed' })
})

const look = { name: 'look', input_schema: { type: 'object', properties: {} } }

test('calls come as blocks, and their results go back to the engine under the same ids', async () => {
  const question = { role: 'user', content: 'What is at a?' }
  const first = await ask({ model: 'calls', stream: true, tools: [look], messages: [question] })
  const blocks = first.events.filter((event) => event.type === 'content_block_start')
  expect(blocks.map((event) => event['content_block'])).toEqual([
    { type: 'text', text: '' },
    { type: 'tool_use', id: 'call_a', name: 'look', input: {} },
    { type: 'tool_use', id: 'call_b', name: 'look', input: {} },
  ])
  const pieces = first.events.flatMap((event) => {
    const delta = event['delta'] as Json | undefined
    return event['index'] === 1 ? (delta?.['partial_json'] ?? []) : []
  })
  expect(pieces).toEqual(['', '{"at":', '"a"}'])
  expect(first.events.at(-2)).toMatchObject({ delta: { stop_reason: 'tool_use' } })

  const second = await ask({
    tools: [look],
    messages: [
      question,
      {
        role: 'assistant',
        content: [
          { type: 'text', text: 'I look.' },
          { type: 'tool_use', id: 'call_a', name: 'look', input: { at: 'a' } },
          { type: 'tool_use', id: 'call_b', name: 'look', input: {} },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'call_a', content: 'a cat' },
          { type: 'tool_result', tool_use_id: 'call_b', content: [{ type: 'text', text: 'dust' }] },
        ],
      },
    ],
  })
  expect(second.status).toBe(200)
  const sent = gateway.heard()[0]?.body['messages'] as Json[]
  expect(sent.slice(1)).toEqual([
    {
      role: 'assistant',
      content: 'I look.',
      tool_calls: [
        { id: 'call_a', type: 'function', function: { name: 'look', arguments: '{"at":"a"}' } },
        { id: 'call_b', type: 'function', function: { name: 'look', arguments: '{}' } },
      ],
    },
    { role: 'tool', tool_call_id: 'call_a', content: 'a cat' },
    { role: 'tool', tool_call_id: 'call_b', content: 'dust' },
  ])
})

/** In the shape of what coding agents send. */
const agentRequest = {
  model: 'talks',
  max_tokens: 4_000,
  stream: true,
  temperature: 1,
  system: [
    { type: 'text', text: 'x-anthropic-billing-header: cc_version=2.1.0; cch=12345;' },
    { type: 'text', text: 'You are an agent.', cache_control: { type: 'ephemeral' } },
    {
      type: 'text',
      text: 'Work in this folder.',
      cache_control: { type: 'ephemeral', ttl: '1h', scope: 'global' },
    },
  ],
  messages: [
    {
      role: 'user',
      content: [
        { type: 'text', text: '<system-reminder>Be careful.</system-reminder>' },
        { type: 'text', text: 'List the files.', cache_control: { type: 'ephemeral' } },
      ],
    },
  ],
  tools: Array.from({ length: 60 }, (_, index) => ({
    name: `mcp__server__tool_${index}`,
    description: 'Does a thing.',
    input_schema: {
      $schema: 'http://json-schema.org/draft-07/schema#',
      type: 'object',
      properties: { path: { type: 'string', description: 'Where.' } },
      required: ['path'],
      additionalProperties: false,
    },
    ...(index === 59 ? { cache_control: { type: 'ephemeral' } } : {}),
  })),
  thinking: { type: 'adaptive' },
  context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
  output_config: { effort: 'high' },
  metadata: { user_id: JSON.stringify({ device_id: 'd'.repeat(64), session_id: 's' }) },
}

test('a coding agent is served: system blocks, many tools, cache_control everywhere, beta headers that nobody knows', async () => {
  const { status, events } = await post('/v1/messages?beta=true', agentRequest, {
    authorization: `Bearer ${gateway.key}`,
    'anthropic-beta': 'claude-code-20250219,interleaved-thinking-2025-05-14,from-the-future-2030',
    'anthropic-dangerous-direct-browser-access': 'true',
    'user-agent': 'agent/1.0 (external, cli)',
    'x-app': 'cli',
    'x-stainless-retry-count': '0',
  })
  expect(status).toBe(200)
  expect(events.at(-1)?.type).toBe('message_stop')
  const body = gateway.heard()[0]?.body ?? {}
  expect(body['messages']).toEqual([
    { role: 'system', content: 'You are an agent.\n\nWork in this folder.' },
    {
      role: 'user',
      content: '<system-reminder>Be careful.</system-reminder>\n\nList the files.',
    },
  ])
  expect(body['tools']).toHaveLength(60)
  expect(body['reasoning_effort']).toBe('high')
  expect(JSON.stringify(body)).not.toMatch(/cache_control|context_management|user_id|cch=/)
})

test('the version is not asked for, and a key is taken in either header', async () => {
  const noVersion = { 'anthropic-version': '', authorization: `Bearer ${gateway.key}` }
  expect((await ask({}, noVersion)).status).toBe(200)
  expect((await ask({}, { 'x-api-key': gateway.key })).status).toBe(200)
})

test('limits stand in the headers in Anthropic’s form, on answers, streams and refusals, and a refusal says when to come back', async () => {
  const { secret } = await gateway.makeKey({
    rules: [
      { measure: 'requests', window: 'hour', limit: 2n },
      { measure: 'input_tokens', window: 'day', limit: 100_000n },
      { measure: 'output_tokens', window: 'day', limit: 5_000n },
    ],
  })
  const key = { 'x-api-key': secret }
  const answers = [await ask({}, key), await ask({ stream: true }, key), await ask({}, key)]
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 429])
  const left = (name: string): (number | null)[] =>
    answers.map(({ headers }) => {
      const [limit, remaining, reset] = ['limit', 'remaining', 'reset'].map((what) =>
        headers.get(`anthropic-ratelimit-${name}-${what}`),
      )
      expect(Number(limit)).toBeGreaterThan(0)
      expect(reset).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
      // The clock may have gone on to the next second.
      expect(Date.parse(reset ?? '')).toBeGreaterThan(Date.now() - 5_000)
      return Number(remaining)
    })
  expect(left('requests')).toEqual([1, 0, 0])
  const outputs = left('output-tokens')
  expect(outputs[0]).toBeLessThan(5_000)
  expect(left('tokens')).toEqual(outputs)
  expect(left('input-tokens')[0]).toBeGreaterThan(90_000)
  for (const { headers } of answers) expect(headers.get('x-ratelimit-limit-requests')).toBe('2')
  const refused = answers[2]
  expect(refused?.json).toMatchObject({ error: { type: 'rate_limit_error' } })
  expect(refused?.headers.get('retry-after')).toMatch(/^[1-9]\d*$/)
})

test('other dialects do not get Anthropic’s headers', async () => {
  const { secret } = await gateway.makeKey({ rules: [{ measure: 'requests', limit: 9n }] })
  const chat = { model: 'talks', messages: [{ role: 'user', content: 'Hi.' }] }
  const { status, headers } = await post('/v1/chat/completions', chat, {
    authorization: `Bearer ${secret}`,
  })
  expect(status).toBe(200)
  expect(headers.get('x-ratelimit-limit-requests')).toBe('9')
  expect([...headers.keys()].filter((name) => name.startsWith('anthropic-'))).toEqual([])
})

const refusals = [
  {
    name: 'no key',
    given: () => ask({}, { 'x-api-key': '' }),
    status: 401,
    type: 'authentication_error',
  },
  {
    name: 'an unknown model',
    given: () => ask({ model: 'claude-9' }),
    status: 404,
    type: 'not_found_error',
  },
  {
    name: 'a body without max_tokens',
    given: () => ask({ max_tokens: undefined }),
    status: 400,
    type: 'invalid_request_error',
  },
  {
    name: "one of Anthropic's own tools",
    given: () => ask({ tools: [{ type: 'web_search_20250305', name: 'web_search' }] }),
    status: 400,
    type: 'invalid_request_error',
  },
  {
    name: 'more output than the model can give',
    given: () => ask({ max_tokens: 9_000 }),
    status: 400,
    type: 'invalid_request_error',
  },
  {
    name: 'a busy engine',
    given: () => ask({ model: 'busy' }),
    status: 529,
    type: 'overloaded_error',
  },
  {
    name: 'a model without an engine',
    given: () => ask({ model: 'nowhere', stream: true }),
    status: 529,
    type: 'overloaded_error',
  },
  {
    name: 'a count without a key',
    given: () => post('/v1/messages/count_tokens', {}, {}),
    status: 401,
    type: 'authentication_error',
  },
]
for (const { name, given, status, type } of refusals) {
  test(`${name} is refused with ${status} ${type}, in Anthropic's error shape`, async () => {
    const refused = await given()
    expect(refused.status).toBe(status)
    expect(refused.json).toEqual({
      type: 'error',
      error: { type, message: expect.any(String), details: expect.any(Object) },
      request_id: refused.requestId,
    })
    expect(refused.requestId).toMatch(/^req_/)
    if (status === 529) expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  })
}

const count = (model: string): Promise<Answer> => {
  const { max_tokens: _limit, stream: _stream, ...rest } = agentRequest
  return post('/v1/messages/count_tokens', { ...rest, model })
}

test('an engine that can count does, of the very prompt that it would answer, and nothing is billed', async () => {
  const counted = await count('counts')
  expect(counted.json).toEqual({ input_tokens: exactTokens })
  expect(counted.headers.get('x-token-count')).toBe('exact')
  const [asked] = gateway.heard()
  expect(asked?.path).toBe('/tokenize')
  await post('/v1/messages', { ...agentRequest, model: 'counts' })
  const chat = gateway.heard()[0]?.body ?? {}
  expect(asked?.body).toEqual({
    model: 'counts',
    messages: chat['messages'],
    tools: chat['tools'],
    reasoning_effort: chat['reasoning_effort'],
  })
  const events = await gateway.inDatabase((tx) =>
    sql`SELECT 1 FROM usage_events WHERE request_id = ${counted.requestId}`.execute(tx),
  )
  expect(events.rows).toEqual([])
})

test('where no engine counts, or one takes too long, the count is our estimate, and says so', async () => {
  const estimates: number[] = []
  for (const model of ['nowhere', 'dawdles', 'talks']) {
    const { status, json, headers } = await count(model)
    expect(status).toBe(200)
    expect(headers.get('x-token-count')).toBe('estimated')
    estimates.push(Number(json['input_tokens']))
  }
  const [unknown = 0, late, learned] = estimates
  expect(unknown).toBeGreaterThan(60 * 20)
  expect(unknown).toBeLessThan(60 * 200)
  expect(late).toBe(unknown)
  // This engine has always counted more than we had estimated.
  expect(learned).toBeGreaterThan(unknown)
})
