/** Embeddings over the whole gateway, asked by OpenAI's own client, which asks for base64 unless told otherwise. */
import OpenAI from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  gatewayForTests,
  type EngineHears,
  type EngineSays,
  type GatewayForTests,
} from '../../test/gateway-for-tests.ts'

let gateway: GatewayForTests
let client: OpenAI

beforeAll(async () => {
  gateway = await gatewayForTests({
    script: answer,
    models: [
      { id: 'plain', category: 'embedding' },
      { id: 'nested', category: 'embedding', capabilities: ['matryoshka'] },
      { id: 'shortening', category: 'embedding' },
      { id: 'narrow', category: 'embedding', contextWindowTokens: 8 },
      { id: 'of-tei', category: 'embedding', engineKind: 'tei' },
      { id: 'chatty', category: 'chat' },
    ],
  })
  client = new OpenAI({ apiKey: gateway.key, baseURL: `${gateway.url}/v1`, maxRetries: 0 })
}, 120_000)

afterAll(() => gateway?.close())

/** Vectors of four that tell their input: its length, or its first token. */
function vectorOf(item: unknown): number[] {
  const first = typeof item === 'string' ? item.length : Array.isArray(item) ? Number(item[0]) : 0
  return [first, 0.1, -2.5, 1e-7]
}

function answer({ path, body }: EngineHears): EngineSays {
  if (path === '/embed') {
    const inputs = body['inputs'] as unknown[]
    return { headers: { 'x-compute-tokens': '9' }, body: inputs.map(vectorOf) }
  }
  if (path !== '/v1/embeddings') return { status: 404, body: {} }
  if (body['model'] === 'narrow') {
    return { status: 400, body: { error: { code: 'context_length_exceeded', message: 'long' } } }
  }
  const dimensions = body['model'] === 'shortening' ? Number(body['dimensions'] ?? 4) : 4
  const data = (body['input'] as unknown[])
    .map((item, index) => ({ index, embedding: vectorOf(item).slice(0, dimensions) }))
    .toReversed()
  return { body: { data, usage: { prompt_tokens: 7, total_tokens: 7 } } }
}

const float32 = (values: readonly number[]): number[] => [...Float32Array.from(values)]

test("the default of OpenAI's client and floats give the same vectors, in the order of the inputs", async () => {
  const input = ['a', 'three', 'be']
  const packed = await client.embeddings.create({ model: 'plain', input })
  const plain = await client.embeddings.create({ model: 'plain', input, encoding_format: 'float' })
  expect(plain.data.map((item) => item.embedding)).toEqual(input.map(vectorOf))
  expect(packed.data.map((item) => [...item.embedding])).toEqual(
    input.map((text) => float32(vectorOf(text))),
  )
  for (const answered of [packed, plain]) {
    expect(answered.data.map((item) => [item.object, item.index])).toEqual([
      ['embedding', 0],
      ['embedding', 1],
      ['embedding', 2],
    ])
    expect(answered).toMatchObject({
      object: 'list',
      model: 'plain',
      usage: { prompt_tokens: 7, total_tokens: 7 },
    })
  }
})

test('base64 is little-endian float32', async () => {
  const body = { model: 'plain', input: 'a', encoding_format: 'base64' }
  const response = await gateway.post('/v1/embeddings', body)
  const { data } = (await response.json()) as { data: { embedding: string }[] }
  const bytes = Buffer.from(data[0]?.embedding ?? '', 'base64')
  expect(bytes).toHaveLength(16)
  expect([0, 4, 8, 12].map((at) => bytes.readFloatLE(at))).toEqual(float32(vectorOf('a')))
})

test('a text, texts, tokens and lists of tokens reach the engine as they are', async () => {
  const forms = [
    { input: 'hello', reaches: ['hello'] },
    { input: ['hello', 'world'], reaches: ['hello', 'world'] },
    { input: [15339, 1917], reaches: [[15339, 1917]] },
    { input: [[15339], [1917, 0]], reaches: [[15339], [1917, 0]] },
  ]
  for (const { input, reaches } of forms) {
    gateway.heard()
    const { data } = await client.embeddings.create({ model: 'plain', input })
    expect(data).toHaveLength(reaches.length)
    expect(gateway.heard()[0]?.body).toMatchObject({ input: reaches, encoding_format: 'float' })
  }
})

