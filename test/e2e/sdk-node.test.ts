/** What a user of OpenAI's SDK for Node does, against the real engine and the default models. */
import OpenAI from 'openai'
import { expect, inject, test } from 'vitest'
import { cosine, related, unrelated } from './sentences.ts'

const platform = inject('platform')
const client = new OpenAI({ baseURL: platform.apiUrl, apiKey: platform.apiKey, maxRetries: 0 })
const chatModel = platform.chatModel
const embeddingModel = platform.embeddingModel

const capital = [{ role: 'user', content: 'What is the capital of France?' }] as const

const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Tells the weather in a city.',
    parameters: {
      type: 'object',
      properties: {
        city: { type: 'string', enum: ['Paris', 'Rome'] },
        unit: { type: 'string', enum: ['c', 'f'] },
      },
      required: ['city', 'unit'],
      additionalProperties: false,
    },
  },
} as const
const clock = {
  type: 'function',
  function: { name: 'get_time', parameters: { type: 'object', properties: {} } },
} as const

function mistyped(key: string): string {
  return key.slice(0, -1) + (key.endsWith('x') ? 'y' : 'x')
}

function isWeather(text: string): boolean {
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null) return false
  const { city, unit } = value as Record<string, unknown>
  return typeof city === 'string' && (unit === 'c' || unit === 'f')
}

test('chat: the capital of France is Paris, at temperature 0', async () => {
  const completion = await client.chat.completions.create({
    model: chatModel,
    temperature: 0,
    max_completion_tokens: 48,
    messages: [...capital],
  })
  expect(completion.object).toBe('chat.completion')
  expect(completion.choices).toHaveLength(1)
  expect(completion.choices[0]?.message.role).toBe('assistant')
  expect(completion.choices[0]?.message.content).toContain('Paris')
  expect(['stop', 'length']).toContain(completion.choices[0]?.finish_reason)
  const usage = completion.usage
  expect(usage?.prompt_tokens).toBeGreaterThan(5)
  expect(usage?.total_tokens).toBe((usage?.prompt_tokens ?? 0) + (usage?.completion_tokens ?? 0))
})

test('streaming: pieces join to the same answer, with the same usage, and one finish', async () => {
  const request = {
    model: chatModel,
    temperature: 0,
    seed: 7,
    max_completion_tokens: 32,
    messages: [...capital],
  }
  const whole = await client.chat.completions.create(request)
  const stream = await client.chat.completions.create({
    ...request,
    stream: true,
    stream_options: { include_usage: true },
  })
  const chunks = []
  for await (const chunk of stream) chunks.push(chunk)

  const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')
  expect(text).toBe(whole.choices[0]?.message.content)
  expect(new Set(chunks.map((chunk) => chunk.id)).size).toBe(1)
  expect(chunks[0]?.choices[0]?.delta.role).toBe('assistant')
  expect(chunks.filter((chunk) => chunk.choices[0]?.finish_reason)).toHaveLength(1)
  const last = chunks.at(-1)
  expect(last?.choices).toEqual([])
  expect(last?.usage?.prompt_tokens).toBe(whole.usage?.prompt_tokens)
  expect(last?.usage?.completion_tokens).toBe(whole.usage?.completion_tokens)
})

test('streaming without include_usage has no usage in any chunk', async () => {
  const stream = await client.chat.completions.create({
    model: chatModel,
    max_completion_tokens: 4,
    messages: [...capital],
    stream: true,
  })
  for await (const chunk of stream) expect(chunk).not.toHaveProperty('usage')
})

test('a stop text ends the answer and is not part of it', async () => {
  const completion = await client.chat.completions.create({
    model: chatModel,
    temperature: 0,
    max_completion_tokens: 48,
    stop: ['Paris'],
    messages: [...capital],
  })
  expect(completion.choices[0]?.finish_reason).toBe('stop')
  expect(completion.choices[0]?.message.content).not.toContain('Paris')
})

test('several choices come with their own index and finish', async () => {
  const completion = await client.chat.completions.create({
    model: chatModel,
    n: 2,
    max_completion_tokens: 8,
    messages: [...capital],
  })
  expect(new Set(completion.choices.map((choice) => choice.index))).toEqual(new Set([0, 1]))
  expect(completion.choices).toHaveLength(2)
})

test('logprobs come for each token, with alternatives', async () => {
  const completion = await client.chat.completions.create({
    model: chatModel,
    temperature: 0,
    max_completion_tokens: 4,
    logprobs: true,
    top_logprobs: 2,
    messages: [...capital],
  })
  const content = completion.choices[0]?.logprobs?.content ?? []
  expect(content).toHaveLength(completion.usage?.completion_tokens ?? -1)
  for (const token of content) {
    expect(token.logprob).toBeLessThanOrEqual(0)
    expect(token.top_logprobs).toHaveLength(2)
  }
})

