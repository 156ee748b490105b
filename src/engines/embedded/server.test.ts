import { once } from 'node:events'
import { expect, test } from 'vitest'
import { createLogger } from '../../platform/log.ts'
import { createEngineMetrics } from './metrics.ts'
import { createEngineServer } from './server.ts'

async function listen(apiKey: string | undefined) {
  const server = createEngineServer({
    modelId: 'tiny',
    apiKey,
    createdSeconds: 0,
    metrics: createEngineMetrics(),
    logger: createLogger('engine', 'silent'),
    loaded: () => undefined,
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() }
}

test('while the weights are being loaded the server says so', async () => {
  const server = await listen(undefined)
  expect((await fetch(`${server.url}/health`)).status).toBe(503)
  const chat = await fetch(`${server.url}/v1/chat/completions`, { method: 'POST', body: '{}' })
  expect(chat.status).toBe(503)
  expect(chat.headers.get('retry-after')).toBe('1')
  expect((await fetch(`${server.url}/nothing`)).status).toBe(404)
  server.close()
})

test('with a key set, only its bearer gets in; health stays open', async () => {
  const server = await listen('sesame')
  const get = (authorization: string) =>
    fetch(`${server.url}/v1/models`, { headers: { authorization } })
  expect((await get('Bearer wrong')).status).toBe(401)
  expect((await get('sesame')).status).toBe(401)
  expect((await get('Bearer sesame')).status).toBe(200)
  expect((await fetch(`${server.url}/health`)).status).toBe(503)
  server.close()
})
