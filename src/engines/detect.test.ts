import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { detectEngine } from './detect.ts'

type Answers = Readonly<Record<string, unknown>>

/** A server that answers the paths given with JSON, and every other with 404. */
async function serve(answers: Answers, key?: string): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    const answer = answers[request.url ?? '']
    const isAllowed = key === undefined || request.headers.authorization === `Bearer ${key}`
    response.writeHead(answer === undefined ? 404 : isAllowed ? 200 : 401)
    response.end(JSON.stringify(answer ?? {}))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, asked }
}

const list = (id: string, more: object): unknown => ({
  object: 'list',
  data: [{ id, object: 'model', ...more }],
})
const unending = new AbortController().signal

/** What each engine says of itself, cut to what tells it apart, from its documentation or its sources. */
const engines: readonly {
  readonly kind: string
  readonly models: readonly string[]
  readonly says: Answers
}[] = [
  {
    kind: 'vllm',
    models: ['org/model'],
    says: { '/v1/models': list('org/model', { owned_by: 'vllm' }), '/version': { version: '0' } },
  },
  {
    kind: 'sglang',
    models: ['org/model'],
    says: { '/v1/models': list('org/model', { owned_by: 'sglang' }) },
  },
  {
    kind: 'llama-server',
    models: ['model.gguf'],
    says: { '/v1/models': list('model.gguf', { owned_by: 'llamacpp' }), '/health': {} },
  },
  {
    kind: 'llama-cpp',
    models: ['tiny'],
    says: { '/v1/models': list('tiny', { owned_by: 'colonnade' }) },
  },
  {
    kind: 'ollama',
    models: ['smol:latest'],
    says: {
      '/api/version': { version: '0.17.4' },
      '/api/tags': { models: [{ name: 'smol:latest', model: 'smol:latest' }] },
      '/v1/models': list('smol:latest', { owned_by: 'library' }),
    },
  },
  {
    kind: 'tgi',
    models: ['org/model'],
    says: {
      '/info': { model_id: 'org/model', max_total_tokens: 2048, router: 'text-generation-router' },
      '/v1/models': list('org/model', { owned_by: 'org/model' }),
    },
  },
  {
    kind: 'tei',
    models: ['thenlper/gte-base'],
    says: {
      '/info': {
        model_id: 'thenlper/gte-base',
        model_type: { embedding: { pooling: 'cls' } },
        max_batch_tokens: 16384,
      },
    },
  },
  {
    kind: 'whisper',
    models: ['Systran/faster-whisper-tiny'],
    says: {
      '/v1/models': list('Systran/faster-whisper-tiny', {
        owned_by: 'Systran',
        task: 'automatic-speech-recognition',
      }),
    },
  },
  {
    kind: 'whisper',
    models: ['whisper-1'],
    says: { '/openapi.json': { paths: { '/v1/audio/transcriptions': {} } }, '/health': {} },
  },
  {
    kind: 'openai-compatible',
    models: ['m'],
    says: { '/v1/models': list('m', { owned_by: 'somebody' }) },
  },
]

test.each(engines)('$kind is told by what it says of itself', async ({ kind, models, says }) => {
  const { url, asked } = await serve(says)
  expect(await detectEngine({ baseUrl: url }, unending)).toEqual({ kind, models })
  expect(asked.filter((request) => !request.startsWith('GET '))).toEqual([])
})

test('an address with a path is looked at below that path', async () => {
  const { url } = await serve({ '/prefix/v1/models': list('m', { owned_by: 'vllm' }) })
  expect(await detectEngine({ baseUrl: `${url}/prefix/v1/` }, unending)).toMatchObject({
    kind: 'vllm',
  })
})

test('an engine that wants a key is told by it alone', async () => {
  const { url } = await serve({ '/v1/models': list('m', { owned_by: 'vllm' }) }, 'secret')
  expect(await detectEngine({ baseUrl: url }, unending)).toBeUndefined()
  expect(await detectEngine({ baseUrl: url, apiKey: 'secret' }, unending)).toMatchObject({
    kind: 'vllm',
  })
})

test('what is no engine is none: another server, garbage, nobody', async () => {
  const { url } = await serve({ '/': 'hello', '/info': ['x'], '/v1/models': 'none' })
  expect(await detectEngine({ baseUrl: url }, unending)).toBeUndefined()
  expect(await detectEngine({ baseUrl: 'http://127.0.0.1:9' }, unending)).toBeUndefined()
})

test('a server that never answers is given up by the signal', async () => {
  const server = createServer(() => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  // As above.
  const { port } = server.address() as AddressInfo
  const signal = AbortSignal.timeout(20)
  expect(await detectEngine({ baseUrl: `http://127.0.0.1:${port}` }, signal)).toBeUndefined()
})
