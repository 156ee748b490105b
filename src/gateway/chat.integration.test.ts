/** Chats and completions as clients send them, through a whole gateway, to an engine that says what each test wants it to say. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  doneEvent,
  gatewayForTests,
  toEvent,
  type EngineHears,
  type GatewayForTests,
  type Script,
} from '../../test/gateway-for-tests.ts'

let gateway: GatewayForTests
/** What the engine was asked last, and what it says next. */
let received: EngineHears
let script: Script

beforeAll(async () => {
  gateway = await gatewayForTests({
    priceListId: 'standard',
    models: [
      {
        id: 'plain',
        category: 'chat',
        contextWindowTokens: null,
        engineModel: 'engine-plain',
      },
      {
        id: 'seeing',
        category: 'chat',
        contextWindowTokens: null,
        engineModel: 'engine-seeing',
        capabilities: ['tools', 'vision', 'audio', 'files'],
      },
    ],
    script(heard) {
      received = heard
      return script(heard)
    },
  })
}, 120_000)

afterAll(() => gateway?.close())

/** The engine's answer to the next requests: whole, and in pieces for those that ask for a stream. */
function say(choices: readonly Record<string, unknown>[], usage?: object): void {
  const counts = usage ?? { prompt_tokens: 9, completion_tokens: 4 }
  script = ({ body }) => {
    if (body['stream'] !== true) return { body: { choices, usage: counts } }
    const chunks = choices.flatMap(({ message, ...choice }) => {
      const { finish_reason: reason, ...rest } = choice
      const delta = message === undefined ? {} : { delta: message }
      const end = message === undefined ? { text: '' } : { delta: {} }
      return [
        { choices: [{ ...rest, ...delta, finish_reason: null }] },
        { choices: [{ index: choice['index'], ...end, finish_reason: reason }] },
      ]
    })
    return { pieces: [...[...chunks, { choices: [], usage: counts }].map(toEvent), doneEvent] }
  }
}

const answer = (content: string | null, more: object = {}): Record<string, unknown> => ({
  index: 0,
  message: { role: 'assistant', content, ...more },
  finish_reason: 'stop',
})

interface Choice {
  readonly index: number
  readonly text?: string
  readonly message?: Record<string, unknown>
  readonly delta?: {
    readonly content?: string
    readonly tool_calls?: readonly { index: number; id?: string }[]
  }
  readonly finish_reason: string | null
  readonly logprobs: unknown
}
interface Body {
  readonly id: string
  readonly object: string
  readonly created: number
  readonly model: string
  readonly service_tier?: string
  readonly choices: readonly Choice[]
  readonly usage?: Record<string, unknown> | null
  readonly error?: {
    readonly message: string
    readonly param: string
    readonly code: string
    readonly capability?: string
  }
}

const post = (path: string, body: object): Promise<Response> =>
  gateway.post(path, { model: 'plain', ...body })

/** What the gateway sends is what these tests judge: the type says what they look at. */
async function send(path: string, body: object): Promise<Body & { readonly status: number }> {
  const response = await post(path, body)
  return { status: response.status, ...((await response.json()) as Body) }
}
const messages = [{ role: 'user', content: 'hello' }]
const chat = (body: object = {}) => send('/v1/chat/completions', { messages, ...body })

/** The events of a stream that ended well. */
async function stream(path: string, body: object): Promise<Body[]> {
  const response = await post(path, { stream: true, ...body })
  expect(response.status).toBe(200)
  const events = (await response.text()).split('\n\n').filter((each) => each !== '')
  expect(events.pop()).toBe('data: [DONE]')
  return events.map((each) => JSON.parse(each.slice('data: '.length)) as Body)
}
const chatStream = (body: object = {}) => stream('/v1/chat/completions', { messages, ...body })

test('the engine is always asked for usage, and the client that did not ask never sees it', async () => {
  say([answer('hi')])
  const silent = await chatStream()
  expect(received.body['stream_options']).toEqual({ include_usage: true })
  expect(silent.some((chunk) => 'usage' in chunk)).toBe(false)
  expect(silent.every((chunk) => chunk.choices.length === 1)).toBe(true)
  const counted = await chatStream({ stream_options: { include_usage: true } })
  expect(counted.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true)
  expect(counted.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 13 } })
})

