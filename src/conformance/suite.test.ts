/** The suite against an API that does everything right, and one thing wrong: each planted fault fails the checks that are for it, and no other. */
import { afterEach, expect, test } from 'vitest'
import {
  apiKey,
  modelName,
  startApi,
  windowTokens,
  type Chunk,
  type Faults,
  type ScriptedApi,
  type WireCall,
} from '../../test/conformance-api.ts'
import { systemClock } from '../platform/clock.ts'
import type { Subject, SubjectCategory } from './check.ts'
import { checks } from './checks.ts'
import { connectApi } from './conformance.ts'
import { describeModel } from './describe.ts'
import { verdictOf, type CheckOutcome } from './run.ts'
import { runSuite, type SuiteOptions } from './suite.ts'

let api: ScriptedApi | undefined
afterEach(() => api?.close())

async function run(
  faults: Faults,
  of: Partial<Subject> = {},
  options: SuiteOptions = {},
): Promise<readonly CheckOutcome[]> {
  api = await startApi(faults)
  const client = connectApi({ url: api.url, key: apiKey, clock: systemClock })
  const subject: Subject = {
    model: modelName,
    category: 'chat',
    contextWindowTokens: windowTokens,
    capabilities: ['tools'],
    ...of,
  }
  try {
    return await runSuite(client, subject, options)
  } finally {
    await client.close()
  }
}

function failed(outcomes: readonly CheckOutcome[]): readonly string[] {
  return outcomes.filter(({ result }) => result === 'failed').map(({ id }) => id)
}

test.each<[SubjectCategory, readonly string[]]>([
  ['chat', ['reasoning.fields', 'vision.image']],
  ['embedding', []],
  ['rerank', []],
])(
  'an API that does everything right passes every check for a %s model',
  async (category, skipped) => {
    const outcomes = await run({}, { category })
    const others = outcomes.filter(({ result }) => result !== 'passed')
    expect(others.map(({ id }) => id).toSorted()).toEqual(skipped)
    expect(verdictOf(outcomes)).toBe('passed')
  },
)

const first = <Value>(list: readonly Value[]): Value => {
  const [value] = list
  if (value === undefined) throw new Error('the list is empty')
  return value
}
const hasFinish = (chunk: Chunk): boolean => chunk.choices.some((choice) => choice.finish_reason)
const mapCalls = (chunks: Chunk[], change: (call: WireCall) => WireCall): Chunk[] =>
  chunks.map((chunk) => ({
    ...chunk,
    choices: chunk.choices.map((choice) => {
      const calls = choice.delta.tool_calls?.map(change)
      return calls ? { ...choice, delta: { ...choice.delta, tool_calls: calls } } : choice
    }),
  }))
const mapText = (chunks: Chunk[], change: (text: string) => string): Chunk[] =>
  chunks.map((chunk) => ({
    ...chunk,
    choices: chunk.choices.map(({ delta, ...choice }) => ({
      ...choice,
      delta: delta.content ? { ...delta, content: change(delta.content) } : delta,
    })),
  }))

