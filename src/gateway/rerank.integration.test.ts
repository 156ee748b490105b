/** Reranking over the whole gateway: each address, each way to judge, and what it costs. The engine's answers are those that its vendor documents. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  gatewayForTests,
  type EngineHears,
  type EngineSays,
  type GatewayForTests,
} from '../../test/gateway-for-tests.ts'

let gateway: GatewayForTests

const query = 'What is the capital of France?'
const documents = ['Reranking is fun!', 'The capital of France is Paris', 'Brasília is a capital']
/** A cross-encoder's, as llama-server gives them. */
const logits = [-2, 7.7, 0.5]
const probabilities = [0.03, 0.97, 0.4]
/** The query's vector, then the documents'. */
const vectors = [
  [1, 0],
  [-1, 0.1],
  [2, 0.1],
  [1, 1],
]
const logistic = (value: number): number => 1 / (1 + Math.exp(-value))

beforeAll(async () => {
  gateway = await gatewayForTests({
    script: answer,
    models: [
      { id: 'reranker', category: 'rerank' },
      { id: 'reranker-of-logits', category: 'rerank' },
      { id: 'reranker-of-small-logits', category: 'rerank', capabilities: ['logit-scores'] },
      { id: 'reranker-of-tei', category: 'rerank', engineKind: 'tei' },
      { id: 'embedder', category: 'embedding' },
      { id: 'chatty', category: 'chat' },
    ],
  })
}, 120_000)

afterAll(() => gateway?.close())

function answer({ path, body }: EngineHears): EngineSays {
  // Engines sort as they like; this one gives the last document first.
  const entries = (scores: readonly number[], field: string): unknown[] =>
    scores.map((score, index) => ({ index, [field]: score })).toReversed()
  if (path === '/v1/rerank') {
    const scores = body['model'] === 'reranker-of-logits' ? logits : probabilities
    const usage = { prompt_tokens: 56, total_tokens: 56 }
    return { body: { id: 'r', model: 'm', usage, results: entries(scores, 'relevance_score') } }
  }
  if (path === '/rerank') {
    return { headers: { 'x-compute-tokens': '57' }, body: entries(logits, 'score') }
  }
  if (path === '/v1/embeddings') {
    const data = vectors.map((embedding, index) => ({ object: 'embedding', index, embedding }))
    const usage = { prompt_tokens: 20, total_tokens: 20 }
    return { body: { object: 'list', data, model: 'm', usage } }
  }
  return { status: 404, body: {} }
}

interface Body {
  readonly id: string
  readonly results: readonly { index: number; relevance_score: number; document?: unknown }[]
  readonly meta: {
    readonly api_version: { readonly version: string }
    readonly billed_units: Readonly<Record<string, number>>
    readonly tokens: Readonly<Record<string, number>>
    readonly method: string
  }
  readonly usage?: { readonly total_tokens: number }
  readonly error: { readonly code: string; readonly param: string; readonly capability?: string }
  readonly message: string
}

async function rerank(path: string, body: Record<string, unknown>, key?: string) {
  const response = await gateway.post(path, body, key)
  // Each test reads the fields of its own answer.
  return { response, body: (await response.json()) as Body }
}

test('/v1/rerank answers in the shape of Cohere 1, with the fields that Jina and vLLM add', async () => {
  const { response, body } = await rerank('/v1/rerank', {
    model: 'reranker',
    query,
    documents,
    top_n: null,
  })
  expect(response.status).toBe(200)
  expect(response.headers.get('x-rerank-method')).toBe('model')
  expect(body).toEqual({
    id: expect.stringMatching(/^req_/),
    object: 'list',
    model: 'reranker',
    results: [
      { index: 1, relevance_score: 0.97 },
      { index: 2, relevance_score: 0.4 },
      { index: 0, relevance_score: 0.03 },
    ],
    meta: {
      api_version: { version: '1' },
      billed_units: { search_units: 1, input_tokens: 56 },
      tokens: { input_tokens: 56, output_tokens: 0 },
      method: 'model',
    },
    usage: { prompt_tokens: 56, total_tokens: 56 },
  })
})

test('/v2/rerank answers in the shape of Cohere 2', async () => {
  const { body } = await rerank('/v2/rerank', {
    model: 'reranker',
    query,
    documents,
    top_n: 2,
    max_tokens_per_doc: 4_096,
  })
  expect(Object.keys(body)).toEqual(['id', 'results', 'meta'])
  expect(body.results.map((result) => result.index)).toEqual([1, 2])
  expect(body.meta.api_version).toEqual({ version: '2' })
})

test('/rerank takes and answers what text-embeddings-inference does: a bare list, sorted, with logits where raw scores are asked for', async () => {
  const ask = async (options: Record<string, unknown>): Promise<unknown> =>
    (await rerank('/rerank', { model: 'reranker-of-tei', query, texts: documents, ...options }))
      .body
  expect(await ask({})).toEqual([
    { index: 1, score: logistic(7.7) },
    { index: 2, score: logistic(0.5) },
    { index: 0, score: logistic(-2) },
  ])
  expect(await ask({ raw_scores: true, return_text: true })).toEqual([
    { index: 1, text: documents[1], score: 7.7 },
    { index: 2, text: documents[2], score: 0.5 },
    { index: 0, text: documents[0], score: -2 },
  ])
})