test.each(['required', 'named'] as const)(
  'tools: %s makes a call with valid arguments',
  async (choice) => {
    const completion = await client.chat.completions.create({
      model: chatModel,
      temperature: 0,
      max_completion_tokens: 96,
      messages: [{ role: 'user', content: 'How is the weather in Paris, in celsius?' }],
      // A model this small would go on calling until its tokens are used up.
      parallel_tool_calls: false,
      tools: choice === 'required' ? [weather] : [clock, weather],
      tool_choice:
        choice === 'required'
          ? 'required'
          : { type: 'function', function: { name: 'get_weather' } },
    })
    const [first] = completion.choices
    expect(first?.finish_reason).toBe(choice === 'required' ? 'tool_calls' : 'stop')
    const call = first?.message.tool_calls?.[0]
    expect(call?.type).toBe('function')
    expect(call?.id).toBeTruthy()
    if (call?.type !== 'function') return
    expect(call.function.name).toBe('get_weather')
    expect(isWeather(call.function.arguments)).toBe(true)
  },
)

test('tools: streamed arguments join to valid JSON, and only the first piece names the call', async () => {
  const stream = await client.chat.completions.create({
    model: chatModel,
    temperature: 0,
    max_completion_tokens: 96,
    messages: [{ role: 'user', content: 'How is the weather in Paris, in celsius?' }],
    tools: [weather],
    tool_choice: 'required',
    parallel_tool_calls: false,
    stream: true,
  })
  const pieces = []
  let finish: string | null | undefined
  for await (const chunk of stream) {
    pieces.push(...(chunk.choices[0]?.delta.tool_calls ?? []))
    finish = chunk.choices[0]?.finish_reason ?? finish
  }
  expect(finish).toBe('tool_calls')
  const first = pieces.filter((piece) => piece.index === 0)
  expect(first[0]?.function?.name).toBe('get_weather')
  expect(first.filter((piece) => piece.id !== undefined)).toHaveLength(1)
  expect(isWeather(first.map((piece) => piece.function?.arguments ?? '').join(''))).toBe(true)
})

test('tools: auto answers in words or with a well-formed call, and none only in words', async () => {
  const request = {
    model: chatModel,
    temperature: 0,
    max_completion_tokens: 48,
    messages: [{ role: 'user' as const, content: 'Say hello.' }],
    tools: [weather],
  }
  const auto = (await client.chat.completions.create({ ...request, tool_choice: 'auto' }))
    .choices[0]
  const calls = auto?.message.tool_calls ?? []
  expect(auto?.finish_reason === 'tool_calls').toBe(calls.length > 0)
  for (const call of calls) {
    if (call.type === 'function') expect(() => JSON.parse(call.function.arguments)).not.toThrow()
  }
  const none = (await client.chat.completions.create({ ...request, tool_choice: 'none' }))
    .choices[0]
  expect(none?.message.tool_calls ?? []).toEqual([])
  expect(none?.message.content).toBeTruthy()
})

test('tools: the result of a call is accepted back', async () => {
  const completion = await client.chat.completions.create({
    model: chatModel,
    temperature: 0,
    max_completion_tokens: 16,
    tools: [weather],
    tool_choice: 'none',
    messages: [
      { role: 'user', content: 'How is the weather in Paris?' },
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          {
            id: 'call_1',
            type: 'function',
            function: { name: 'get_weather', arguments: '{"city":"Paris","unit":"c"}' },
          },
        ],
      },
      { role: 'tool', tool_call_id: 'call_1', content: '21 degrees and sunny' },
    ],
  })
  expect(completion.choices[0]?.message.content).toBeTruthy()
})

test('json_schema: the answer follows the schema, streamed or not', async () => {
  const request = {
    model: chatModel,
    temperature: 0,
    max_completion_tokens: 96,
    messages: [{ role: 'user' as const, content: 'Describe Paris.' }],
    response_format: {
      type: 'json_schema' as const,
      json_schema: {
        name: 'city',
        strict: true,
        schema: {
          type: 'object',
          properties: {
            name: { type: 'string', maxLength: 20 },
            country: { type: 'string', enum: ['France', 'Spain', 'Italy'] },
            isCapital: { type: 'boolean' },
          },
          required: ['name', 'country', 'isCapital'],
          additionalProperties: false,
        },
      },
    },
  }
  const whole = await client.chat.completions.create(request)
  const city: unknown = JSON.parse(whole.choices[0]?.message.content ?? '')
  expect(city).toEqual({
    name: expect.any(String),
    country: expect.stringMatching(/^(France|Spain|Italy)$/),
    isCapital: expect.any(Boolean),
  })
  const stream = await client.chat.completions.create({ ...request, stream: true })
  let text = ''
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
  expect(JSON.parse(text)).toEqual(city)
})