const chatFaults: readonly (readonly [fault: string, faults: Faults, found: readonly string[]])[] =
  [
    ['the model is not in the list', { listed: ['other'] }, ['models.listed']],
    ['all answers have one id', { whole: (answer) => ({ ...answer, id: 'x' }) }, ['chat.message']],
    [
      'a message is of nobody',
      {
        whole: (answer) => ({
          ...answer,
          choices: answer.choices.map(({ message: { role: _role, ...message }, ...choice }) => ({
            ...choice,
            message,
          })),
        }),
      },
      ['chat.message'],
    ],
    [
      'max_tokens is passed by one',
      {
        whole: ({ usage, ...answer }, { max_tokens: limit }) =>
          limit === 6 && usage
            ? { ...answer, usage: { ...usage, completion_tokens: 7 } }
            : { ...answer, ...(usage && { usage }) },
      },
      ['chat.max-tokens'],
    ],
    [
      'a cut answer looks whole',
      {
        whole: (answer) => ({
          ...answer,
          choices: answer.choices.map((choice) =>
            choice.finish_reason === 'length' ? { ...choice, finish_reason: 'stop' } : choice,
          ),
        }),
      },
      ['chat.max-tokens'],
    ],
    [
      'the stop sequence is shown',
      {
        whole: (answer, { stop }) => ({
          ...answer,
          choices: answer.choices.map((choice) => ({
            ...choice,
            message: stop
              ? { ...choice.message, content: `${choice.message.content}${first([stop].flat())}` }
              : choice.message,
          })),
        }),
      },
      ['chat.stop'],
    ],
    [
      'n is passed over',
      { whole: (answer) => ({ ...answer, choices: answer.choices.slice(0, 1) }) },
      ['chat.n'],
    ],
    [
      'n choices stand at one place',
      {
        whole: (answer) => ({
          ...answer,
          choices: answer.choices.map((choice) => ({ ...choice, index: 0 })),
        }),
      },
      ['chat.n'],
    ],
    [
      'the seed is passed over',
      {
        whole: (answer, { seed }) => ({
          ...answer,
          choices: answer.choices.map((choice) =>
            seed === 11
              ? { ...choice, message: { ...choice.message, content: answer.id } }
              : choice,
          ),
        }),
      },
      ['chat.seed'],
    ],
    [
      'logprobs are above 0',
      {
        whole: (answer) => ({
          ...answer,
          choices: answer.choices.map((choice) => ({
            ...choice,
            logprobs: choice.logprobs
              ? { content: choice.logprobs.content.map((token) => ({ ...token, logprob: 1 })) }
              : null,
          })),
        }),
      },
      ['chat.logprobs'],
    ],
    [
      'logprobs are forgotten',
      {
        whole: (answer) => ({
          ...answer,
          choices: answer.choices.map((choice) => ({ ...choice, logprobs: null })),
        }),
      },
      ['chat.logprobs'],
    ],
    [
      'developers are not heard',
      {
        whole: (answer, { messages }) =>
          messages?.some(({ role }) => role === 'developer') ? { ...answer, choices: [] } : answer,
      },
      ['chat.roles'],
    ],
    [
      'characters are cut between chunks',
      { chunks: (chunks) => mapText(chunks, (text) => text.replace('ü', '\ufffd')) },
      ['chat.unicode'],
    ],
    [
      'bytes of characters are lost',
      {
        streamed(text) {
          const bytes = Buffer.from(text)
          const place = bytes.findIndex((byte) => byte > 0x7f)
          return place < 0
            ? text
            : Buffer.concat([bytes.subarray(0, place), bytes.subarray(place + 1)])
        },
      },
      ['chat.unicode'],
    ],
    [
      '[DONE] is missing',
      { streamed: (text) => text.replace(/data: \[DONE\]\n\n$/, '') },
      ['stream.framing'],
    ],
    ['[DONE] comes twice', { streamed: (text) => `${text}data: [DONE]\n\n` }, ['stream.framing']],
    [
      'chunks are of another kind',
      { chunks: (chunks) => chunks.map((chunk) => ({ ...chunk, object: 'chunk' })) },
      ['stream.framing'],
    ],
    [
      'each chunk has another id',
      { chunks: (chunks) => chunks.map((chunk, place) => ({ ...chunk, id: `id-${place}` })) },
      ['stream.identity'],
    ],
    [
      'chunks have no model',
      {
        chunks: (chunks) =>
          // A field that is not there leaves no trace in JSON.
          chunks.map((chunk) => ({ ...chunk, model: undefined as unknown as string })),
      },
      ['stream.identity'],
    ],
    [
      'a stream ends without a finish',
      { chunks: (chunks) => chunks.filter((chunk) => !hasFinish(chunk)) },
      ['stream.order'],
    ],
    [
      'a stream finishes twice',
      {
        chunks: (chunks) =>
          chunks.flatMap((chunk) => (hasFinish(chunk) ? [chunk, chunk] : [chunk])),
      },
      ['stream.order'],
    ],
    [
      'the role comes after the first text',
      {
        chunks: ([role, text, ...rest]) =>
          [text, role, ...rest].filter((chunk) => chunk !== undefined),
      },
      ['stream.order'],
    ],
    [
      'usage comes unasked',
      {
        chunks: (chunks) =>
          chunks.map((chunk) => ({
            usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
            ...chunk,
          })),
      },
      ['stream.usage'],
    ],
    [
      'usage does not come when asked for',
      { chunks: (chunks) => chunks.filter((chunk) => !chunk.usage) },
      ['stream.usage', 'usage.equal'],
    ],
    [
      'the total is not the sum',
      {
        whole: ({ usage, ...answer }) => ({
          ...answer,
          ...(usage && { usage: { ...usage, total_tokens: usage.total_tokens + 1 } }),
        }),
      },
      ['usage.sums'],
    ],
    [
      'a streamed answer costs more',
      {
        chunks: (chunks) =>
          chunks.map(({ usage, ...chunk }) =>
            usage
              ? { ...chunk, usage: { ...usage, completion_tokens: usage.completion_tokens + 1 } }
              : chunk,
          ),
      },
      ['usage.equal'],
    ],
    [
      'arguments break the schema',
      {
        whole: (answer, { tool_choice: choice }) => ({
          ...answer,
          choices: answer.choices.map((made) =>
            choice === 'required'
              ? {
                  ...made,
                  message: {
                    ...made.message,
                    tool_calls: [
                      {
                        index: 0,
                        id: 'call_0',
                        type: 'function',
                        function: { name: 'get_weather', arguments: '{"city":"Rome"}' },
                      },
                    ],
                  },
                }
              : made,
          ),
        }),
      },
      ['tools.required'],
    ],
    [
      'a required call finishes as stop',
      {
        whole: (answer, { tool_choice: choice }) => ({
          ...answer,
          choices: answer.choices.map((made) =>
            choice === 'required' ? { ...made, finish_reason: 'stop' } : made,
          ),
        }),
      },
      ['tools.required'],
    ],
    [
      'pieces of arguments are lost',
      {
        chunks: (chunks) =>
          mapCalls(chunks, (call) =>
            call.function.arguments.startsWith('{')
              ? { ...call, function: { ...call.function, arguments: '' } }
              : call,
          ),
      },
      ['tools.stream'],
    ],
    [
      'calls at once have one index',
      { chunks: (chunks) => mapCalls(chunks, (call) => ({ ...call, index: 0 })) },
      ['tools.parallel'],
    ],
    [
      'calls at once have one id',
      {
        chunks: (chunks) => mapCalls(chunks, (call) => (call.id ? { ...call, id: 'call' } : call)),
      },
      ['tools.parallel'],
    ],
    [
      'nothing is said about a result',
      {
        whole: (answer, { messages }) =>
          messages?.some(({ role }) => role === 'tool') ? { ...answer, choices: [] } : answer,
      },
      ['tools.result'],
    ],
    [
      'a named call finishes as tool_calls',
      {
        whole: (answer, { tool_choice: choice }) => ({
          ...answer,
          choices: answer.choices.map((made) =>
            typeof choice === 'object' ? { ...made, finish_reason: 'tool_calls' } : made,
          ),
        }),
      },
      ['tools.named'],
    ],
    [
      'JSON is wrapped in words',
      {
        whole: (answer, { response_format: format }) => ({
          ...answer,
          choices: answer.choices.map((made) =>
            format?.type === 'json_object'
              ? { ...made, message: { ...made.message, content: 'Here: {}' } }
              : made,
          ),
        }),
      },
      ['json.object'],
    ],
    ...(['enum', 'nested', 'array'] as const).map(
      (name) =>
        [
          `the schema of ${name} is not kept`,
          {
            whole: (answer, { response_format: format }) => ({
              ...answer,
              choices: answer.choices.map((made) => {
                return format?.json_schema?.name === name
                  ? { ...made, message: { ...made.message, content: '{}' } }
                  : made
              }),
            }),
          } satisfies Faults,
          [`json.${name}`],
        ] as const,
    ),
    [
      'the end of long prompts is cut off',
      {
        whole: ({ usage, ...answer }) => ({
          ...answer,
          ...(usage && {
            usage: {
              prompt_tokens: Math.min(usage.prompt_tokens, 250),
              completion_tokens: usage.completion_tokens,
              total_tokens: Math.min(usage.prompt_tokens, 250) + usage.completion_tokens,
            },
          }),
        }),
      },
      ['context.window'],
    ],
    ['what is too long is taken', { accepts: 'any length' }, ['context.exceeded']],
    [
      'what is too long is refused without numbers',
      { refusal: ({ status, error }) => ({ status, error: { ...error, message: 'Too long.' } }) },
      ['context.exceeded'],
    ],
    ...(['responses', 'messages', 'completions'] as const).map(
      (name) =>
        [
          `/v1/${name} answers without usage`,
          {
            dialect: ({ usage, ...answer }, path) =>
              path === `/v1/${name}` ? answer : { ...answer, usage },
          } satisfies Faults,
          [`dialects.${name}`],
        ] as const,
    ),
    ['any model is served', { accepts: 'any model' }, ['errors.unknown-model']],
    ['any value is taken', { accepts: 'any field' }, ['errors.bad-request']],
    ['any key is let in', { accepts: 'any key' }, ['errors.bad-key']],
    [
      'a wrong field is not named',
      { refusal: ({ status, error }) => ({ status, error: { ...error, param: null } }) },
      ['errors.bad-request'],
    ],
    [
      'bad JSON is a failure of the server',
      {
        refusal: (refusal) =>
          refusal.error.code === 'invalid_json' ? { ...refusal, status: 500 } : refusal,
      },
      ['errors.bad-json'],
    ],
    [
      'requests have no id',
      { headers: ({ 'x-request-id': _id, ...headers }) => headers },
      ['headers.request-id'],
    ],
    [
      'more remains than the limit',
      { headers: (headers) => ({ ...headers, 'x-ratelimit-remaining-requests': '101' }) },
      ['headers.rate-limit'],
    ],
    [
      'nothing is streamed',
      { chunks: (chunks) => mapText(chunks, () => '') },
      ['stream.order', 'speed.stream'],
    ],
  ]

