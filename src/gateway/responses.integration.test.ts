/** The Responses API over HTTP and WebSocket, by OpenAI's own client where it can, over real PostgreSQL, the real journal and a scripted engine. */
import { connect, type Socket } from 'node:net'
import OpenAI from 'openai'
import { ResponsesWS } from 'openai/resources/responses/ws'
import type { ResponseStreamEvent } from 'openai/resources/responses/responses'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import {
  doneEvent,
  gatewayForTests,
  toEvent,
  type BilledUsage,
  type EngineHears,
  type EngineSays,
  type GatewayForTests,
  type KeyForTests,
} from '../../test/gateway-for-tests.ts'
import { revokeApiKey } from '../identity/identity.ts'

type Delta = Readonly<Record<string, unknown>>
/** What the engine says, and how it ends: `hold` waits until it is let go, `cut` closes without an end. */
interface Script {
  readonly deltas: readonly Delta[]
  readonly ending: 'stop' | 'length' | 'tool_calls' | 'hold' | 'cut'
}

const words = ['Once', ' upon', ' a', ' time']
const text = words.map((word): Delta => ({ content: word }))
const call = (index: number, name: string, pieces: readonly string[]): readonly Delta[] => [
  {
    tool_calls: [
      { index, id: `call_${index}`, type: 'function', function: { name, arguments: '' } },
    ],
  },
  ...pieces.map((piece) => ({ tool_calls: [{ index, function: { arguments: piece } }] })),
]
const scripts: Readonly<Record<string, Script>> = {
  text: { deltas: text, ending: 'stop' },
  short: { deltas: text, ending: 'length' },
  reasoning: {
    deltas: [{ reasoning_content: 'I count' }, { reasoning_content: ' sheep.' }, ...text],
    ending: 'stop',
  },
  tools: {
    deltas: [
      ...text,
      ...call(0, 'get_weather', ['{"city":', '"Graz"}']),
      ...call(1, 'shell', ['{"inp', 'ut":"ls \\', 'n\\u00e9', '"}']),
    ],
    ending: 'tool_calls',
  },
  hold: { deltas: text, ending: 'hold' },
  cut: { deltas: text, ending: 'cut' },
}

let gateway: GatewayForTests
let key: string
let otherKey: string
let shortLived: KeyForTests
/** What the engine was asked last. */
let asked: EngineHears
const letGo = Promise.withResolvers<void>()

beforeAll(async () => {
  gateway = await gatewayForTests({
    script: say,
    priceListId: 'standard',
    models: Object.keys(scripts).map((id) => ({ id, category: 'chat' })),
    gateway: { bodyBytesMax: 64 * 1024, corsOrigins: ['https://console.example'] },
  })
  key = gateway.key
  otherKey = (await gateway.makeKey({ owner: await gateway.makeOwner('B') })).secret
  shortLived = await gateway.makeKey()
}, 120_000)

afterAll(() => gateway?.close())

function say(heard: EngineHears): EngineSays {
  asked = heard
  return { pieces: tell(scripts[String(heard.body['model'])] ?? { deltas: text, ending: 'stop' }) }
}

async function* tell({ deltas, ending }: Script): AsyncIterable<string> {
  const chunk = (rest: object): string =>
    toEvent({ id: 'x', object: 'chat.completion.chunk', ...rest })
  const choice = (delta: Delta, finish_reason: string | null): string =>
    chunk({ choices: [{ index: 0, delta, finish_reason }] })
  for (const delta of deltas) yield choice(delta, null)
  if (ending === 'cut') return
  if (ending === 'hold') await letGo.promise
  yield choice({}, ending === 'hold' ? 'stop' : ending)
  const usage = { prompt_tokens: 9, completion_tokens: deltas.length, total_tokens: 13 }
  yield chunk({ choices: [], usage })
  yield doneEvent
}

const client = (secret = key): OpenAI =>
  new OpenAI({ apiKey: secret, baseURL: `${gateway.url}/v1`, maxRetries: 0 })

const post = (body: Record<string, unknown>, secret = key): Promise<Response> =>
  gateway.post('/v1/responses', { model: 'text', input: 'Tell me a story.', ...body }, secret)

const billed = (responseId: string): Promise<BilledUsage> =>
  gateway.billed(responseId.replace(/^resp_/, 'req_'))

