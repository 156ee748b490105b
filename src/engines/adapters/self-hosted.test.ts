/** What engines on one's own machines tell beside answers: readiness, load, models. Scripted servers say what each engine's documentation says. */
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import type { Engine } from '../engine.ts'
import { findAdapter } from '../registry.ts'

interface Scripted {
  readonly status?: number
  readonly body: unknown
}

/** Connects the adapter of the kind to a server that answers the paths given, and every other with 404. */
async function connect(
  kind: string,
  answers: Readonly<Record<string, Scripted>>,
): Promise<{ readonly engine: Engine; readonly asked: readonly string[] }> {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    const { status = 200, body } = answers[request.url ?? ''] ?? { status: 404, body: {} }
    response.writeHead(status).end(typeof body === 'string' ? body : JSON.stringify(body))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  const adapter = findAdapter(kind)
  if (!adapter) throw new Error(`no adapter of the kind ${kind}`)
  const engine = adapter.connect({ baseUrl: `http://127.0.0.1:${port}/v1` })
  onTestFinished(async () => {
    await engine.close()
    server.close()
  })
  return { engine, asked }
}

const never = new AbortController().signal

const metrics = {
  vllm: `# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="org/model"} 3.0
vllm:num_requests_waiting{engine="0",model_name="org/model"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="org/model"} 0.25
vllm:prompt_tokens_total{engine="0",model_name="org/model"} 100.0
`,
  'vllm, before the gauge was renamed': `vllm:num_requests_running{model_name="m"} 3.0
vllm:num_requests_waiting{model_name="m"} 2.0
vllm:gpu_cache_usage_perc{model_name="m"} 0.25
`,
  sglang: `sglang:num_running_reqs{model_name="m"} 3.0
sglang:num_queue_reqs{model_name="m"} 2.0
sglang:token_usage{model_name="m"} 0.25
`,
  'llama-server': `llamacpp:requests_processing 3
llamacpp:requests_deferred 2
`,
  tgi: `tgi_batch_current_size 3
tgi_queue_size 2
`,
  tei: `te_queue_size 2
`,
  'llama-cpp': `colonnade_engine_sequences_running 3
colonnade_engine_sequences_waiting 2
colonnade_engine_kv_cache_usage_ratio 0.25
`,
}

test.each(Object.entries(metrics))('load is read from what %s publishes', async (name, text) => {
  const kind = name.split(',')[0] ?? ''
  const { engine } = await connect(kind, { '/metrics': { body: text } })
  expect(await engine.readLoad?.(never)).toEqual({
    runningRequests: kind === 'tei' ? undefined : 3,
    waitingRequests: 2,
    kvCacheUsage: text.includes('0.25') ? 0.25 : undefined,
  })
})

test.each(['sglang', 'llama-server'])(
  '%s with its metrics switched off tells no load, and is no failure',
  async (kind) => {
    const { engine } = await connect(kind, { '/metrics': { status: 501, body: {} } })
    expect(await engine.readLoad?.(never)).toEqual({})
  },
)

test.each(['ollama', 'whisper', 'openai-compatible'])('%s publishes no load', async (kind) => {
  const { engine } = await connect(kind, {})
  expect(engine.readLoad).toBeUndefined()
})

test.each(['vllm', 'sglang', 'llama-server', 'tgi', 'tei', 'whisper'])(
  '%s is healthy by its own word, and 503 means that it still loads',
  async (kind) => {
    const up = await connect(kind, { '/health': { body: '' } })
    await up.engine.checkHealth(never)
    expect(up.asked).toEqual(['GET /health'])
    const loading = await connect(kind, { '/health': { status: 503, body: {} } })
    await expect(loading.engine.checkHealth(never)).rejects.toMatchObject({
      code: 'capacity.overloaded',
    })
  },
)

test('Ollama is healthy when it tells its version, whatever is loaded', async () => {
  const { engine } = await connect('ollama', { '/api/version': { body: { version: '0.17.4' } } })
  await engine.checkHealth(never)
})