test.each(chatFaults)('%s: found by the checks for it alone', async (_fault, faults, found) => {
  const outcomes = await run(faults)
  expect(failed(outcomes)).toEqual(found)
  for (const { result, why } of outcomes) if (result === 'failed') expect(why).toMatch(/^.{5,500}$/)
})

const vectorFaults: readonly (readonly [string, Faults, readonly string[]])[] = [
  [
    'base64 holds other numbers',
    {
      embeddings: (data, { encoding_format: format }) =>
        format === 'base64'
          ? data.map(({ index }) => ({ index, embedding: [1, 0, 0, 0, 0, 0, 0, 0] }))
          : data,
    },
    ['embeddings.base64'],
  ],
  [
    'texts among others have other vectors',
    {
      embeddings: (data) =>
        data.length > 1
          ? data.map(({ index }) => ({ index, embedding: [0, 0, 0, 0, 0, 0, 0, 1].with(index, 3) }))
          : data,
    },
    ['embeddings.batch', 'embeddings.order'],
  ],
  [
    'vectors come in another order',
    {
      embeddings: (data) => data.toReversed().map(({ embedding }, index) => ({ index, embedding })),
    },
    ['embeddings.order'],
  ],
  [
    'a batch costs one text more',
    {
      embeddingTokens: (tokens, { input }) =>
        Array.isArray(input) && input.length > 1 ? tokens + 1 : tokens,
    },
    ['embeddings.usage'],
  ],
  [
    'vectors are longer than 1',
    {
      embeddings: (data) =>
        data.map(({ index, embedding }) => ({
          index,
          embedding: Array.isArray(embedding) ? embedding.map((value) => value * 2) : embedding,
        })),
    },
    ['embeddings.normalised'],
  ],
  [
    'dimensions are passed over',
    {
      embeddings: (data, { dimensions }) =>
        dimensions === undefined ? data : data.map((each) => ({ ...each, embedding: [1, 0, 0] })),
    },
    ['embeddings.dimensions'],
  ],
  [
    'tokens are lost',
    { embeddings: (data, { input }) => (JSON.stringify(input) === '[[100,200,300]]' ? [] : data) },
    ['embeddings.tokens'],
  ],
  ['long texts are cut', { accepts: 'any length' }, ['embeddings.too-long']],
]