async function collect(stream: AsyncIterable<ResponseStreamEvent>): Promise<ResponseStreamEvent[]> {
  const events: ResponseStreamEvent[] = []
  for await (const event of stream) events.push(event)
  return events
}

function expectNumbered(events: readonly { readonly sequence_number?: unknown }[]): void {
  expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index))
}

test('a whole response has every field that the SDK knows, keeps nothing, and is billed like a chat', async () => {
  const response = await client().responses.create({
    model: 'text',
    instructions: 'Be brief.',
    input: 'Tell me a story.',
    metadata: { purpose: 'test' },
  })
  expect(response).toMatchObject({
    object: 'response',
    status: 'completed',
    store: false,
    background: false,
    error: null,
    incomplete_details: null,
    instructions: 'Be brief.',
    model: 'text',
    parallel_tool_calls: true,
    tool_choice: 'auto',
    tools: [],
    truncation: 'disabled',
    metadata: { purpose: 'test' },
    output_text: 'Once upon a time',
    usage: {
      input_tokens: 9,
      output_tokens: 4,
      total_tokens: 13,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens_details: { reasoning_tokens: 0 },
    },
  })
  expect(response.id).toMatch(/^resp_/)
  // The fields that OpenAI's client declares as always there.
  for (const field of [
    'id',
    'access_programs',
    'created_at',
    'output_text',
    'error',
    'incomplete_details',
    'instructions',
    'metadata',
    'model',
    'object',
    'output',
    'parallel_tool_calls',
    'temperature',
    'tool_choice',
    'tools',
    'top_p',
  ]) {
    expect(response).toHaveProperty(field)
  }
  expect(response.output[0]).toMatchObject({
    type: 'message',
    role: 'assistant',
    status: 'completed',
    content: [{ type: 'output_text', text: 'Once upon a time', annotations: [] }],
  })
  expect(asked.body['messages']).toEqual([
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Tell me a story.' },
  ])
  expect(await billed(response.id)).toMatchObject({
    outcome: 'completed',
    input_tokens: 9n,
    output_tokens: 4n,
    endpoint: '/v1/responses',
  })
})

test("a stream tells the same response in OpenAI's order, numbered from the first event to the last", async () => {
  const stream = await client().responses.create({
    model: 'reasoning',
    input: 'Tell me a story.',
    stream: true,
  })
  const events = await collect(stream)
  expectNumbered(events)
  const types = events.map((event) => event.type)
  expect(types).toEqual([
    'response.created',
    'response.in_progress',
    'response.output_item.added',
    'response.content_part.added',
    'response.reasoning_text.delta',
    'response.reasoning_text.delta',
    'response.reasoning_text.done',
    'response.content_part.done',
    'response.output_item.done',
    'response.output_item.added',
    'response.content_part.added',
    ...words.map(() => 'response.output_text.delta'),
    'response.output_text.done',
    'response.content_part.done',
    'response.output_item.done',
    'response.completed',
  ])
  const last = events.at(-1)
  if (last?.type !== 'response.completed') throw new Error('the stream did not complete')
  const done = events.flatMap((event) =>
    event.type === 'response.output_item.done' ? [event.item] : [],
  )
  expect(last.response.output).toEqual(done)
  expect(last.response.usage).toMatchObject({ input_tokens: 9, output_tokens: 6 })
  expect(await billed(last.response.id)).toMatchObject({ outcome: 'completed', output_tokens: 6n })
})

test("the SDK's own accumulator follows functions, custom tools and text, and ends with what the server says", async () => {
  const stream = client().responses.stream({
    model: 'tools',
    input: 'What is the weather?',
    tools: [
      { type: 'function', name: 'get_weather', parameters: {}, strict: false },
      { type: 'custom', name: 'shell', description: 'Runs a command.' },
    ],
    tool_choice: {
      type: 'allowed_tools',
      mode: 'auto',
      tools: [
        { type: 'custom', name: 'shell' },
        { type: 'function', name: 'get_weather' },
      ],
    },
  })
  const events = await collect(stream)
  expectNumbered(events)
  const response = await stream.finalResponse()
  expect(response.output).toMatchObject([
    { type: 'message', content: [{ text: 'Once upon a time' }] },
    { type: 'function_call', name: 'get_weather', call_id: 'call_0', arguments: '{"city":"Graz"}' },
    { type: 'custom_tool_call', name: 'shell', call_id: 'call_1', input: 'ls \né' },
  ])
  const input = events.flatMap((event) =>
    event.type === 'response.custom_tool_call_input.delta' ? [event.delta] : [],
  )
  expect(input.length).toBeGreaterThan(1)
  expect(input.join('')).toBe('ls \né')
  expect(asked.body['tools']).toMatchObject([
    { function: { name: 'get_weather' } },
    { function: { name: 'shell', parameters: { required: ['input'] } } },
  ])
})

