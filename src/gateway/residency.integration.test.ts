/** Where prompts go, through a real gateway: providers get nothing of a tenant that has not allowed their place. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { gatewayForTests, type GatewayForTests } from '../../test/gateway-for-tests.ts'
import { startByteServer, type ByteServer } from '../engines/conformance/byte-server.ts'

const answer = {
  id: 'x',
  object: 'chat.completion',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Hi' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 },
}
const events = [
  { type: 'message_start', message: { usage: { input_tokens: 5, output_tokens: 1 } } },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Bonjour' } },
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 3 } },
  { type: 'message_stop' },
]
const stream = events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)

let gateway: GatewayForTests
let provider: ByteServer
beforeAll(async () => {
  provider = await startByteServer()
  provider.play({
    status: 200,
    headers: { 'content-type': 'text/event-stream' },
    pieces: stream.map((event) => Buffer.from(event)),
    ending: 'whole',
  })
  gateway = await gatewayForTests({
    script: () => ({ body: answer }),
    models: [
      { id: 'house', category: 'chat' },
      { id: 'french', category: 'chat', location: 'FR' },
      {
        id: 'claude',
        category: 'chat',
        engineKind: 'anthropic',
        engineModel: 'claude-opus-4-8',
        baseUrl: provider.origin,
        location: 'US',
        engineKey: 'sk-ant-made-up',
        settings: { outputTokens: '777' },
      },
      { id: 'american', category: 'chat', location: 'US' },
      // Nobody has said where it is.
      { id: 'nowhere', category: 'chat', baseUrl: 'https://127.0.0.1:9' },
    ],
  })
})
afterAll(async () => {
  await gateway?.close()
  await provider?.close()
})

const ask = (model: string): Promise<Response> =>
  gateway.post('/v1/chat/completions', {
    model,
    max_tokens: 5,
    messages: [{ role: 'user', content: 'Hello' }],
  })

async function listed(): Promise<readonly string[]> {
  const response = await fetch(`${gateway.url}/v1/models`, {
    headers: { authorization: `Bearer ${gateway.key}` },
  })
  const { data } = (await response.json()) as { data: readonly { readonly id: string }[] }
  return data.map((model) => model.id)
}

test('a tenant that has said nothing is served by our own machines only, and hears why', async () => {
  expect((await ask('house')).status).toBe(200)
  gateway.heard()
  for (const model of ['french', 'american', 'claude', 'nowhere']) {
    const refused = await ask(model)
    expect(refused.status).toBe(403)
    expect(await refused.json()).toMatchObject({
      error: { code: 'residency_denied', param: 'model' },
    })
    expect(await gateway.billed(refused.headers.get('x-request-id'))).toMatchObject({
      outcome: 'voided',
      amount_nanos: 0n,
    })
  }
  expect(gateway.heard()).toEqual([])
  expect(provider.requests).toEqual([])
  expect(await listed()).toEqual(['house'])
})

test('a model that is hidden is not shown by its name either', async () => {
  const shown = await fetch(`${gateway.url}/v1/models/american`, {
    headers: { authorization: `Bearer ${gateway.key}` },
  })
  expect(shown.status).toBe(404)
})

test('a tenant that allows the EU is served in France, and not in the US; and may take it back', async () => {
  await gateway.allowPlaces(['EU'])
  await expect.poll(listed).toEqual(['french', 'house'])
  expect((await ask('french')).status).toBe(200)
  expect((await ask('american')).status).toBe(403)
  expect((await ask('nowhere')).status).toBe(403)
  await gateway.allowPlaces([])
  await expect.poll(listed).toEqual(['house'])
  expect((await ask('french')).status).toBe(403)
})

test('a provider gets its own key and its own dialect, and is billed by its own count', async () => {
  await gateway.allowPlaces(['US'])
  await expect.poll(listed).toEqual(['american', 'claude', 'house'])
  const response = await gateway.post('/v1/chat/completions', {
    model: 'claude',
    messages: [
      { role: 'system', content: 'Answer in French.' },
      { role: 'user', content: 'Hello' },
    ],
  })
  expect(await response.json()).toMatchObject({
    model: 'claude',
    choices: [{ message: { content: 'Bonjour' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 5, completion_tokens: 3 },
  })
  const [seen, ...others] = provider.requests
  expect(others).toEqual([])
  expect(seen).toMatchObject({ path: '/v1/messages', headers: { 'x-api-key': 'sk-ant-made-up' } })
  expect(seen?.headers).not.toHaveProperty('authorization')
  expect(JSON.parse(seen?.body ?? '')).toEqual({
    model: 'claude-opus-4-8',
    stream: true,
    max_tokens: 777,
    system: [{ type: 'text', text: 'Answer in French.' }],
    messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello' }] }],
  })
  expect(await gateway.billed(response.headers.get('x-request-id'))).toMatchObject({
    outcome: 'completed',
    input_tokens: 5n,
    output_tokens: 3n,
  })
})

test('what a provider has no word for is refused by its name, and nothing is sent', async () => {
  const before = provider.requests.length
  const response = await gateway.post('/v1/chat/completions', {
    model: 'claude',
    messages: [{ role: 'user', content: 'Hello' }],
    logprobs: true,
  })
  expect(response.status).toBe(400)
  expect(await response.json()).toMatchObject({
    error: { code: 'unsupported_value', param: 'logprobs' },
  })
  expect(provider.requests).toHaveLength(before)
})