test("Ollama's models are those that it has, with their tags", async () => {
  const models = [{ name: 'smollm2:latest' }, { name: 'qwen3:8b' }, { size: 1 }]
  const { engine } = await connect('ollama', { '/api/tags': { body: { models } } })
  expect(await engine.listModels(never)).toEqual(['smollm2:latest', 'qwen3:8b'])
})

test.each([
  ['tgi', { model_id: 'org/model', max_total_tokens: 4096 }],
  ['tei', { model_id: 'org/model', model_type: { reranker: {} } }],
])('%s serves the one model of its description', async (kind, body) => {
  const { engine } = await connect(kind, { '/info': { body } })
  expect(await engine.listModels(never)).toEqual(['org/model'])
})

test('a server of Whisper that lists no models serves one under the usual name', async () => {
  const { engine } = await connect('whisper', { '/health': { body: { status: 'ok' } } })
  expect(await engine.listModels(never)).toEqual(['whisper-1'])
})

test('a server of Whisper that is not there lists nothing', async () => {
  const { engine } = await connect('whisper', {})
  await expect(engine.listModels(never)).rejects.toMatchObject({ code: 'upstream.failed' })
})

test.each(['ollama', 'tgi'])('%s is not asked for choices that it would not make', async (kind) => {
  const { engine, asked } = await connect(kind, {})
  const messages = [{ role: 'user', content: 'Hi' }]
  const ask = (n: number) =>
    engine.run(
      {
        model: 'm',
        task: { kind: 'chat', body: { messages, n } },
        stream: false,
        cacheSalt: undefined,
      },
      { signal: never, requestId: 'r' },
    )
  await expect(ask(2)).rejects.toMatchObject({ code: 'catalog.capability_missing', param: 'n' })
  expect(asked).toEqual([])
  await expect(ask(1)).rejects.toMatchObject({ code: 'upstream.failed' })
  expect(asked).toHaveLength(1)
})

test.each([
  ['two prompts', { prompt: ['a', 'b'] }, 'prompt'],
  ['tokens', { prompt: [[1, 2]] }, 'prompt'],
  ['an echo', { prompt: ['a'], echo: true }, 'echo'],
  ['a suffix', { prompt: ['a'], suffix: 'b' }, 'suffix'],
])('Ollama is not asked to continue %s', async (_what, body, param) => {
  const { engine, asked } = await connect('ollama', {})
  const request = { model: 'm', task: { kind: 'completion', body }, stream: false } as const
  await expect(
    engine.run({ ...request, cacheSalt: undefined }, { signal: never, requestId: 'r' }),
  ).rejects.toMatchObject({ code: 'catalog.capability_missing', param })
  expect(asked).toEqual([])
})

test('a task that llama-server was not started for is a missing capability, not an outage', async () => {
  const message = 'This server does not support embeddings. Start it with `--embeddings`'
  const body = { error: { code: 501, message, type: 'not_supported_error' } }
  const { engine } = await connect('llama-server', { '/v1/embeddings': { status: 501, body } })
  const task = { kind: 'embedding', input: ['a'] } as const
  await expect(
    engine.run(
      { model: 'm', task, stream: false, cacheSalt: undefined },
      { signal: never, requestId: 'r' },
    ),
  ).rejects.toMatchObject({ code: 'catalog.capability_missing' })
})

test('engines differ by what they say that they do', () => {
  const tasks = (kind: string): readonly string[] => [
    ...(findAdapter(kind)?.connect({ baseUrl: 'http://127.0.0.1:9' }).capabilities.tasks ?? []),
  ]
  expect(tasks('vllm')).toContain('rerank')
  expect(tasks('tei').toSorted()).toEqual(['embedding', 'rerank'])
  expect(tasks('whisper')).toEqual(['transcription'])
  expect(tasks('ollama')).not.toContain('rerank')
})