test('what a model did comes back as one turn, with its calls, their results and pictures of them refused where none are seen', async () => {
  const response = await post({
    input: [
      { role: 'user', content: [{ type: 'input_text', text: 'Hi' }] },
      {
        type: 'reasoning',
        id: 'rs_1',
        summary: [],
        content: [{ type: 'reasoning_text', text: 'Hm.' }],
      },
      {
        type: 'message',
        id: 'msg_1',
        role: 'assistant',
        status: 'completed',
        content: [{ type: 'output_text', text: 'Let me look.', annotations: [] }],
      },
      { type: 'function_call', id: 'fc_1', call_id: 'c1', name: 'f', arguments: '{}' },
      { type: 'custom_tool_call', id: 'ctc_1', call_id: 'c2', name: 'shell', input: 'ls "x"' },
      { type: 'function_call_output', call_id: 'c1', output: 'sunny' },
      {
        type: 'custom_tool_call_output',
        call_id: 'c2',
        output: [{ type: 'input_text', text: 'file' }],
      },
      { type: 'message', role: 'developer', content: 'Go on.' },
    ],
  })
  expect(response.status).toBe(200)
  expect(asked.body['messages']).toEqual([
    { role: 'user', content: 'Hi' },
    {
      role: 'assistant',
      content: 'Let me look.',
      reasoning_content: 'Hm.',
      reasoning: 'Hm.',
      tool_calls: [
        { id: 'c1', type: 'function', function: { name: 'f', arguments: '{}' } },
        {
          id: 'c2',
          type: 'function',
          function: { name: 'shell', arguments: '{"input":"ls \\"x\\""}' },
        },
      ],
    },
    { role: 'tool', tool_call_id: 'c1', content: 'sunny' },
    { role: 'tool', tool_call_id: 'c2', content: 'file' },
    { role: 'system', content: 'Go on.' },
  ])
  const picture =
    'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
  const refused = await post({
    input: [
      {
        role: 'user',
        content: [
          { type: 'input_text', text: 'See' },
          { type: 'input_image', image_url: picture },
        ],
      },
    ],
  })
  expect(refused.status).toBe(400)
  expect(await refused.json()).toMatchObject({
    error: { code: 'capability_missing', param: 'input[0].content[1]' },
  })
})

test('an answer that ran out of tokens is incomplete, and so is its last item', async () => {
  const stream = await client().responses.create({ model: 'short', input: 'Hi', stream: true })
  const events = await collect(stream)
  const last = events.at(-1)
  if (last?.type !== 'response.incomplete') throw new Error('not incomplete')
  expect(last.response).toMatchObject({
    status: 'incomplete',
    incomplete_details: { reason: 'max_output_tokens' },
    output: [{ status: 'incomplete' }],
  })
})

test('a stream that was cut ends with an error and response.failed, never completed, and what was emitted is billed', async () => {
  const response = await post({ model: 'cut', stream: true })
  const events = (await response.text())
    .trim()
    .split('\n\n')
    .map((event): Record<string, unknown> => JSON.parse(event.replace(/^event: .*\ndata: /, '')))
  expectNumbered(events)
  const types = events.map((event) => event['type'])
  expect(types.slice(-2)).toEqual(['error', 'response.failed'])
  expect(types).not.toContain('response.completed')
  expect(events.at(-1)?.['response']).toMatchObject({
    status: 'failed',
    error: { code: 'server_error' },
    output: [{ status: 'incomplete', content: [{ text: 'Once upon a time' }] }],
  })
  const id = response.headers.get('x-request-id') ?? ''
  expect(await billed(id)).toMatchObject({ outcome: 'upstream_failed', output_tokens: 4n })
  await expect(
    client().responses.create({ model: 'cut', input: 'Hi', stream: true }).then(collect),
  ).rejects.toThrow(/ended/i)
})

