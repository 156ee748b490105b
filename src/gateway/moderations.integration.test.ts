/** Moderation over the whole gateway, asked by OpenAI's own client: by a moderation model, and by guard models that know only chat. */
import OpenAI from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  gatewayForTests,
  type EngineHears,
  type EngineSays,
  type GatewayForTests,
} from '../../test/gateway-for-tests.ts'
import { moderationCategories } from './wire/openai/moderations.ts'

let gateway: GatewayForTests
let client: OpenAI

beforeAll(async () => {
  gateway = await gatewayForTests({
    script: answer,
    models: [
      { id: 'moderator', category: 'moderation' },
      { id: 'guard', category: 'moderation', engineModel: 'meta-llama/Llama-Guard-3-8B' },
      { id: 'granite', category: 'moderation', engineModel: 'granite3-guardian:2b' },
      { id: 'babbler', category: 'moderation', engineModel: 'llama-guard-that-babbles' },
      { id: 'chatty', category: 'chat' },
    ],
  })
  client = clientOf(gateway.key)
}, 120_000)

afterAll(() => gateway?.close())

function clientOf(apiKey: string): OpenAI {
  return new OpenAI({ apiKey, baseURL: `${gateway.url}/v1`, maxRetries: 0 })
}

function answer({ path, body }: EngineHears): EngineSays {
  if (path === '/v1/moderations') {
    const results = (body['input'] as string[]).map((text) => ({
      flagged: text.includes('bad'),
      categories: { violence: text.includes('bad'), illicit: null },
      category_scores: { violence: text.includes('bad') ? 0.9 : 0.01 },
    }))
    return { body: { id: 'modr-1', model: 'm', results } }
  }
  if (path !== '/v1/chat/completions') return { status: 404, body: {} }
  const messages = body['messages'] as { role: string; content: string }[]
  const isBad = messages.at(-1)?.content.includes('bad') ?? false
  return {
    body: {
      id: 'c',
      object: 'chat.completion',
      choices: [
        {
          index: 0,
          finish_reason: 'stop',
          message: { role: 'assistant', content: verdict(String(body['model']), messages, isBad) },
        },
      ],
      usage: { prompt_tokens: 200, completion_tokens: 6, total_tokens: 206 },
    },
  }
}

function verdict(
  model: string,
  messages: readonly { readonly role: string; readonly content: string }[],
  isBad: boolean,
): string {
  if (model.includes('babbles')) return 'I am sorry, but I cannot help with that.'
  if (model.includes('Llama-Guard')) return isBad ? '\n\nunsafe\nS1,S10' : '\n\nsafe'
  const risk = messages[0]?.role === 'system' ? messages[0].content : 'harm'
  return isBad && ['harm', 'violence'].includes(risk) ? 'Yes' : 'No'
}

test("a moderation model answers a list in its order, with all of OpenAI's categories", async () => {
  const { id, model, results } = await client.moderations.create({
    model: 'moderator',
    input: ['fine', 'bad', 'also fine'],
  })
  expect(id).toMatch(/^modr-/)
  expect(model).toBe('moderator')
  expect(results.map((result) => result.flagged)).toEqual([false, true, false])
  expect(results[1]?.category_scores.violence).toBe(0.9)
  for (const result of results) {
    const names = [...moderationCategories]
    expect(Object.keys(result.categories)).toEqual(names)
    expect(Object.keys(result.category_scores)).toEqual(names)
    expect(Object.keys(result.category_applied_input_types)).toEqual(names)
    expect(result.categories.illicit).toBe(false)
  }
})

test('a guard model is asked once for each input, and its hazards become categories', async () => {
  gateway.heard()
  const { results } = await client.moderations.create({ model: 'guard', input: ['bad', 'fine'] })
  expect(gateway.heard().map(({ body }) => body['messages'])).toEqual([
    [{ role: 'user', content: 'bad' }],
    [{ role: 'user', content: 'fine' }],
  ])
  const [bad, fine] = results
  expect(bad?.flagged).toBe(true)
  const named = Object.entries(bad?.categories ?? {}).flatMap(([name, is]) => (is ? [name] : []))
  expect(named).toEqual(['hate', 'illicit/violent', 'violence'])
  expect(bad?.category_scores.violence).toBe(1)
  expect(fine?.flagged).toBe(false)
})

test('a guard that judges one risk at a time is asked for the others only about what is harmful', async () => {
  gateway.heard()
  const { results } = await client.moderations.create({ model: 'granite', input: ['fine', 'bad'] })
  expect(gateway.heard()).toHaveLength(1 + 5)
  expect(results.map((result) => result.flagged)).toEqual([false, true])
  expect(results[1]?.categories.violence).toBe(true)
  expect(results[1]?.categories.sexual).toBe(false)
})

test('every question to a guard is billed, in and out', async () => {
  const { response } = await client.moderations
    .create({ model: 'granite', input: ['fine', 'bad'] })
    .withResponse()
  expect(await gateway.billed(response.headers.get('x-request-id'))).toMatchObject({
    outcome: 'completed',
    endpoint: '/v1/moderations',
    input_tokens: 6n * 200n,
    output_tokens: 6n * 6n,
    amount_nanos: 6n * 200n * 1_800n + 6n * 6n * 8_000n,
    usage_suspect: false,
  })
})

test('a guard that gives no verdict is a failure of the engine, never "safe"', async () => {
  const refused = client.moderations.create({ model: 'babbler', input: 'bad' })
  await expect(refused).rejects.toMatchObject({ status: 502, code: 'engine_invalid_response' })
})

test('content parts are one input; images are refused with the capability that is missing', async () => {
  const { results } = await client.moderations.create({
    model: 'moderator',
    input: [
      { type: 'text', text: 'one bad' },
      { type: 'text', text: 'sentence' },
    ],
  })
  expect(results.map((result) => result.flagged)).toEqual([true])
  const withImage = client.moderations.create({
    model: 'moderator',
    input: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } }],
  })
  await expect(withImage).rejects.toMatchObject({
    status: 400,
    code: 'capability_missing',
    param: 'input',
  })
})

test("no model, or one of OpenAI's usual names, means the only moderation model of the key", async () => {
  const only = clientOf(await gateway.keyFor(['guard', 'chatty']))
  for (const named of [
    {},
    { model: 'omni-moderation-latest' },
    { model: 'text-moderation-stable' },
  ]) {
    const { results, model } = await only.moderations.create({ input: 'bad', ...named })
    expect([model, results[0]?.flagged]).toEqual(['guard', true])
  }
  await expect(client.moderations.create({ input: 'bad' })).rejects.toMatchObject({
    status: 400,
    param: 'model',
  })
  const none = clientOf(await gateway.keyFor(['chatty']))
  await expect(none.moderations.create({ input: 'bad' })).rejects.toMatchObject({
    status: 400,
    code: 'capability_missing',
    error: { capability: 'moderation', message: expect.stringContaining('colonnade engine add') },
  })
  await expect(
    none.moderations.create({ input: 'bad', model: 'a-name-of-mine' }),
  ).rejects.toMatchObject({ status: 404, code: 'model_not_found' })
})

test('a chat model is no moderator', async () => {
  const refused = client.moderations.create({ model: 'chatty', input: 'bad' })
  await expect(refused).rejects.toMatchObject({ code: 'capability_missing' })
})

test('empty inputs, and more than 32, are refused with the field', async () => {
  for (const input of ['', [], ['fine', ''], Array.from({ length: 33 }, () => 'fine')]) {
    const refused = client.moderations.create({ model: 'moderator', input })
    await expect(refused).rejects.toMatchObject({ status: 400, param: 'input' })
  }
})