test.each(vectorFaults)('%s: found by the checks for it alone', async (_fault, faults, found) => {
  expect(failed(await run(faults, { category: 'embedding', capabilities: [] }))).toEqual(found)
})

const rankingFaults: readonly (readonly [string, Faults, readonly string[]])[] = [
  ['the worst comes first', { ranked: (all) => all.toReversed() }, ['rerank.sorted']],
  [
    'a document is lost',
    { ranked: (all, { top_n: top }) => (top === undefined ? all.slice(0, 3) : all) },
    ['rerank.complete', 'rerank.v2'],
  ],
  [
    'scores are raw',
    {
      ranked: (all) =>
        all.map((each) => ({ ...each, relevance_score: each.relevance_score * 10 - 5 })),
    },
    ['rerank.range'],
  ],
  [
    'top_n is passed over',
    { ranked: (all, { top_n: top }) => (top === undefined ? all : [...all, ...all]) },
    ['rerank.top-n'],
  ],
  [
    'documents are judged by their place',
    { ranked: (all) => all.map((each, index) => ({ ...each, index })) },
    ['rerank.sense'],
  ],
]

test.each(rankingFaults)('%s: found by the checks for it alone', async (_fault, faults, found) => {
  expect(failed(await run(faults, { category: 'rerank', capabilities: [] }))).toEqual(found)
})