test('a stream has the headers that proxies look at, and its chunks share what is common to them', async () => {
  say([answer('hi')])
  const response = await post('/v1/chat/completions', { messages, stream: true })
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  expect(response.headers.get('cache-control')).toBe('no-cache')
  expect(response.headers.get('x-accel-buffering')).toBe('no')
  expect(response.headers.get('content-encoding')).toBeNull()
  await response.text()
  const chunks = await chatStream()
  const heads = chunks.map(({ id, created, model, object }) => ({ id, created, model, object }))
  expect(new Set(heads.map((head) => JSON.stringify(head))).size).toBe(1)
  expect(heads[0]).toMatchObject({ model: 'plain', object: 'chat.completion.chunk' })
  // Seconds, not milliseconds; and whole.
  expect(heads[0]?.created).toBeLessThan(10_000_000_000)
  expect(Number.isInteger(heads[0]?.created)).toBe(true)
  expect(chunks[0]?.choices[0]?.delta).toEqual({ role: 'assistant', content: '', refusal: null })
  expect(chunks.slice(1).some((chunk) => 'role' in (chunk.choices[0]?.delta ?? {}))).toBe(false)
})

test('of several choices each has its index and one finish, and usage counts them all', async () => {
  say([
    answer('a'),
    { ...answer('b'), index: 1 },
    { ...answer('c'), index: 2, finish_reason: 'length' },
  ])
  const chunks = await chatStream({ n: 3, stream_options: { include_usage: true } })
  expect(received.body['n']).toBe(3)
  const finishes = chunks.flatMap((chunk) =>
    chunk.choices.filter((choice) => choice.finish_reason !== null),
  )
  expect(finishes.map(({ index, finish_reason }) => [index, finish_reason])).toEqual([
    [0, 'stop'],
    [1, 'stop'],
    [2, 'length'],
  ])
  const texts = ['', '', '']
  for (const { choices } of chunks) {
    for (const { index, delta } of choices) texts[index] += delta?.content ?? ''
  }
  expect(texts).toEqual(['a', 'b', 'c'])
  expect(chunks.at(-1)?.usage).toMatchObject({ completion_tokens: 4 })
})

const tools = [
  { type: 'function', function: { name: 'look', parameters: { type: 'object' } } },
  { type: 'function', function: { name: 'go' } },
]
const calls = [
  { id: 'call_1', type: 'function', function: { name: 'look', arguments: '{"at":"x"}' } },
  { id: 'call_2', type: 'function', function: { name: 'go', arguments: '' } },
]

test('parallel calls, streamed and whole, end with tool_calls where the choice was free', async () => {
  say([answer(null, { tool_calls: calls })])
  for (const tool_choice of ['auto', 'required']) {
    const whole = await chat({ tools, tool_choice, parallel_tool_calls: false })
    expect(received.body).toMatchObject({ tools, tool_choice, parallel_tool_calls: false })
    expect(whole.choices[0]).toMatchObject({
      message: { content: null, tool_calls: calls },
      finish_reason: 'tool_calls',
    })
  }
  const chunks = await chatStream({ tools })
  const deltas = chunks.flatMap((chunk) => chunk.choices[0]?.delta?.tool_calls ?? [])
  expect(deltas.filter(({ id }) => id !== undefined).map(({ index }) => index)).toEqual([0, 1])
  expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('tool_calls')
})

test('a call of the function that the caller named ends with stop', async () => {
  const [call] = calls
  say([{ ...answer(null, { tool_calls: [call] }), finish_reason: 'tool_calls' }])
  const tool_choice = { type: 'function', function: { name: 'look' } }
  expect((await chat({ tools, tool_choice })).choices[0]?.finish_reason).toBe('stop')
  const chunks = await chatStream({ tools, tool_choice })
  expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('stop')
})

test('functions, as they were before tools, are offered as tools and answered as functions', async () => {
  say([{ ...answer(null, { tool_calls: calls }), finish_reason: 'tool_calls' }])
  const whole = await chat({ functions: [{ name: 'look' }, { name: 'go' }] })
  expect(received.body).toMatchObject({ tools: [{ function: { name: 'look' } }, {}] })
  expect(received.body).not.toHaveProperty('functions')
  expect(whole.choices[0]).toMatchObject({
    message: { function_call: { name: 'look', arguments: '{"at":"x"}' } },
    finish_reason: 'function_call',
  })
})