test('a client that leaves in the middle of an answer pays for what was said', async () => {
  const stream = await client().responses.create({ model: 'hold', input: 'Hi', stream: true })
  let id = ''
  let words_ = 0
  for await (const event of stream) {
    if (event.type === 'response.created') id = event.response.id
    if (event.type === 'response.output_text.delta') words_ += 1
    if (words_ === 4) break
  }
  expect(await billed(id)).toMatchObject({ outcome: 'client_left', output_tokens: 4n })
})

test('reasoning travels sealed: its own tenant can send it back, another cannot, and none can change it', async () => {
  const response = await client().responses.create({
    model: 'reasoning',
    input: 'Hi',
    include: ['reasoning.encrypted_content'],
    store: false,
  })
  const [thought] = response.output
  if (thought?.type !== 'reasoning' || !thought.encrypted_content) throw new Error('no reasoning')
  expect(Buffer.from(thought.encrypted_content, 'base64').toString()).not.toContain('sheep')
  const sendBack = (sealed: string, secret: string): Promise<Response> =>
    post(
      {
        input: [
          { role: 'user', content: 'Hi' },
          { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: sealed },
          { role: 'assistant', content: 'Hello.' },
          { role: 'user', content: 'Go on.' },
        ],
      },
      secret,
    )
  expect((await sendBack(thought.encrypted_content, key)).status).toBe(200)
  expect(asked.body['messages']).toMatchObject([
    {},
    { role: 'assistant', content: 'Hello.', reasoning_content: 'I count sheep.' },
    {},
  ])
  const tampered = `AAAA${thought.encrypted_content.slice(4)}`
  for (const [sealed, secret] of [
    [thought.encrypted_content, otherKey],
    [tampered, key],
  ] as const) {
    const refused = await sendBack(sealed, secret)
    expect(refused.status).toBe(400)
    expect(await refused.json()).toMatchObject({
      error: { code: 'invalid_encrypted_content', param: 'input[1].encrypted_content' },
    })
  }
})

test('a client that asks for a summary is shown the reasoning in the form of one', async () => {
  const stream = await client().responses.create({
    model: 'reasoning',
    input: 'Hi',
    stream: true,
    reasoning: { effort: 'low', summary: 'auto' },
  })
  const events = await collect(stream)
  const types = events.map((event) => event.type)
  expect(types.filter((type) => type.includes('reasoning'))).toEqual([
    'response.reasoning_summary_part.added',
    'response.reasoning_summary_text.delta',
    'response.reasoning_summary_text.delta',
    'response.reasoning_summary_text.done',
    'response.reasoning_summary_part.done',
  ])
  const last = events.at(-1)
  if (last?.type !== 'response.completed') throw new Error('the stream did not complete')
  expect(last.response.output[0]).toMatchObject({
    type: 'reasoning',
    summary: [{ type: 'summary_text', text: 'I count sheep.' }],
  })
  expect(asked.body).toMatchObject({ reasoning_effort: 'low' })
})

const refusals = [
  { name: 'store', body: { store: true }, param: 'store', code: 'unsupported_value' },
  {
    name: 'an earlier response',
    body: { previous_response_id: 'resp_1' },
    param: 'previous_response_id',
    code: 'previous_response_not_found',
  },
  {
    name: 'a conversation',
    body: { conversation: 'c' },
    param: 'conversation',
    code: 'unsupported_value',
  },
  {
    name: 'background work',
    body: { background: true },
    param: 'background',
    code: 'unsupported_value',
  },
  {
    name: 'truncation',
    body: { truncation: 'auto' },
    param: 'truncation',
    code: 'unsupported_value',
  },
  {
    name: 'a stored prompt',
    body: { prompt: { id: 'p' } },
    param: 'prompt',
    code: 'unsupported_value',
  },
  {
    name: 'a hosted tool',
    body: { tools: [{ type: 'web_search' }] },
    param: 'tools[0].type',
    code: 'unsupported_value',
  },
  {
    name: 'a grammar',
    body: {
      tools: [
        { type: 'custom', name: 'p', format: { type: 'grammar', syntax: 'lark', definition: '' } },
      ],
    },
    param: 'tools[0].format',
    code: 'unsupported_value',
  },
  {
    name: 'a reference to an item',
    body: { input: [{ type: 'item_reference', id: 'x' }] },
    param: 'input[0].type',
    code: 'unsupported_value',
  },
  {
    name: 'a remote picture',
    body: {
      input: [
        { role: 'user', content: [{ type: 'input_image', image_url: 'https://x.example/a.png' }] },
      ],
    },
    param: 'input[0].content[0].image_url.url',
    code: 'unsupported_value',
  },
  { name: 'no input', body: { input: undefined }, param: 'input', code: null },
  {
    name: 'a wrong role',
    body: { input: [{ role: 'wizard', content: 'x' }] },
    param: 'input[0].role',
    code: null,
  },
  {
    name: 'too many tokens',
    body: { max_output_tokens: 5_000 },
    param: 'max_output_tokens',
    code: 'context_length_exceeded',
  },
  {
    name: 'a tool that is not offered',
    body: { tool_choice: 'required' },
    param: 'tool_choice',
    code: null,
  },
]
for (const { name, body, param, code } of refusals) {
  test(`${name} is refused in words, with the client's own field`, async () => {
    const response = await post(body)
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { param, code } })
  })
}