test('embeddings: the default encoding (base64) and float give the same vectors', async () => {
  const request = { model: embeddingModel, input: ['one sentence', 'another'] }
  const byDefault = await client.embeddings.create(request)
  const asFloat = await client.embeddings.create({ ...request, encoding_format: 'float' })
  expect(byDefault.data.map((item) => item.index)).toEqual([0, 1])
  expect(byDefault.usage.total_tokens).toBe(byDefault.usage.prompt_tokens)
  for (const [index, item] of byDefault.data.entries()) {
    expect(item.embedding).toHaveLength(384)
    const other = asFloat.data[index]?.embedding ?? []
    expect(item.embedding.every((x, at) => Math.abs(x - (other[at] ?? 2)) < 1e-6)).toBe(true)
  }
})

test('embeddings: three related sentences rank above three unrelated ones', async () => {
  const { data } = await client.embeddings.create({
    model: embeddingModel,
    input: [related.query, ...related.answers, ...unrelated],
  })
  const [query, ...rest] = data.map((item) => item.embedding)
  const scores = rest.map((vector) => cosine(query ?? [], vector))
  const worstRelated = Math.min(...scores.slice(0, 3))
  const bestUnrelated = Math.max(...scores.slice(3))
  expect(worstRelated).toBeGreaterThan(bestUnrelated)
})

test('models: listed, and retrieved by id', async () => {
  const ids: string[] = []
  for await (const model of client.models.list()) {
    ids.push(model.id)
    expect(Number.isInteger(model.created)).toBe(true)
  }
  expect(ids).toContain(chatModel)
  expect(ids).toContain(embeddingModel)
  const model = await client.models.retrieve(chatModel)
  expect(model).toMatchObject({ id: chatModel, object: 'model' })
})

test.each([
  {
    status: 401,
    type: OpenAI.AuthenticationError,
    code: 'invalid_api_key',
    call: () => client.withOptions({ apiKey: mistyped(platform.apiKey) }).models.list(),
  },
  {
    status: 404,
    type: OpenAI.NotFoundError,
    code: 'model_not_found',
    call: () => client.models.retrieve('no/such:model'),
  },
  {
    status: 404,
    type: OpenAI.NotFoundError,
    code: 'model_not_found',
    call: () => client.chat.completions.create({ model: 'no-such-model', messages: [...capital] }),
  },
  {
    status: 400,
    type: OpenAI.BadRequestError,
    code: null,
    call: () => client.chat.completions.create({ model: chatModel, messages: [] }),
  },
  {
    status: 400,
    type: OpenAI.BadRequestError,
    code: 'context_length_exceeded',
    call: () =>
      client.chat.completions.create({
        model: chatModel,
        messages: [{ role: 'user', content: 'word '.repeat(50_000) }],
      }),
  },
  {
    status: 400,
    type: OpenAI.BadRequestError,
    code: 'capability_missing',
    call: () => client.embeddings.create({ model: chatModel, input: 'x' }),
  },
])(
  'errors: $status $code has its own class, code and request id',
  async ({ status, type, code, call }) => {
    const error: unknown = await Promise.resolve(call()).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(type)
    if (!(error instanceof OpenAI.APIError)) return
    expect(error.status).toBe(status)
    expect(error.code ?? null).toBe(code)
    expect(error.requestID).toMatch(/^req_/)
  },
)

test('errors: an engine that limits the rate is a RateLimitError with the time to wait', async () => {
  const error: unknown = await client.chat.completions
    .create({ model: platform.limitedModel, messages: [...capital] })
    .catch((caught: unknown) => caught)
  expect(error).toBeInstanceOf(OpenAI.RateLimitError)
  if (!(error instanceof OpenAI.RateLimitError)) return
  expect(error.code).toBe('rate_limit_exceeded')
  expect(Number(error.headers?.get('retry-after'))).toBeGreaterThan(0)
})

test('cancel: a stream that the client leaves ends at once, and the next request is served', async () => {
  const stream = await client.chat.completions.create({
    model: chatModel,
    max_completion_tokens: 400,
    messages: [{ role: 'user', content: 'Write a very long story about the sea.' }],
    stream: true,
  })
  let chunks = 0
  for await (const chunk of stream) {
    expect(chunk.object).toBe('chat.completion.chunk')
    chunks += 1
    if (chunks === 3) stream.controller.abort()
  }
  expect(chunks).toBeLessThan(20)
  const next = await client.chat.completions.create({
    model: chatModel,
    max_completion_tokens: 4,
    messages: [...capital],
  })
  expect(next.choices[0]?.message.content).toBeTruthy()
})