test('probabilities come in the shape of chats, and their absence is an answer of 400', async () => {
  const content = [{ token: 'hi', logprob: -0.1, bytes: [104, 105], top_logprobs: [] }]
  say([{ ...answer('hi'), logprobs: { content } }])
  const whole = await chat({ logprobs: true, top_logprobs: 0 })
  expect(whole.choices[0]?.logprobs).toEqual({ content, refusal: null })
  const chunks = await chatStream({ logprobs: true })
  expect(chunks[1]?.choices[0]?.logprobs).toEqual({ content, refusal: null })
  say([answer('hi')])
  for (const streamed of [false, true]) {
    const refused = await chat({ logprobs: true, stream: streamed })
    expect([refused.status, refused.error?.param]).toEqual([400, 'logprobs'])
  }
})

test('reasoning comes under both names, is counted, and goes back under both', async () => {
  const usage = {
    prompt_tokens: 9,
    completion_tokens: 4,
    completion_tokens_details: { reasoning_tokens: 3 },
  }
  say([answer('so', { reasoning: 'hm' })], usage)
  const whole = await chat({
    messages: [...messages, { role: 'assistant', content: 'x', reasoning: 'old' }, ...messages],
  })
  expect(received.body['messages']).toMatchObject([
    {},
    { reasoning_content: 'old', reasoning: 'old' },
    {},
  ])
  expect(whole.choices[0]?.message).toMatchObject({ reasoning_content: 'hm', reasoning: 'hm' })
  expect(whole.usage).toMatchObject({ completion_tokens_details: { reasoning_tokens: 3 } })
})

test('a wanted form goes to the engine with tools and in a stream', async () => {
  say([answer('{"a":1}')])
  const response_format = {
    type: 'json_schema',
    json_schema: { name: 'a', strict: true, schema: { type: 'object' } },
  }
  const chunks = await chatStream({ response_format, tools })
  expect(received.body).toMatchObject({ response_format, tools })
  expect(chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? '').join('')).toBe('{"a":1}')
})

test("the model's refusal has a field of its own", async () => {
  say([answer(null, { refusal: 'No.' })])
  expect((await chat()).choices[0]?.message).toMatchObject({ content: null, refusal: 'No.' })
})

test('bookkeeping fields are accepted, and the service tier comes back', async () => {
  say([answer('hi')])
  const fields = {
    user: 'u',
    safety_identifier: 's',
    metadata: { a: 'b' },
    store: false,
    prompt_cache_key: 'k',
    verbosity: 'low',
    reasoning_effort: 'low',
    unheard_of: 1,
  }
  const whole = await chat({ ...fields, service_tier: 'flex' })
  expect([whole.status, whole.service_tier]).toEqual([200, 'flex'])
  const { verbosity, reasoning_effort, ...kept } = fields
  expect(received.body).toMatchObject({ verbosity, reasoning_effort })
  for (const name of [...Object.keys(kept), 'service_tier']) {
    expect(received.body).not.toHaveProperty(name)
  }
  const chunks = await chatStream({ service_tier: 'auto' })
  expect(chunks.every((chunk) => chunk.service_tier === 'default')).toBe(true)
})

const pngHead = Buffer.from(
  '89504e470d0a1a0a0000000d49484452000000400000004008020000000000000000',
  'hex',
)
const image = (bytes = pngHead) => `data:image/png;base64,${bytes.toString('base64')}`
const asking = (...content: object[]) => ({ messages: [{ role: 'user', content }] })

test.each([
  ['vision', { type: 'image_url', image_url: { url: image() } }],
  ['vision', { type: 'image', image: image() }],
  ['audio', { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } }],
  ['files', { type: 'file', file: { filename: 'a.pdf', file_data: image() } }],
])(
  'what takes %s is refused by a model without it, and taken by one with it',
  async (capability, part) => {
    say([answer('a cat')])
    const refused = await chat(asking(part))
    expect(refused.status).toBe(400)
    expect(refused.error).toMatchObject({
      code: 'capability_missing',
      param: 'messages[0].content[0]',
      capability,
    })
    expect(refused.error?.message).toContain(`'${capability}'`)
    const taken = await chat({ model: 'seeing', ...asking({ type: 'text', text: 'what?' }, part) })
    expect(taken.status).toBe(200)
    const [message] = received.body['messages'] as { content: { type: string }[] }[]
    expect(message?.content[1]?.type).toBe(part.type === 'image' ? 'image_url' : part.type)
  },
)