/** A socket whose messages are kept in order. */
interface Talk {
  readonly socket: WebSocket
  send(value: unknown): void
  next(): Promise<Record<string, unknown>>
  until(type: RegExp): Promise<Record<string, unknown>[]>
  readonly closed: Promise<readonly [code: number, reason: string]>
}

function talk(
  options: {
    readonly protocols?: readonly string[]
    readonly headers?: Record<string, string>
  } = {},
): Talk {
  const url = `${gateway.url.replace('http', 'ws')}/v1/responses`
  const headers = options.headers ?? { authorization: `Bearer ${key}` }
  const socket = new WebSocket(url, [...(options.protocols ?? [])], { headers })
  const heard: Record<string, unknown>[] = []
  let arrival = Promise.withResolvers<void>()
  socket.on('message', (bytes: Buffer) => {
    heard.push(JSON.parse(bytes.toString()))
    arrival.resolve()
    arrival = Promise.withResolvers()
  })
  const opened = new Promise<void>((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', reject)
  })
  opened.catch(() => {})
  socket.on('error', () => {})
  const next = async (): Promise<Record<string, unknown>> => {
    await opened
    while (heard.length === 0) await arrival.promise
    const message = heard.shift()
    if (!message) throw new Error('nothing heard')
    return message
  }
  return {
    socket,
    send: (value) => void opened.then(() => socket.send(JSON.stringify(value))),
    next,
    async until(type) {
      const messages: Record<string, unknown>[] = []
      do messages.push(await next())
      while (!type.test(String(messages.at(-1)?.['type'])))
      return messages
    },
    closed: new Promise((resolve) =>
      socket.once('close', (code, reason) => resolve([code, reason.toString()])),
    ),
  }
}

/** The HTTP answer to an upgrade that was refused. */
function refusedUpgrade(
  path: string,
  headers: Record<string, string>,
  protocols: readonly string[] = [],
): Promise<{ readonly status: number; readonly requestId: string; readonly body: unknown }> {
  const socket = new WebSocket(`${gateway.url.replace('http', 'ws')}${path}`, [...protocols], {
    headers,
  })
  return new Promise((resolve, reject) => {
    socket.on('error', () => {})
    socket.once('open', () => reject(new Error('the socket opened')))
    socket.once('unexpected-response', (_request, response) => {
      let body = ''
      response.on('data', (chunk: Buffer) => (body += chunk.toString()))
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          requestId: String(response.headers['x-request-id']),
          body: JSON.parse(body),
        }),
      )
    })
  })
}

const create = { type: 'response.create', model: 'text', input: 'Tell me a story.' }
const isOver = /^(response\.(completed|incomplete|failed)|error)$/

test('a socket answers one request after another, each billed as its own, with the events of a stream', async () => {
  const socket = talk()
  const viaHttp = await client()
    .responses.create({ model: 'text', input: 'Hi', stream: true })
    .then(collect)
  for (let turn = 0; turn < 2; turn += 1) {
    socket.send(create)
    const events = await socket.until(isOver)
    expectNumbered(events)
    expect(events.map((event) => event['type'])).toEqual(viaHttp.map((event) => event.type))
    const { response } = events.at(-1) as { response: { id: string } }
    expect(await billed(response.id)).toMatchObject({
      outcome: 'completed',
      endpoint: '/v1/responses',
    })
  }
  socket.socket.close()
  expect((await socket.closed)[0]).toBe(1005)
})