test('logits become scores from 0 to 1, whether the engine or the operator says that they are some', async () => {
  const scoresOf = async (model: string): Promise<number[]> =>
    (await rerank('/v1/rerank', { model, query, documents })).body.results.map(
      (result) => result.relevance_score,
    )
  expect(await scoresOf('reranker-of-logits')).toEqual([7.7, 0.5, -2].map(logistic))
  expect(await scoresOf('reranker-of-tei')).toEqual([7.7, 0.5, -2].map(logistic))
  expect(await scoresOf('reranker-of-small-logits')).toEqual([0.97, 0.4, 0.03].map(logistic))
})

test('documents are strings or objects with a text, come back as they were given, and reach the engine as texts alone', async () => {
  gateway.heard()
  const given = [{ text: documents[0], source: 'a.md' }, documents[1], { text: documents[2] }]
  const { body } = await rerank('/v1/rerank', {
    model: 'reranker',
    query,
    documents: given,
    return_documents: true,
  })
  expect(body.results.map((result) => result.document)).toEqual([
    { text: documents[1] },
    { text: documents[2] },
    { text: documents[0], source: 'a.md' },
  ])
  expect(gateway.heard()[0]?.body).toMatchObject({ documents, top_n: 3, return_documents: false })
})

test('a model that only embeds reranks by cosine, and the answer says so', async () => {
  gateway.heard()
  const { response, body } = await rerank('/v1/rerank', { model: 'embedder', query, documents })
  expect(response.headers.get('x-rerank-method')).toBe('cosine')
  expect(body.meta.method).toBe('cosine')
  expect(gateway.heard()[0]?.body['input']).toEqual([query, ...documents])
  expect(body.results.map((result) => result.index)).toEqual([1, 2, 0])
  const [best, middle, worst] = body.results.map((result) => result.relevance_score)
  expect(best).toBeCloseTo(2 / Math.hypot(2, 0.1), 12)
  expect(middle).toBeCloseTo(Math.SQRT1_2, 12)
  expect(worst).toBe(0)
})

test('raw scores of a cosine are the cosine', async () => {
  const { body } = await rerank('/rerank', {
    model: 'embedder',
    query,
    texts: documents,
    raw_scores: true,
  })
  const worst = (body as unknown as { score: number }[]).at(-1)
  expect(worst?.score).toBeCloseTo(-1 / Math.hypot(1, 0.1), 12)
})

test('a reranking model is billed by the tokens that it reranks, an embedding model by its input', async () => {
  const cost = async (model: string) => {
    const { response } = await rerank('/v2/rerank', { model, query, documents })
    return gateway.billed(response.headers.get('x-request-id'))
  }
  expect(await cost('reranker')).toMatchObject({
    outcome: 'completed',
    endpoint: '/v2/rerank',
    input_tokens: 56n,
    amount_nanos: 56n * 4_000n,
    usage_suspect: false,
  })
  expect(await cost('reranker-of-tei')).toMatchObject({ amount_nanos: 57n * 4_000n })
  expect(await cost('embedder')).toMatchObject({ input_tokens: 20n, amount_nanos: 20n * 1_800n })
})

test('without a model, the only reranker of the key does it; several, or none, are said', async () => {
  const body = { query, texts: documents }
  const onlyKey = await gateway.keyFor(['reranker-of-tei', 'embedder'])
  expect((await rerank('/rerank', body, onlyKey)).response.headers.get('x-rerank-method')).toBe(
    'model',
  )
  const embedderKey = await gateway.keyFor(['embedder', 'chatty'])
  expect((await rerank('/rerank', body, embedderKey)).response.headers.get('x-rerank-method')).toBe(
    'cosine',
  )
  const several = await rerank('/rerank', body)
  expect([several.response.status, several.body.error.param]).toEqual([400, 'model'])
  const none = await rerank('/rerank', body, await gateway.keyFor(['chatty']))
  expect(none.response.status).toBe(400)
  expect(none.body.error).toMatchObject({ code: 'capability_missing', capability: 'rerank' })
  expect(none.body.message).toContain('colonnade engine add')
})

test('a chat model that is named is refused with the capability that it lacks', async () => {
  const { response, body } = await rerank('/v1/rerank', { model: 'chatty', query, documents })
  expect(response.status).toBe(400)
  expect(body.error).toMatchObject({ code: 'capability_missing', capability: 'rerank' })
})

test('errors have OpenAI\'s "error" and Cohere\'s "message"', async () => {
  const { response, body } = await rerank('/v2/rerank', { model: 'reranker', query, documents: [] })
  expect(response.status).toBe(400)
  expect(body.message).toBe("'documents': must not be empty.")
  expect(body.error.param).toBe('documents')
})

test('an estimate of reranking knows its price', async () => {
  const { response, body } = await rerank('/v1/estimate', { model: 'reranker', query, documents })
  expect(response.status).toBe(200)
  expect(body).toMatchObject({ endpoint: '/v1/rerank', output_tokens: { max: 0 } })
  const { input_tokens: input, price } = body as unknown as {
    input_tokens: { expected: number }
    price: { expected: { nanos: string } }
  }
  expect(price.expected.nanos).toBe(String(input.expected * 4_000))
})