test('a body of more than 20 megabytes passes, and a larger one is told its limit', async () => {
  say([answer('large')])
  const large = Buffer.concat([pngHead, Buffer.alloc(15_500_000)])
  const part = { type: 'image_url', image_url: { url: image(large) } }
  expect((await chat({ model: 'seeing', ...asking(part) })).status).toBe(200)
  const tooLarge = await chat({ model: 'seeing', ...asking(part, part) })
  expect(tooLarge.status).toBe(413)
  expect(tooLarge.error?.message).toMatch(/\d+ MiB/)
})

test('a completion goes on where each prompt ends, billed by all of its choices', async () => {
  const choice = (index: number, text: string) => ({ index, text, finish_reason: 'length' })
  say([choice(0, 'a'), choice(1, 'b'), choice(2, 'c'), choice(3, 'd')])
  const body = { prompt: ['One', 'Two'], n: 2, max_tokens: 4, echo: true }
  const response = await post('/v1/completions', body)
  const whole = (await response.json()) as Body
  expect(received).toMatchObject({
    path: '/v1/completions',
    body: { model: 'engine-plain', prompt: ['One', 'Two'], n: 2, max_tokens: 4 },
  })
  expect(whole.object).toBe('text_completion')
  expect(whole.choices.map(({ text }) => text)).toEqual(['Onea', 'Oneb', 'Twoc', 'Twod'])
  expect(whole.choices.every((each) => each.logprobs === null)).toBe(true)
  expect(await gateway.billed(response.headers.get('x-request-id'))).toMatchObject({
    outcome: 'completed',
    endpoint: '/v1/completions',
    output_tokens: 4n,
    usage_suspect: false,
  })
  const chunks = await stream('/v1/completions', {
    ...body,
    echo: false,
    stream_options: { include_usage: true },
  })
  const said = chunks.flatMap((chunk) => chunk.choices)
  const texts = [0, 1, 2, 3].map((index) =>
    said.flatMap((each) => (each.index === index ? [each.text] : [])).join(''),
  )
  expect(texts).toEqual(['a', 'b', 'c', 'd'])
  expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 13 } })
})

test('the probabilities of a prompt alone are asked of the engine, and cost no output', async () => {
  const logprobs = {
    tokens: ['On', 'e'],
    token_logprobs: [null, -1],
    top_logprobs: [null, { e: -1 }],
    text_offset: [0, 2],
  }
  say([{ index: 0, text: 'One', logprobs, finish_reason: 'length' }], {
    prompt_tokens: 2,
    completion_tokens: 0,
  })
  const body = { prompt: [[5, 6]], echo: true, logprobs: 1, max_tokens: 0 }
  const whole = await send('/v1/completions', body)
  expect(received.body).toMatchObject({ prompt: [5, 6], echo: true, logprobs: 1, max_tokens: 0 })
  expect(whole.choices[0]).toMatchObject({ text: 'One', logprobs })
  expect(whole.usage).toMatchObject({ prompt_tokens: 2, completion_tokens: 0 })
})

test('messages sent to completions are a chat, and are answered as one', async () => {
  say([answer('hi')])
  const whole = await send('/v1/completions', { messages })
  expect(received).toMatchObject({ path: '/v1/chat/completions', body: { messages } })
  expect(whole).toMatchObject({
    object: 'chat.completion',
    choices: [{ message: { role: 'assistant', content: 'hi' } }],
  })
  const [first] = await stream('/v1/completions', { messages })
  expect(first?.object).toBe('chat.completion.chunk')
})

test('while a client does not read, the gateway does not read either; then the answer comes whole', async () => {
  const piece = 'x'.repeat(8 * 1024)
  const pieces = 8_000
  let sent = 0
  script = () => ({
    pieces: (function* () {
      for (; sent < pieces; sent += 1) {
        const choice = { index: 0, delta: { content: piece }, finish_reason: null }
        yield toEvent({ choices: [choice] })
      }
      yield toEvent({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })
      yield doneEvent
    })(),
  })
  const response = await post('/v1/chat/completions', { messages, stream: true })
  // The engine is stuck once what it has sent no longer grows: sockets hold some, and the gateway next to nothing.
  let before = 0
  await expect
    .poll(
      () => {
        const isStuck = sent > 0 && sent === before
        before = sent
        return isStuck
      },
      { interval: 200, timeout: 20_000 },
    )
    .toBe(true)
  expect(sent).toBeLessThan(pieces / 2)
  const text = await response.text()
  expect(sent).toBe(pieces)
  expect(text.split(piece)).toHaveLength(pieces + 1)
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
})