test("OpenAI's own socket client hears a response to its end", async () => {
  const ws = new ResponsesWS(client())
  const finished = new Promise<string>((resolve, reject) => {
    ws.on('response.completed', (event) => resolve(event.response.status ?? ''))
    ws.on('error', reject)
  })
  ws.socket.on('open', () => ws.send({ type: 'response.create', model: 'text', input: 'Hi' }))
  expect(await finished).toBe('completed')
  ws.close()
})

test('while one response runs another is refused, and a wrong message is told its field; the socket stays', async () => {
  const socket = talk()
  socket.send({ ...create, model: 'hold' })
  expect(await socket.next()).toMatchObject({ type: 'response.created' })
  socket.send(create)
  const refused = (await socket.until(/^error$/)).at(-1)
  expect(refused).toMatchObject({ status: 409, error: { code: 'response_already_in_flight' } })
  socket.socket.terminate()

  const other = talk()
  other.send({ type: 'session.update' })
  expect(await other.next()).toMatchObject({ type: 'error', status: 400, error: { param: 'type' } })
  other.socket.send('{"type":')
  expect(await other.next()).toMatchObject({ type: 'error', error: { code: 'invalid_json' } })
  other.send({ ...create, previous_response_id: 'resp_1' })
  expect(await other.next()).toMatchObject({
    type: 'error',
    status: 400,
    error: { code: 'previous_response_not_found', param: 'previous_response_id' },
  })
  other.send(create)
  expect((await other.until(isOver)).at(-1)).toMatchObject({ type: 'response.completed' })
  other.socket.close()
})

test('a client that drops its socket in the middle of an answer pays for what was said, and the engine stops', async () => {
  const socket = talk()
  socket.send({ ...create, model: 'hold' })
  const [first] = await socket.until(/^response\.output_item\.added$/)
  const { response } = first as { response: { id: string } }
  for (let word = 0; word < 4;)
    if ((await socket.next())['type'] === 'response.output_text.delta') word += 1
  const stopped = asked.closed
  socket.socket.terminate()
  expect(await billed(response.id)).toMatchObject({ outcome: 'client_left', output_tokens: 4n })
  await stopped
})

test('a failure in the middle of an answer is told on the socket, and the next request is answered', async () => {
  const socket = talk()
  socket.send({ ...create, model: 'cut' })
  const events = await socket.until(/^response\.failed$/)
  expectNumbered(events)
  expect(events.at(-2)).toMatchObject({ type: 'error', code: 'engine_truncated' })
  socket.send(create)
  expect((await socket.until(isOver)).at(-1)).toMatchObject({ type: 'response.completed' })
  socket.socket.close()
})

test('a browser hands its key over as a sub-protocol, which is never answered', async () => {
  const socket = talk({
    protocols: ['realtime', `openai-insecure-api-key.${key}`],
    headers: { origin: 'https://console.example' },
  })
  socket.send(create)
  expect((await socket.until(isOver)).at(-1)).toMatchObject({ type: 'response.completed' })
  expect(socket.socket.protocol).toBe('realtime')
  socket.socket.close()
})

test('what may not become a socket is answered in HTTP with its true status', async () => {
  const right = { authorization: `Bearer ${key}` }
  expect(await refusedUpgrade('/v1/responses', {})).toMatchObject({
    status: 401,
    requestId: expect.stringMatching(/^req_/),
    body: { error: { code: 'missing_api_key' } },
  })
  expect(
    await refusedUpgrade('/v1/responses', {}, ['realtime', 'openai-insecure-api-key.nope']),
  ).toMatchObject({ status: 401, body: { error: { code: 'invalid_api_key' } } })
  expect(
    await refusedUpgrade('/v1/responses', { ...right, origin: 'https://evil.example' }),
  ).toMatchObject({ status: 403, body: { error: { code: 'permission_denied' } } })
  expect(await refusedUpgrade('/v1/nothing', right)).toMatchObject({
    status: 404,
    body: { error: { code: 'unknown_url' } },
  })
  expect(await refusedUpgrade('/v1/chat/completions', right)).toMatchObject({
    status: 405,
    body: { error: { code: 'method_not_allowed' } },
  })
})

test('an upgrade answers with its request id', async () => {
  const socket = talk()
  const id = await new Promise((resolve) =>
    socket.socket.once('upgrade', (response) => resolve(response.headers['x-request-id'])),
  )
  expect(id).toMatch(/^req_/)
  socket.socket.close()
})

