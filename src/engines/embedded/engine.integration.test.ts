/** The engine process with the default models, over HTTP, as a gateway uses it. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { weightsForTests } from '../../../test/weights-for-tests.ts'

const startMsMax = 300_000
const parallel = 4
const windowTokens = 1_024

interface EngineProcess {
  readonly url: string
  readonly process: ChildProcess
}

let chatEngine: EngineProcess
let embedder: EngineProcess

beforeAll(async () => {
  const size = ['--parallel', String(parallel), '--context', String(windowTokens)]
  chatEngine = await start([...size, '--weights', await weightsForTests('chat')])
  embedder = await start(['--embeddings', '--weights', await weightsForTests('embeddings')])
}, startMsMax)

afterAll(() => {
  chatEngine?.process.kill()
  embedder?.process.kill()
})

async function start(flags: readonly string[]): Promise<EngineProcess> {
  const main = join(import.meta.dirname, 'main.ts')
  const child = spawn(
    process.execPath,
    [main, '--model-id', 'tiny', '--port', '0', '--threads', '1', ...flags],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const [line] = await once(createInterface(child.stdout), 'line')
  const ready: { event: string; port: number } = JSON.parse(String(line))
  expect(ready.event).toBe('ready')
  return { url: `http://127.0.0.1:${ready.port}`, process: child }
}

interface Answer {
  readonly choices: readonly {
    readonly message: {
      readonly content: string | null
      readonly tool_calls?: readonly { readonly function: { name: string; arguments: string } }[]
    }
    readonly finish_reason: string
    readonly logprobs: {
      readonly content: readonly {
        readonly token: string
        readonly logprob: number
        readonly bytes: readonly number[]
        readonly top_logprobs: readonly { readonly logprob: number }[]
      }[]
    } | null
  }[]
  readonly usage: {
    readonly prompt_tokens: number
    readonly completion_tokens: number
    readonly prompt_tokens_details: { readonly cached_tokens: number }
  }
}

function post(engine: EngineProcess, path: string, body: unknown, signal?: AbortSignal) {
  return fetch(engine.url + path, {
    method: 'POST',
    body: JSON.stringify(body),
    ...(signal ? { signal } : {}),
  })
}

/** What the process sends is what these tests judge: the type says what they look at. */
async function jsonOf<T>(response: Response): Promise<T> {
  return (await response.json()) as T
}

interface Refusal {
  readonly error: { readonly message: string; readonly code: string; readonly param: string | null }
}
interface Embeddings {
  readonly data: readonly { readonly embedding: readonly number[] }[]
  readonly usage: { readonly prompt_tokens: number }
}

async function ask(text: string, parameters: object = {}): Promise<Answer> {
  const body = { messages: [{ role: 'user', content: text }], temperature: 0, ...parameters }
  const response = await post(chatEngine, '/v1/chat/completions', body)
  expect(response.status).toBe(200)
  return jsonOf<Answer>(response)
}

async function refusal(body: object) {
  const response = await post(chatEngine, '/v1/chat/completions', body)
  const { error } = await jsonOf<Refusal>(response)
  return { status: response.status, ...error }
}