test('each check has a planted fault that it finds', () => {
  const found = [...chatFaults, ...vectorFaults, ...rankingFaults].flatMap(([, , ids]) => ids)
  // Those that need more than a changed answer have tests of their own below.
  const others = ['cancel.stream', 'reasoning.fields', 'vision.image']
  const ids = checks.map(({ id }) => id).toSorted()
  expect([...new Set([...found, ...others])].toSorted()).toEqual(ids)
  expect(new Set(ids).size).toBe(ids.length)
})

test('a stream that is over before it can be left is found', async () => {
  const outcomes = await run({ chunks: () => [] }, {}, { only: ['cancel'] })
  expect(failed(outcomes)).toEqual(['cancel.stream'])
})

test('a model that declares to see or to think is held to it; one that declares something else is not asked', async () => {
  const only = { only: ['vision', 'reasoning'] }
  const claimed = await run({}, { capabilities: ['vision', 'reasoning'] }, only)
  expect(failed(claimed)).toEqual(['reasoning.fields'])
  const thinking = {
    whole: (answer) => ({ ...answer, choices: [] }),
  } satisfies Faults
  await api?.close()
  expect(failed(await run(thinking, { capabilities: ['tools'] }, only))).toEqual([])
})

test('tools that nobody declared leave a gap, declared ones fail, others are not asked', async () => {
  const broken: Faults = {
    whole: (answer, { tools }) => (tools ? { ...answer, choices: [] } : answer),
  }
  const verdicts = []
  for (const capabilities of [[], ['tools'], ['vision']]) {
    const outcomes = await run(broken, { capabilities }, { only: ['chat.message', 'tools.named'] })
    verdicts.push([outcomes.find(({ id }) => id === 'tools.named')?.result, verdictOf(outcomes)])
    await api?.close()
  }
  expect(verdicts).toEqual([
    ['failed', 'partial'],
    ['failed', 'failed'],
    ['skipped', 'passed'],
  ])
})

test('what the checks say holds nothing of what was asked or answered', async () => {
  const secret = 'quetzalcoatl'
  const outcomes = await run({
    words: () => Array.from({ length: 30 }, () => secret),
    refusal: ({ status, error }) => ({
      status,
      error: { ...error, code: `${secret}!`, message: secret },
    }),
    whole: (answer) => ({
      ...answer,
      choices: answer.choices.map((choice) => ({
        ...choice,
        message: { ...choice.message, content: `{"${secret}":1}` },
      })),
    }),
  })
  expect(failed(outcomes).length).toBeGreaterThan(5)
  expect(JSON.stringify(outcomes)).not.toContain(secret)
})

test('an API that never answers fails the checks, within the time of the suite', async () => {
  const outcomes = await run({ isSilent: true }, {}, { only: ['models', 'errors'], limitMs: 100 })
  expect(outcomes.map(({ result, why }) => [result, why])).toEqual([
    ['failed', 'took longer than 1 s'],
    ...Array.from({ length: 4 }, () => ['failed', 'the suite had no time left for it']),
  ])
})

test('a check that no time is left for has failed', async () => {
  const outcomes = await run({}, {}, { only: ['chat.message', 'errors.bad-key'], limitMs: 0 })
  expect(outcomes.map(({ result, why }) => [result, why])).toEqual([
    ['failed', 'the suite had no time left for it'],
    ['failed', 'the suite had no time left for it'],
  ])
  expect(verdictOf(outcomes)).toBe('failed')
})

test('an API that is not there fails the checks, and the suite goes on', async () => {
  api = await startApi()
  await api.close()
  const client = connectApi({ url: api.url, key: apiKey, clock: systemClock })
  const subject = { model: modelName, category: 'rerank', capabilities: [] } as const
  const outcomes = await runSuite(client, { ...subject, contextWindowTokens: undefined })
  await client.close()
  expect(failed(outcomes)).toEqual(outcomes.map(({ id }) => id))
  expect(outcomes[0]?.why).toBe('the connection failed (ECONNREFUSED)')
})

test('what the public API tells is enough to find out of which kind a model is', async () => {
  api = await startApi({ words: () => ['hello'] })
  const client = connectApi({ url: api.url, key: apiKey, clock: systemClock })
  const subject = await client.within(10_000, (timed) => describeModel(timed, modelName, undefined))
  await client.close()
  expect(subject).toEqual({
    model: modelName,
    category: 'chat',
    contextWindowTokens: windowTokens,
    capabilities: [],
  })
})