test('an offer of HTTP/2, and a broken handshake, are answered as HTTP/1.1', async () => {
  const lines = (...extra: readonly string[]): string =>
    [
      'GET /v1/responses HTTP/1.1',
      'host: x',
      `authorization: Bearer ${key}`,
      ...extra,
      '',
      '',
    ].join('\r\n')
  expect(await raw(lines('connection: upgrade', 'upgrade: h2c'))).toMatch(/^HTTP\/1.1 426 /)
  const broken = await raw(
    lines('connection: upgrade', 'upgrade: websocket', 'sec-websocket-version: 13'),
  )
  expect(broken).toMatch(/^HTTP\/1.1 400 /)
  expect(broken).toContain('WebSocket handshake is not valid')
})

function raw(request: string): Promise<string> {
  const { port } = new URL(gateway.url)
  const socket = connect(Number(port), '127.0.0.1')
  let answer = ''
  return new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.on('data', (chunk) => {
      answer += chunk.toString()
      if (!answer.includes('\r\n\r\n') || !answer.includes('}')) return
      socket.destroy()
      resolve(answer)
    })
    socket.write(request)
  })
}

test('a tenant has as many sockets as are its share, and gets another when one closes', async () => {
  const { port } = new URL(gateway.url)
  const open = async (): Promise<{ readonly socket: Socket; readonly status: string }> => {
    const socket = connect(Number(port), '127.0.0.1')
    socket.on('error', () => {})
    socket.write(
      [
        'GET /v1/responses HTTP/1.1',
        'host: x',
        `authorization: Bearer ${otherKey}`,
        'connection: upgrade',
        'upgrade: websocket',
        'sec-websocket-version: 13',
        'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==',
        '',
        '',
      ].join('\r\n'),
    )
    const head = await new Promise<Buffer>((resolve) => socket.once('data', resolve))
    return { socket, status: head.toString().split(' ')[1] ?? '' }
  }
  const opened: Socket[] = []
  for (let count = 0; count < 512; count += 1) {
    const { socket, status } = await open()
    expect(status).toBe('101')
    opened.push(socket)
  }
  expect((await open()).status).toBe('429')
  for (const socket of opened) socket.destroy()
  let status = ''
  for (let tries = 0; tries < 200 && status !== '101'; tries += 1) {
    const again = await open()
    status = again.status
    again.socket.destroy()
  }
  expect(status).toBe('101')
})

test('a receipt that was asked for stands in the last event, once the request is settled', async () => {
  const body = { model: 'text', input: 'Hi', stream: true }
  const headers = { 'x-receipt': 'true' }
  const response = await gateway.post('/v1/responses', body, { headers })
  const events = (await response.text()).trim().split('\n\n')
  expect(events.filter((event) => event.includes('"receipt":"'))).toEqual(events.slice(-1))
})

test('a message that is too long ends the session with its code', async () => {
  const socket = talk()
  socket.send({ ...create, input: 'x'.repeat(70_000) })
  expect((await socket.closed)[0]).toBe(1009)
})

test('a key that is revoked while its socket is open asks for nothing more', async () => {
  const socket = talk({ headers: { authorization: `Bearer ${shortLived.secret}` } })
  socket.send(create)
  await socket.until(isOver)
  await gateway.inDatabase((tx) =>
    revokeApiKey(tx, gateway.owner.tenantId, shortLived.id, Date.now()),
  )
  let last: Record<string, unknown> | undefined
  for (let tries = 0; tries < 200 && last?.['type'] !== 'error'; tries += 1) {
    socket.send(create)
    last = (await socket.until(isOver)).at(-1)
  }
  expect(last).toMatchObject({ type: 'error', status: 401, error: { code: 'invalid_api_key' } })
  socket.socket.close()
})

test('a gateway that drains lets the response under way end, and says why it closes', async () => {
  const idle = talk()
  const busy = talk()
  await new Promise((resolve) => idle.socket.once('open', resolve))
  busy.send({ ...create, model: 'hold' })
  await busy.until(/^response\.output_text\.delta$/)
  const drained = gateway.gateways[0]?.drain()
  expect(await idle.closed).toEqual([1012, 'This gateway restarts. Connect again.'])
  letGo.resolve()
  expect((await busy.until(isOver)).at(-1)).toMatchObject({ type: 'response.completed' })
  expect((await busy.closed)[0]).toBe(1012)
  await drained
})
