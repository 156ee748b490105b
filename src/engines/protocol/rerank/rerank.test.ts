import { expect, test } from 'vitest'
import type { RerankTask, StreamPart } from '../../engine.ts'
import type { TaskDialect } from '../connection.ts'
import { cohereRerank } from './cohere.ts'
import { jinaRerank, vllmRerank } from './jina.ts'
import { teiRerank } from './tei.ts'

const traits = { continuousUsage: false, cacheSalt: false }
const task: RerankTask = { kind: 'rerank', query: 'q', documents: ['a', 'b'] }
const requestOf = (given: RerankTask = task) => ({
  model: 'm',
  task: given,
  stream: false,
  cacheSalt: undefined,
})

function rendered(dialect: TaskDialect<RerankTask>, given?: RerankTask): unknown {
  const body = dialect.render(requestOf(given), traits)
  return 'json' in body ? JSON.parse(JSON.stringify(body.json)) : body
}

async function read(
  dialect: TaskDialect<RerankTask>,
  value: unknown,
  headers: Record<string, string> = {},
): Promise<readonly StreamPart[]> {
  async function* body(): AsyncGenerator<Buffer> {
    yield await Promise.resolve(Buffer.from(JSON.stringify(value)))
  }
  const answer = { mediaType: 'application/json', headers, body: body() }
  return await Array.fromAsync(dialect.read(answer, requestOf()))
}

const usageOf = (inputTokens: number): StreamPart => ({
  type: 'usage',
  usage: { inputTokens, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 },
})

test('every dialect asks for all documents, so that what is left out is decided here', () => {
  const body = { model: 'm', query: 'q', documents: ['a', 'b'], top_n: 2 }
  expect(rendered(jinaRerank)).toEqual({ ...body, return_documents: false })
  expect(rendered(cohereRerank)).toEqual(body)
  expect(rendered(teiRerank)).toEqual({
    query: 'q',
    texts: ['a', 'b'],
    raw_scores: true,
    truncate: false,
  })
})

test('what is too long is cut only where it may be, in the words of each engine', () => {
  const truncating = { ...task, truncate: true }
  expect(rendered(vllmRerank, truncating)).toMatchObject({ truncate_prompt_tokens: -1 })
  expect(rendered(vllmRerank)).not.toHaveProperty('truncate_prompt_tokens')
  expect(rendered(teiRerank, truncating)).toMatchObject({ truncate: true })
})

test("scores come in the documents' order, whatever the engine's", async () => {
  const results = [
    { index: 1, relevance_score: 0.9, document: { text: 'b' } },
    { index: 0, relevance_score: 0.2 },
  ]
  expect(await read(jinaRerank, { results, usage: { prompt_tokens: 5, total_tokens: 5 } })).toEqual(
    [{ type: 'scores', scores: [0.2, 0.9], scale: 'probability' }, usageOf(5), { type: 'end' }],
  )
  expect(
    await read(cohereRerank, { results, meta: { billed_units: { search_units: 1 } } }),
  ).toEqual([{ type: 'scores', scores: [0.2, 0.9], scale: 'probability' }, { type: 'end' }])
})

test("the usage of Jina's own answers is a total alone", async () => {
  const results = [0, 1].map((index) => ({ index, relevance_score: 0.5 }))
  expect(await read(jinaRerank, { results, usage: { total_tokens: 8 } })).toContainEqual(usageOf(8))
})

test('scores outside of 0 to 1 are logits', async () => {
  const results = [
    { index: 0, relevance_score: 7.74 },
    { index: 1, relevance_score: 0.3 },
  ]
  const [scores] = await read(jinaRerank, { results })
  expect(scores).toMatchObject({ scale: 'logit' })
})

test('text-embeddings-inference gives logits, and its tokens in a header', async () => {
  const ranks = [
    { index: 1, score: 0.4 },
    { index: 0, score: 0.1 },
  ]
  expect(await read(teiRerank, ranks, { 'x-compute-tokens': '12' })).toEqual([
    { type: 'scores', scores: [0.1, 0.4], scale: 'logit' },
    usageOf(12),
    { type: 'end' },
  ])
  expect(await read(teiRerank, ranks, { 'x-compute-tokens': 'many' })).toHaveLength(2)
})

const unusable: readonly (readonly [string, unknown])[] = [
  ['too few', [{ index: 0, relevance_score: 1 }]],
  ['one twice', [0, 0].map((index) => ({ index, relevance_score: 1 }))],
  ['one beyond', [0, 2].map((index) => ({ index, relevance_score: 1 }))],
  ['half an index', [0, 0.5].map((index) => ({ index, relevance_score: 1 }))],
  ['no score', [0, 1].map((index) => ({ index }))],
  ['no list', { 0: 1, 1: 2 }],
]
for (const [name, results] of unusable) {
  test(`${name} is an answer that cannot be used`, async () => {
    for (const dialect of [jinaRerank, cohereRerank]) {
      await expect(read(dialect, { results })).rejects.toMatchObject({
        code: 'upstream.invalid_response',
      })
    }
  })
}
