/** Where providers are asked, and as whom, in the forms that the fixtures do not show. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { engineAdapters, findAdapter } from '../registry.ts'
import { startByteServer, type ByteServer } from './byte-server.ts'
import { outcomeOf } from './outcome.ts'
import { chatRequest, embeddingRequest } from './requests.ts'

let server: ByteServer
beforeAll(async () => {
  server = await startByteServer()
  server.play({ status: 503, headers: {}, pieces: [], ending: 'whole' })
})
afterAll(() => server.close())

const chat = chatRequest({}, { model: 'my model' })

test.each([
  ['azure-openai', '', {}, chat, '/openai/v1/chat/completions', 'api-key'],
  ['azure-openai', '/openai/v1', {}, chat, '/openai/v1/chat/completions', 'api-key'],
  [
    'azure-openai',
    '/gate',
    { apiVersion: '2024-10-21' },
    embeddingRequest(['a']),
    '/gate/openai/deployments/model-1/embeddings?api-version=2024-10-21',
    'api-key',
  ],
  [
    'vertex',
    '',
    {},
    chat,
    '/v1beta/models/my%20model:streamGenerateContent?alt=sse',
    'x-goog-api-key',
  ],
  ['hugging-face', '', {}, chat, '/v1/chat/completions', 'authorization'],
] as const)('%s at %s with %j', async (kind, basePath, settings, request, path, header) => {
  const baseUrl = server.origin + basePath
  const engine = findAdapter(kind)?.connect({ baseUrl, apiKey: 'made-up-key', settings })
  if (!engine) throw new Error('no such adapter')
  expect((await outcomeOf(engine, request)).fault?.code).toBe('capacity.overloaded')
  const seen = server.requests.at(-1)
  expect(seen?.path).toBe(path)
  expect(seen?.headers[header]).toContain('made-up-key')
  await engine.close()
})

test.each([
  ['openai', {}, 'https://api.openai.com'],
  ['anthropic', {}, 'https://api.anthropic.com'],
  ['azure-openai', { resource: 'mine' }, 'https://mine.openai.azure.com'],
  ['azure-openai', {}, undefined],
  ['vertex', { region: 'europe-west9' }, 'https://europe-west9-aiplatform.googleapis.com'],
  ['vertex', { region: 'global' }, 'https://aiplatform.googleapis.com'],
  ['vertex', { region: 'eu' }, 'https://aiplatform.eu.rep.googleapis.com'],
  ['bedrock', { region: 'eu-west-3' }, 'https://bedrock-runtime.eu-west-3.amazonaws.com'],
  ['hugging-face', {}, undefined],
])('%s with %j is at %s', (kind, settings, url) => {
  expect(findAdapter(kind)?.provider?.baseUrl(settings)).toBe(url)
})

test('a provider whose key is damaged fails its requests, and is connected all the same', async () => {
  for (const { kind, provider, connect } of engineAdapters) {
    if (!provider) continue
    const engine = connect({ baseUrl: server.origin, apiKey: '{damaged', settings: {} })
    const before = server.requests.length
    const { fault } = await outcomeOf(engine, chat)
    expect(fault?.code, kind).toMatch(/^(upstream\.failed|capacity\.overloaded)$/)
    if (kind === 'vertex' || kind === 'bedrock') expect(server.requests).toHaveLength(before)
    await engine.close()
  }
})