test('text-embeddings-inference is asked for whole texts, and billed what its header says', async () => {
  gateway.heard()
  const { data, response } = await client.embeddings
    .create({ model: 'of-tei', input: ['a', 'be'], encoding_format: 'float' })
    .withResponse()
  expect(gateway.heard()[0]).toMatchObject({ path: '/embed', body: { truncate: false } })
  expect(data.data.map((item) => item.embedding)).toEqual(['a', 'be'].map(vectorOf))
  expect(data.usage).toEqual({ prompt_tokens: 9, total_tokens: 9 })
  expect(await gateway.billed(response.headers.get('x-request-id'))).toMatchObject({
    input_tokens: 9n,
    amount_nanos: 9n * 1_800n,
    usage_suspect: false,
  })
})

test('dimensions are passed on, and what an engine shortens passes', async () => {
  const { data } = await client.embeddings.create({
    model: 'shortening',
    input: 'abc',
    dimensions: 2,
    encoding_format: 'float',
  })
  expect(data[0]?.embedding).toEqual([3, 0.1])
})

test('longer vectors are cut and normalised where the model was trained for it', async () => {
  const { data } = await client.embeddings.create({
    model: 'nested',
    input: 'abc',
    dimensions: 3,
    encoding_format: 'float',
  })
  const length = Math.hypot(3, 0.1, -2.5)
  expect(data[0]?.embedding).toEqual([3 / length, 0.1 / length, -2.5 / length])
  const tooMany = client.embeddings.create({ model: 'nested', input: 'abc', dimensions: 5 })
  await expect(tooMany).rejects.toMatchObject({ status: 400, param: 'dimensions' })
})

test('vectors of another length than asked for are refused, and cost nothing', async () => {
  const response = await gateway.post('/v1/embeddings', {
    model: 'plain',
    input: 'abc',
    dimensions: 2,
  })
  expect(response.status).toBe(400)
  expect(await response.json()).toMatchObject({
    error: { code: 'unsupported_value', param: 'dimensions' },
  })
  expect(await gateway.billed(response.headers.get('x-request-id'))).toMatchObject({
    amount_nanos: 0n,
  })
})

const refused: readonly (readonly [name: string, input: unknown])[] = [
  ['an empty text', ''],
  ['an empty text among others', ['fine', '']],
  ['no text', []],
  ['no tokens', [[]]],
  ['a mixture', ['fine', [1]]],
  ['a negative token', [-1]],
  ['half a token', [1.5]],
  ['2,049 texts', Array.from({ length: 2_049 }, () => 'a')],
  ['nothing', undefined],
]
for (const [name, input] of refused) {
  test(`${name} is refused with 400 and the field`, async () => {
    const response = await gateway.post('/v1/embeddings', { model: 'plain', input })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({
      error: { type: 'invalid_request_error', param: 'input' },
    })
  })
}

test('2,048 texts, and null for what is left out, are taken', async () => {
  const response = await gateway.post('/v1/embeddings', {
    model: 'plain',
    input: Array.from({ length: 2_048 }, () => 'a'),
    encoding_format: null,
    dimensions: null,
    user: null,
  })
  const { data } = (await response.json()) as { data: { index: number }[] }
  expect(data.map((item) => item.index)).toEqual(Array.from({ length: 2_048 }, (_, i) => i))
})

test('more than the window is 400 context_length_exceeded, said by the engine or seen before', async () => {
  for (const input of ['a little long', 'x'.repeat(8 * 128 + 1)]) {
    const tooLong = client.embeddings.create({ model: 'narrow', input })
    await expect(tooLong).rejects.toMatchObject({ status: 400, code: 'context_length_exceeded' })
  }
})

test('a chat model does not embed', async () => {
  const other = client.embeddings.create({ model: 'chatty', input: 'a' })
  await expect(other).rejects.toMatchObject({ code: 'capability_missing' })
})
