/** Engines that are added by their address alone, and what they tell of their load, through the control API on real PostgreSQL. */
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import {
  startControlPlatform,
  type Answer,
  type ControlPlatform,
} from '../../test/control-platform.ts'

let platform: ControlPlatform
beforeAll(async () => {
  platform = await startControlPlatform()
})
afterAll(() => platform?.close())

function ask(method: string, path: string, body?: unknown): Promise<Answer> {
  const { secret } = platform.actor('platform', 'operator')
  return platform.call({ method, path, token: secret, body })
}

/** A server that answers the paths given, and every other with 404. */
async function startEngine(answers: Readonly<Record<string, unknown>>): Promise<string> {
  const server = createServer((request, response) => {
    const answer = answers[request.url ?? '']
    response.writeHead(answer === undefined ? 404 : 200)
    response.end(typeof answer === 'string' ? answer : JSON.stringify(answer ?? {}))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  // A listening TCP server has an address with a port.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function categoryOf(modelId: string): Promise<unknown> {
  const { body } = await ask('GET', `/models/${encodeURIComponent(modelId)}`)
  return body.category ?? body.model?.category
}

test("Ollama's address is enough: its kind is found out, and its models are offered", async () => {
  const url = await startEngine({
    '/api/version': { version: '0.17.4' },
    '/api/tags': { models: [{ name: 'smollm2:135m' }, { name: 'nomic-embed-text:v1.5' }] },
  })
  const { status, body } = await ask('POST', '/engines', { url })
  expect(status).toBe(200)
  expect(body.data).toMatchObject([
    { modelId: 'smollm2:135m', engineKind: 'ollama' },
    { modelId: 'nomic-embed-text:v1.5', engineKind: 'ollama' },
  ])
  expect(await categoryOf('smollm2:135m')).toBe('chat')
  expect(await categoryOf('nomic-embed-text:v1.5')).toBe('embedding')
})

test('a model becomes what its engine does, whatever its name says', async () => {
  const url = await startEngine({
    '/health': { status: 'ok' },
    '/openapi.json': { paths: { '/v1/audio/transcriptions': {} } },
  })
  const { body } = await ask('POST', '/engines', { url, name: 'dictation' })
  expect(body.data).toMatchObject([{ modelId: 'dictation', engineKind: 'whisper' }])
  expect(await categoryOf('dictation')).toBe('audio')
})

test('a kind that is named counts, and is not found out', async () => {
  const list = { object: 'list', data: [{ id: 'plain', object: 'model', owned_by: 'vllm' }] }
  const url = await startEngine({ '/v1/models': list })
  const { body } = await ask('POST', '/engines', { url, kind: 'openai-compatible' })
  expect(body.data).toMatchObject([{ engineKind: 'openai-compatible' }])
})

test('an engine tells its load when it is asked for, and a silent one does not hold up the list', async () => {
  const list = { object: 'list', data: [{ id: 'loaded', object: 'model', owned_by: 'vllm' }] }
  const url = await startEngine({
    '/v1/models': list,
    '/metrics':
      'vllm:num_requests_running 3\nvllm:num_requests_waiting 2\nvllm:kv_cache_usage_perc 0.5\n',
  })
  expect((await ask('POST', '/engines', { url })).status).toBe(200)
  const quiet = await ask('GET', '/engines?modelId=loaded')
  expect(quiet.body.data).toMatchObject([{ modelId: 'loaded', load: null }])
  const told = await ask('GET', '/engines?load=true')
  // The engines of the tests before are gone by now.
  const loads = told.body.data.map((entry: { modelId: string; load: unknown }) => [
    entry.modelId,
    entry.load,
  ])
  expect(Object.fromEntries(loads)).toMatchObject({
    loaded: { runningRequests: 3, waitingRequests: 2, kvCacheUsage: 0.5 },
    dictation: null,
  })
})