/** The parsed events of a stream, without `[DONE]`, whose presence is checked. */
async function stream(text: string, parameters: object = {}) {
  const response = await post(chatEngine, '/v1/chat/completions', {
    messages: [{ role: 'user', content: text }],
    temperature: 0,
    stream: true,
    ...parameters,
  })
  expect(response.headers.get('content-type')).toContain('text/event-stream')
  const events = (await response.text()).split('\n\n').filter((event) => event !== '')
  expect(events.pop()).toBe('data: [DONE]')
  return events.map((event) => JSON.parse(event.slice('data: '.length)))
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${chatEngine.url}/metrics`)).text()
  return Number(new RegExp(`^colonnade_engine_${name} (\\S+)$`, 'm').exec(text)?.[1])
}

const textOf = (answer: Answer, choice = 0) => answer.choices[choice]?.message.content ?? ''

test('the capital of France is Paris, streamed', async () => {
  const events = await stream('What is the capital of France?', {
    stream_options: { include_usage: true, continuous_usage_stats: true },
  })
  const text = events.map((event) => event.choices[0]?.delta.content ?? '').join('')
  expect(text).toContain('Paris')
  expect(events[0].choices[0].delta.role).toBe('assistant')
  expect(events.at(-2).choices[0].finish_reason).toBe('stop')
  expect(events.at(-1).choices).toEqual([])
  for (const event of events) expect(event.usage.prompt_tokens).toBeGreaterThan(0)
  expect(events.at(-1).usage.completion_tokens).toBeGreaterThanOrEqual(events.length - 3)
})

test('usage tells what was in the cache, and another salt finds nothing there', async () => {
  const text = 'Tell me about the long history of lighthouses on the coast of Brittany.'
  const salted = { max_tokens: 2, cache_salt: 'one' }
  const first = await ask(text, salted)
  const again = await ask(text, salted)
  const other = await ask(text, { max_tokens: 2, cache_salt: 'two' })
  expect(first.usage.prompt_tokens_details.cached_tokens).toBe(0)
  expect(again.usage.prompt_tokens_details.cached_tokens).toBe(first.usage.prompt_tokens - 1)
  expect(other.usage.prompt_tokens_details.cached_tokens).toBe(0)
  expect(textOf(again)).toBe(textOf(first))
})

test('stop sequences end the text before them, across tokens', async () => {
  const answer = await ask('What is the capital of France?', { stop: ['zzz', 'tal of Fr'] })
  expect(textOf(answer)).toBe('The capi')
  expect(answer.choices[0]).toMatchObject({ finish_reason: 'stop', stop_reason: 'tal of Fr' })
})

test('the same seed gives the same answer, alone and among others', async () => {
  const sampled = { temperature: 1, seed: 11, max_tokens: 24 }
  const alone = await ask('Tell me a story.', sampled)
  const [among] = await Promise.all([
    ask('Tell me a story.', sampled),
    ask('Tell me a story.', { ...sampled, seed: 12 }),
    ask('Count to twenty.', { max_tokens: 24 }),
  ])
  expect(textOf(among)).toBe(textOf(alone))
  expect(textOf(await ask('Tell me a story.', { ...sampled, seed: 13 }))).not.toBe(textOf(alone))
})

test('several choices differ, and are paid for together', async () => {
  const answer = await ask('Tell me a story.', { n: 3, temperature: 1, seed: 1, max_tokens: 12 })
  expect(new Set(answer.choices.map((_, choice) => textOf(answer, choice))).size).toBe(3)
  expect(answer.usage.completion_tokens).toBe(36)
})

test('the newer token limit wins, and says that it cut', async () => {
  const answer = await ask('Count to a hundred.', { max_tokens: 20, max_completion_tokens: 4 })
  expect(answer.usage.completion_tokens).toBe(4)
  expect(answer.choices[0]?.finish_reason).toBe('length')
})

test('a token whose bias is -100 never comes', async () => {
  const parameters = { logprobs: true, top_logprobs: 2, max_tokens: 1 }
  const [token] =
    (await ask('What is the capital of France?', parameters)).choices[0]?.logprobs?.content ?? []
  expect(token?.token).toBe('The')
  expect(token?.bytes).toEqual([...Buffer.from('The')])
  expect(token?.top_logprobs[0]?.logprob).toBe(token?.logprob)
  expect(token?.top_logprobs).toHaveLength(2)
  // 504 is the id of "The" in this vocabulary.
  const biased = await ask('What is the capital of France?', {
    ...parameters,
    logit_bias: { 504: -100 },
  })
  expect(textOf(biased)).not.toBe('The')
})

test('characters that take several tokens arrive whole', async () => {
  const events = await stream('Answer with emojis only: 😀😃😄😁', { max_tokens: 20 })
  const pieces = events.map((event) => event.choices[0]?.delta.content ?? '')
  expect(pieces.join('')).toMatch(/\p{Extended_Pictographic}/u)
  expect(pieces.join('')).not.toContain('\uFFFD')
})

test('markers of the template in a message are plain text', async () => {
  const plain = await ask('a', { max_tokens: 1 })
  const marked = await ask('a<|im_end|>', { max_tokens: 1 })
  expect(marked.usage.prompt_tokens).toBeGreaterThan(plain.usage.prompt_tokens + 2)
})

test('a schema is kept', async () => {
  const schema = {
    type: 'object',
    properties: {
      name: { type: 'string', maxLength: 20 },
      age: { type: 'integer', minimum: 18, maximum: 99 },
      mood: { enum: ['good', 'bad'] },
    },
    required: ['name', 'age', 'mood'],
    additionalProperties: false,
  }
  const answer = await ask('Invent a person.', {
    response_format: { type: 'json_schema', json_schema: { name: 'person', strict: true, schema } },
  })
  const person = JSON.parse(textOf(answer))
  expect(Object.keys(person)).toEqual(['name', 'age', 'mood'])
  expect(person.age).toBeGreaterThanOrEqual(18)
  const free = await ask('Invent a person, as JSON.', {
    response_format: { type: 'json_object' },
    max_tokens: 200,
  })
  if (free.choices[0]?.finish_reason === 'stop')
    expect(JSON.parse(textOf(free))).toBeTypeOf('object')
})

const tools = [
  {
    type: 'function',
    function: {
      name: 'get_weather',
      description: 'The weather of a city',
      parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
    },
  },
  { type: 'function', function: { name: 'get_time' } },
]

test('a tool call streams as deltas that make up valid JSON, with a model that knows no tools', async () => {
  const events = await stream('What is the weather in Paris?', {
    tools,
    tool_choice: 'required',
    parallel_tool_calls: false,
    max_tokens: 100,
  })
  const deltas = events.flatMap((event) => event.choices[0]?.delta.tool_calls ?? [])
  expect(deltas[0].id).toMatch(/^call_/)
  expect(deltas[0].type).toBe('function')
  expect(deltas.filter((delta) => delta.id !== undefined)).toHaveLength(1)
  expect(tools.map((tool) => tool.function.name)).toContain(deltas[0].function.name)
  const text = deltas.map((delta) => delta.function.arguments).join('')
  expect(JSON.parse(text)).toBeTypeOf('object')
  expect(events.at(-1).choices[0].finish_reason).toBe('tool_calls')
})

test('a named function is called, and the call ends with stop', async () => {
  const answer = await ask('What is the weather in Paris?', {
    tools,
    tool_choice: { type: 'function', function: { name: 'get_weather' } },
    max_tokens: 100,
  })
  const [call] = answer.choices[0]?.message.tool_calls ?? []
  expect(call?.function.name).toBe('get_weather')
  expect(Object.keys(JSON.parse(call?.function.arguments ?? ''))).toEqual(['city'])
  expect(answer.choices[0]?.finish_reason).toBe('stop')
})

test('left to itself the model may talk, also about past calls', async () => {
  const response = await post(chatEngine, '/v1/chat/completions', {
    messages: [
      { role: 'developer', content: 'Be brief.' },
      { role: 'user', name: 'ann', content: [{ type: 'text', text: 'Time?' }] },
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: 'c', type: 'function', function: { name: 'get_time', arguments: '{}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'c', content: 'noon' },
    ],
    tools,
    tool_choice: 'auto',
    max_tokens: 20,
    temperature: 0,
  })
  const answer = await jsonOf<Answer>(response)
  const message = answer.choices[0]?.message
  expect(Boolean(message?.content) || Boolean(message?.tool_calls?.length)).toBe(true)
})

interface Completion {
  readonly choices: readonly {
    readonly index: number
    readonly text: string
    readonly finish_reason: string
    readonly logprobs: {
      readonly tokens: readonly string[]
      readonly token_logprobs: readonly (number | null)[]
      readonly top_logprobs: readonly (Readonly<Record<string, number>> | null)[]
      readonly text_offset: readonly number[]
    } | null
  }[]
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number }
}

async function complete(parameters: object): Promise<Completion> {
  const response = await post(chatEngine, '/v1/completions', { temperature: 0, ...parameters })
  expect(response.status).toBe(200)
  return jsonOf<Completion>(response)
}

test('a completion goes on where each prompt ends, text and token ids alike', async () => {
  const prompt = ['The', 'The capital of France is']
  const texts = await complete({ prompt, n: 2, max_tokens: 3 })
  expect(texts.choices.map(({ index }) => index)).toEqual([0, 1, 2, 3])
  // Not each token: who is decoded together has other roundings, and this model is often torn between two words.
  for (const place of [2, 3]) expect(texts.choices[place]?.text).toMatch(/^ Paris/)
  expect(texts.usage.completion_tokens).toBe(12)
  // 504 is the id of "The" in this vocabulary.
  const [words] = (await complete({ prompt: ['The'], max_tokens: 3 })).choices
  const [tokens] = (await complete({ prompt: [504], max_tokens: 3 })).choices
  expect(tokens?.text).toBe(words?.text)
  expect(tokens?.finish_reason).toBe('length')
})

test("an echoed prompt comes with its tokens' probabilities, as they were when they were written", async () => {
  const prompt = 'The capital of France is'
  const written = await complete({ prompt, max_tokens: 1, logprobs: 0 })
  const [word] = written.choices
  const full = prompt + (word?.text ?? '')
  const read = await complete({ prompt: full, max_tokens: 0, logprobs: 2, echo: true })
  const [choice] = read.choices
  expect(choice?.text).toBe(full)
  expect(choice?.logprobs?.tokens.join('')).toBe(full)
  expect(choice?.logprobs?.token_logprobs[0]).toBeNull()
  expect(
    choice?.logprobs?.top_logprobs.slice(1).map((top) => Object.keys(top ?? {}).length),
  ).toEqual(choice?.logprobs?.tokens.slice(1).map(() => 2))
  expect(choice?.logprobs?.token_logprobs.at(-1)).toBeCloseTo(
    word?.logprobs?.token_logprobs[0] ?? NaN,
    1,
  )
  expect(choice?.logprobs?.text_offset.at(-1)).toBe(prompt.length)
  expect(read.usage).toMatchObject({ completion_tokens: 0 })
})

test('a completion streams its echo first, and ends before a stop text', async () => {
  const response = await post(chatEngine, '/v1/completions', {
    prompt: 'The capital of France is',
    temperature: 0,
    max_tokens: 20,
    echo: true,
    stop: ['Paris'],
    stream: true,
    stream_options: { include_usage: true },
  })
  const events = (await response.text()).split('\n\n').filter((event) => event !== '')
  expect(events.pop()).toBe('data: [DONE]')
  const chunks = events.map((event) => JSON.parse(event.slice('data: '.length)))
  expect(chunks[0].choices[0].text).toBe('The capital of France is')
  const text = chunks.map((chunk) => chunk.choices[0]?.text ?? '').join('')
  expect(text).not.toContain('Paris')
  expect(chunks.at(-2).choices[0].finish_reason).toBe('stop')
  expect(chunks.at(-1).usage.prompt_tokens).toBeGreaterThan(4)
})

test('two choices at once are weighed as each alone would be', async () => {
  const sampled = { logprobs: true, top_logprobs: 1, max_tokens: 6, temperature: 1, seed: 4 }
  const alone = await ask('Tell me a story.', sampled)
  const both = await ask('Tell me a story.', { ...sampled, n: 2 })
  const logprobsOf = (answer: Answer) =>
    answer.choices[0]?.logprobs?.content.map((entry) => entry.logprob.toFixed(1))
  expect(logprobsOf(both)).toEqual(logprobsOf(alone))
  expect(both.choices[1]?.logprobs?.content).toHaveLength(6)
})

test('an answer whose client left is not computed to its end', async () => {
  const before = await metric('generated_tokens_total')
  const controller = new AbortController()
  const response = await post(
    chatEngine,
    '/v1/chat/completions',
    {
      messages: [{ role: 'user', content: 'Write a very long story.' }],
      stream: true,
      ignore_eos: true,
    },
    controller.signal,
  )
  const reader = response.body?.getReader()
  await reader?.read()
  controller.abort()
  await reader?.cancel().catch(() => {})
  while ((await metric('sequences_running')) > 0)
    await new Promise((resolve) => setImmediate(resolve))
  expect((await metric('generated_tokens_total')) - before).toBeLessThan(windowTokens / 2)
})

test('what does not fit or makes no sense is refused with its reason', async () => {
  const messages = [{ role: 'user', content: 'Hi' }]
  const long = await refusal({ messages: [{ role: 'user', content: 'word '.repeat(1_100) }] })
  expect(long).toMatchObject({ status: 400, code: 'context_length_exceeded', param: 'messages' })
  expect(long.message).toMatch(/1024 tokens.*\d{4} tokens/)
  const huge = await refusal({ messages: [{ role: 'user', content: 'x'.repeat(5_000_000) }] })
  expect(huge.code).toBe('context_length_exceeded')
  expect(await refusal({ messages, temperature: 9 })).toMatchObject({
    status: 400,
    param: 'temperature',
  })
  expect(await refusal({ messages, model: 'other' })).toMatchObject({ status: 404 })
  const image = { type: 'image_url', image_url: { url: 'data:,' } }
  expect((await refusal({ messages: [{ role: 'user', content: [image] }] })).status).toBe(400)
  expect(await refusal({ messages, min_tokens: 5 })).toMatchObject({ param: 'min_tokens' })
  const gap = await post(chatEngine, '/v1/completions', { prompt: 'a', suffix: 'b', max_tokens: 1 })
  expect([gap.status, (await jsonOf<Refusal>(gap)).error.param]).toEqual([400, 'suffix'])
  const foreign = await post(chatEngine, '/v1/completions', { prompt: [9_999_999] })
  expect(foreign.status).toBe(400)
  const pattern = { name: 'a', strict: true, schema: { type: 'string', pattern: 'a' } }
  expect(
    await refusal({ messages, response_format: { type: 'json_schema', json_schema: pattern } }),
  ).toMatchObject({ status: 400, code: 'unsupported_value' })
  const unparsed = await fetch(`${chatEngine.url}/v1/chat/completions`, {
    method: 'POST',
    body: '{',
  })
  expect(unparsed.status).toBe(400)
})

test('a full queue answers 503 and when to come back', async () => {
  const controller = new AbortController()
  const body = {
    messages: [{ role: 'user', content: 'Write a very long story.' }],
    n: 8,
    ignore_eos: true,
    stream: true,
  }
  const calls = Array.from({ length: 33 }, () =>
    post(chatEngine, '/v1/chat/completions', body, controller.signal),
  )
  const settled = Promise.allSettled(calls)
  const refused = await Promise.any(
    calls.map(async (call) => {
      const response = await call
      return response.status === 503 ? response : Promise.reject(new Error('accepted'))
    }),
  )
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  controller.abort()
  await settled
  while ((await metric('sequences_running')) > 0)
    await new Promise((resolve) => setImmediate(resolve))
  expect(await metric('sequences_waiting')).toBe(0)
})

test('the model list and the health check answer', async () => {
  expect((await fetch(`${chatEngine.url}/health`)).status).toBe(200)
  const response = await fetch(`${chatEngine.url}/v1/models`)
  const list = await jsonOf<{ data: readonly { id: string }[] }>(response)
  expect(list.data.map((model) => model.id)).toEqual(['tiny'])
})

test('related sentences are closer than unrelated ones, and vectors have length 1', async () => {
  const input = ['That is a happy person', 'That is a very happy person', 'Today is a sunny day']
  const response = await post(embedder, '/v1/embeddings', { model: 'tiny', input })
  const { data, usage } = await jsonOf<Embeddings>(response)
  const vectors = data.map((item) => item.embedding)
  const dot = (a: number, b: number) =>
    (vectors[a] ?? []).reduce((sum, value, index) => sum + value * (vectors[b]?.[index] ?? 0), 0)
  expect(dot(0, 0)).toBeCloseTo(1, 5)
  expect(dot(0, 1)).toBeGreaterThan(dot(0, 2))
  expect(usage.prompt_tokens).toBe(22)
})

test('token arrays are embedded as they are, and inputs beyond the window are refused', async () => {
  const embed = async (input: unknown) =>
    jsonOf<Embeddings>(await post(embedder, '/v1/embeddings', { input }))
  const tokens = await embed([[7592], [7592, 2088]])
  expect(tokens.data).toHaveLength(2)
  expect(tokens.data[0]?.embedding).toEqual((await embed('hello')).data[0]?.embedding)
  const long = await post(embedder, '/v1/embeddings', { input: 'hello '.repeat(600) })
  expect(long.status).toBe(400)
  expect((await jsonOf<Refusal>(long)).error.code).toBe('context_length_exceeded')
  expect((await post(embedder, '/v1/chat/completions', {})).status).toBe(400)
})

test('a termination signal ends the process at once, answers and all', async () => {
  const extra = await start(['--weights', await weightsForTests('chat'), '--context', '512'])
  const response = await post(extra, '/v1/chat/completions', {
    messages: [{ role: 'user', content: 'Write a very long story.' }],
    stream: true,
    ignore_eos: true,
  })
  await response.body?.getReader().read()
  extra.process.kill('SIGTERM')
  expect(await once(extra.process, 'exit')).toEqual([0, null])
})
