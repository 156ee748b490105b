/** Every route in every mode over a real gateway, held against the published description. Each documented example is sent as it stands. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { corpus } from '../../../test/fuzz/targets/corpus.ts'
import { gatewayForTests, until, type GatewayForTests } from '../../../test/gateway-for-tests.ts'
import { resolve, type ApiResponse } from '../../../test/openapi/document.ts'
import {
  brokenWord,
  busyWord,
  cutWord,
  startEveryEngine,
  type EveryEngine,
} from '../../../test/openapi/every-engine.ts'
import type { ObservedExchange } from '../../../test/openapi/exchange.ts'
import { publishedDocument } from '../../../test/openapi/published.ts'
import { createTrafficJudge } from '../../../test/openapi/traffic.ts'
import { watchTraffic, type TrafficWatch } from '../../../test/openapi/watch-traffic.ts'
import { updateTenant } from '../../identity/identity.ts'
import { toWav } from '../audio/wav-writer.ts'

const bodyBytesMax = 256 * 1024
const document = await publishedDocument()
const judge = createTrafficJudge(document)
const exchanges: ObservedExchange[] = []
const messageComplaints: string[] = []

let engine: EveryEngine
let gateway: GatewayForTests
let watch: TrafficWatch

/** Those that the examples name. */
const models = [
  { id: 'qwen3-8b', category: 'chat', capabilities: ['vision', 'audio', 'files', 'reasoning'] },
  { id: 'bge-m3', category: 'embedding', capabilities: ['matryoshka'] },
  { id: 'bge-reranker-v2-m3', category: 'rerank' },
  // A guard by name would be asked in a chat.
  { id: 'llama-guard-3-8b', category: 'moderation', engineModel: 'moderator' },
  { id: 'whisper-large-v3', category: 'audio', capabilities: ['transcription'] },
  { id: 'kokoro-82m', category: 'audio', capabilities: ['speech'], prices: { character: 15_000n } },
  { id: 'flux.1-schnell', category: 'image', prices: { image: 40_000_000n } },
] as const

beforeAll(async () => {
  engine = await startEveryEngine()
  gateway = await gatewayForTests({
    script: () => ({ status: 404, body: {} }),
    models: models.map((model) => ({ ...model, baseUrl: engine.url, contextWindowTokens: 10_000 })),
    gateway: { bodyBytesMax },
  })
  watch = watchTraffic((exchange) => void exchanges.push(exchange))
}, 120_000)

afterAll(async () => {
  watch?.stop()
  await gateway?.close()
  await engine?.close()
})

interface JsonRequest {
  readonly path: string
  /** By their names. */
  readonly examples: readonly (readonly [string, unknown])[]
  readonly isBilled: boolean
  readonly isStreamed: boolean
}

const jsonRequests: readonly JsonRequest[] = Object.entries(document.paths).flatMap(
  ([path, { post }]) => {
    const content = post?.requestBody?.content['application/json']
    if (!post || !content) return []
    const examples = Object.entries(content.examples ?? {}).map(
      ([name, { value }]) => [name, value] as const,
    )
    const answer = resolve<ApiResponse>(document, post.responses['200'] ?? { $ref: '' })
    const isStreamed = 'text/event-stream' in (answer.content ?? {})
    return [{ path, examples, isBilled: '402' in post.responses, isStreamed }]
  },
)
const billed = jsonRequests.filter(({ isBilled }) => isBilled)
const byPath = (request: JsonRequest) => [request.path, request] as const

async function post(
  path: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<number> {
  const response = await fetch(`${gateway.url}${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${gateway.key}`,
      'content-type': 'application/json',
      ...headers,
    },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  // What follows must have come, too.
  await response.arrayBuffer().catch(() => {})
  return response.status
}

async function send(method: string, path: string, body?: FormData): Promise<Response> {
  const response = await fetch(`${gateway.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${gateway.key}` },
    ...(body ? { body } : {}),
  })
  const bytes = response.status === 304 ? null : await response.arrayBuffer()
  return new Response(bytes, response)
}

const asStream = (path: string, body: unknown): unknown => ({
  ...(body as object),
  ...(path === '/v1/audio/speech' ? { stream_format: 'sse' } : { stream: true }),
})

test.each(jsonRequests.filter(({ path }) => path !== '/v1/batches').map(byPath))(
  '%s: each documented example is answered, whole and as a stream',
  async (path, { examples, isStreamed }) => {
    for (const [name, body] of examples) {
      expect(await post(path, body), name).toBe(200)
      expect(await post(path, body, { 'x-receipt': 'true' }), name).toBe(200)
      if (isStreamed) {
        const asked = {
          'x-receipt': 'true',
          'idempotency-key': `${path} ${name}`.replaceAll(' ', '-'),
        }
        expect(await post(path, asStream(path, body), asked), name).toBe(200)
      }
    }
  },
)

test.each(billed.map(byPath))('%s: bodies of every kind', async (path, { examples }) => {
  const example = examples[0]?.[1] as { readonly model: string } | undefined
  const statuses = []
  for (const body of corpus[path] ?? [])
    statuses.push(await post(path, { ...(body as object), model: example?.model }))
  expect(statuses).toContain(200)
})

test.each(billed.map(byPath))(
  '%s: an engine that is busy, one that fails, a model that nobody has',
  async (path, { examples, isStreamed }) => {
    const body = examples[0]?.[1]
    const told = (word: string): unknown => spoil(body, word)
    expect([429, 529]).toContain(await post(path, told(busyWord)))
    expect(await post(path, told(brokenWord))).toBe(502)
    if (isStreamed) expect(await post(path, asStream(path, told(brokenWord)))).toBe(502)
    expect(await post(path, { ...(body as object), model: 'nobody' })).toBe(404)
  },
)

test.each(jsonRequests.filter(({ path }) => /chat|messages$|responses/.test(path)).map(byPath))(
  '%s: a stream that is cut says so',
  async (path, { examples }) => {
    const body = asStream(path, spoil(examples[0]?.[1], cutWord))
    expect(await post(path, body)).toBe(200)
  },
)

test.each(jsonRequests.map(byPath))('%s: requests that are none', async (path, { examples }) => {
  const [, body] = examples[0] ?? []
  expect(await post(path, '{')).toBe(400)
  expect(await post(path, [])).toBe(400)
  expect(await post(path, { ...(body as object), model: 5, input_file_id: 5 })).toBe(400)
  expect(await post(path, body, { authorization: '' })).toBe(401)
  expect(await post(path, body, { authorization: 'Bearer wrong' })).toBe(401)
  expect(await post(path, body, { 'content-type': 'text/plain' })).toBe(415)
  expect(await post(path, `"${'x'.repeat(bodyBytesMax)}"`)).toBe(413)
})

test('an address with another method, and an address that is none', async () => {
  for (const path of Object.keys(document.paths)) {
    const address = path.replaceAll(/\{\w+\}/g, 'x')
    expect([404, 405], address).toContain((await send('PUT', address)).status)
  }
  for (const path of ['/v1/realtime', '/v1/responses'])
    expect((await send('GET', path)).status).toBe(426)
  expect((await send('GET', '/v1/nothing')).status).toBe(404)
  expect((await send('POST', '/')).status).toBe(404)
})

function transcriptionForm(fields: Readonly<Record<string, string>>): FormData {
  const form = new FormData()
  form.set('model', 'whisper-large-v3')
  const wav = toWav(Buffer.alloc(16_000), 8_000)
  form.set('file', new Blob([new Uint8Array(wav)], { type: 'audio/wav' }), 'speech.wav')
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  return form
}

test.each(['/v1/audio/transcriptions', '/v1/audio/translations'])(
  '%s: every form of the answer, and what is refused',
  async (path) => {
    const sent = async (fields: Readonly<Record<string, string>>): Promise<number> =>
      (await send('POST', path, transcriptionForm(fields))).status
    for (const format of ['json', 'text', 'srt', 'vtt', 'verbose_json'])
      expect(await sent({ response_format: format, language: '', temperature: '0' })).toBe(200)
    const words = { response_format: 'verbose_json', 'timestamp_granularities[]': 'word' }
    expect(await sent(words)).toBe(200)
    expect(await sent({ stream: 'true' })).toBe(200)
    expect(await sent({ response_format: 'song' })).toBe(400)
    expect(await sent({ model: 'nobody' })).toBe(404)
    expect(await sent({ prompt: busyWord })).toBe(429)
    expect(await sent({ prompt: brokenWord })).toBe(502)
    expect(await sent({ prompt: 'x'.repeat(bodyBytesMax) })).toBe(413)
    expect(await post(path, {})).toBe(415)
    expect(await post(path, {}, { authorization: '' })).toBe(401)
  },
)

test('files and batches, from the upload to the deletion', async () => {
  const line = {
    custom_id: 'a',
    method: 'POST',
    url: '/v1/chat/completions',
    body: { model: 'qwen3-8b', messages: [{ role: 'user', content: 'Hi' }] },
  }
  const upload = async (purpose: string): Promise<Response> => {
    const form = new FormData()
    form.set('purpose', purpose)
    form.set('expires_after[anchor]', 'created_at')
    form.set('expires_after[seconds]', '3600')
    form.set('file', new Blob([JSON.stringify(line)]), 'lines.jsonl')
    return send('POST', '/v1/files', form)
  }
  const { id: fileId } = (await (await upload('batch')).json()) as { id: string }
  expect((await upload('dance')).status).toBe(400)
  const wanted = {
    input_file_id: fileId,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  }
  const created = await fetch(`${gateway.url}/v1/batches`, {
    method: 'POST',
    headers: { 'x-api-key': gateway.key, 'content-type': 'application/json' },
    body: JSON.stringify({ ...wanted, metadata: { a: 'b' } }),
  })
  const { id: batchId } = (await created.json()) as { id: string }
  // At once, before a worker has ended it.
  expect((await send('POST', `/v1/batches/${batchId}/cancel`)).status).toBe(200)
  for (const path of [
    `/v1/files?limit=1&order=asc&purpose=batch`,
    `/v1/files/${fileId}`,
    `/v1/files/${fileId}/content`,
    `/v1/batches?limit=1`,
    `/v1/batches/${batchId}`,
  ]) {
    expect((await send('GET', path)).status, path).toBe(200)
  }
  expect((await send('GET', '/v1/files?limit=0')).status).toBe(400)
  expect((await send('GET', '/v1/batches?limit=x')).status).toBe(400)
  expect([200, 409]).toContain((await send('DELETE', `/v1/files/${fileId}`)).status)
  const { id: otherId } = (await (await upload('batch')).json()) as { id: string }
  const second = await post('/v1/batches', { ...wanted, input_file_id: otherId, endpoint: '/v1/x' })
  expect(second).toBe(400)
  expect((await send('DELETE', `/v1/files/${otherId}`)).status).toBe(200)
  for (const [method, path] of [
    ['GET', '/v1/files/none'],
    ['GET', '/v1/files/none/content'],
    ['DELETE', '/v1/files/none'],
    ['GET', '/v1/batches/none'],
    ['POST', '/v1/batches/none/cancel'],
  ] as const) {
    expect((await send(method, path)).status, path).toBe(404)
    const unknown = await fetch(`${gateway.url}${path}`, { method })
    expect(unknown.status, path).toBe(401)
    await unknown.arrayBuffer()
  }
  expect(await post('/v1/files', {})).toBe(415)
  for (const path of ['/v1/files', '/v1/batches', '/v1/models', '/v1/models/x'])
    await (await fetch(`${gateway.url}${path}`)).arrayBuffer()
  expect(await post('/v1/files', {}, { authorization: '' })).toBe(401)
})

test('responses that are kept, with input of every kind, from the first to the deletion', async () => {
  const { tenantId } = gateway.owner
  await gateway.inDatabase((tx) => updateTenant(tx, tenantId, { responsesKeptDays: 1 }))
  const picture =
    'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
  const create = async (body: object): Promise<Response> => {
    const response = await fetch(`${gateway.url}/v1/responses`, {
      method: 'POST',
      headers: { 'x-api-key': gateway.key, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'qwen3-8b', store: true, ...body }),
    })
    return new Response(await response.arrayBuffer(), response)
  }
  const first = await until(async () => {
    const response = await create({ input: 'Hi', include: ['reasoning.encrypted_content'] })
    return response.status === 200 ? response : undefined
  })
  const { id: firstId } = (await first.json()) as { id: string }
  const input = [
    {
      role: 'user',
      content: [
        { type: 'input_text', text: 'Hi' },
        { type: 'input_image', image_url: picture },
      ],
    },
    { type: 'reasoning', summary: [{ type: 'summary_text', text: 'Hm.' }] },
    { role: 'assistant', content: 'Hello.' },
    { type: 'function_call', call_id: 'a', name: 'look', arguments: '{}' },
    { type: 'function_call_output', call_id: 'a', output: 'there' },
    { type: 'custom_tool_call', call_id: 'b', name: 'run', input: 'ls' },
    {
      type: 'custom_tool_call_output',
      call_id: 'b',
      output: [{ type: 'input_text', text: 'none' }],
    },
  ]
  const second = await create({ input, previous_response_id: firstId })
  expect(second.status, await second.clone().text()).toBe(200)
  const path = `/v1/responses/${((await second.json()) as { id: string }).id}`
  for (const address of [path, `${path}/input_items?limit=100`, `${path}/input_items?order=asc`])
    expect((await send('GET', address)).status).toBe(200)
  expect((await send('GET', `${path}?stream=true`)).status).toBe(400)
  expect((await send('GET', `${path}/input_items?limit=0`)).status).toBe(400)
  expect((await send('DELETE', path)).status).toBe(200)
  for (const [method, address] of [
    ['GET', path],
    ['DELETE', path],
    ['GET', `${path}/input_items`],
  ] as const) {
    expect((await send(method, address)).status).toBe(404)
    const unknown = await fetch(`${gateway.url}${address}`, { method })
    expect(unknown.status).toBe(401)
    await unknown.arrayBuffer()
  }
  expect((await create({ input: 'Hi', previous_response_id: 'resp_none' })).status).toBe(400)
})

test('models, and one whose name has a slash', async () => {
  expect((await send('GET', '/v1/models')).status).toBe(200)
  expect((await send('HEAD', '/v1/models')).status).toBe(200)
  expect((await send('GET', '/v1/models/qwen3-8b')).status).toBe(200)
  expect((await send('GET', '/v1/models/org/none')).status).toBe(404)
})

test('the description needs no key, is kept by its tag, and is the one that is judged by', async () => {
  for (const path of [
    '/v1/openapi.json',
    '/docs/start.js',
    '/docs/swagger-ui.css',
    '/docs/swagger-ui-bundle.js',
  ]) {
    const first = await fetch(`${gateway.url}${path}`)
    const text = await first.text()
    expect(first.status, path).toBe(200)
    if (path === '/v1/openapi.json') expect(JSON.parse(text)).toEqual(document)
    const etag = first.headers.get('etag') ?? ''
    const again = await fetch(`${gateway.url}${path}`, { headers: { 'if-none-match': etag } })
    expect([again.status, await again.text()], path).toEqual([304, ''])
  }
  const page = await fetch(`${gateway.url}/docs`)
  expect(await page.text()).toContain('/docs/start.js')
  expect(page.headers.get('content-security-policy')).toContain("default-src 'none'")
  expect((await send('GET', '/docs/package.json')).status).toBe(404)
})

/** Sends messages one after the other, each once the one before was answered, where it is. */
async function converse(
  path: string,
  turns: readonly { readonly message: unknown; readonly until?: (type: string) => boolean }[],
): Promise<readonly string[]> {
  const socket = new WebSocket(`${gateway.url.replace('http', 'ws')}${path}`, {
    headers: { authorization: `Bearer ${gateway.key}` },
  })
  const plain = path.split('?')[0] ?? ''
  const types: string[] = []
  const waiting = [...turns]
  await new Promise<void>((done, fail) => {
    const next = (): void => {
      const turn = waiting[0]
      if (!turn) return socket.close()
      const text = JSON.stringify(turn.message)
      messageComplaints.push(...judge.judgeMessage(plain, 'client', text))
      socket.send(text)
      if (turn.until) return
      waiting.shift()
      next()
    }
    socket.on('open', next)
    socket.on('error', fail)
    socket.on('close', () => done())
    socket.on('message', (data: Buffer) => {
      const text = data.toString('utf8')
      messageComplaints.push(...judge.judgeMessage(plain, 'server', text))
      const { type } = JSON.parse(text) as { type: string }
      types.push(type)
      if (waiting[0]?.until?.(type) !== true) return
      waiting.shift()
      next()
    })
  })
  return types
}

test('responses over a socket, answered and failed', async () => {
  const create = { type: 'response.create', model: 'qwen3-8b', input: 'Hi' }
  const types = await converse('/v1/responses', [
    { message: create, until: (type) => type === 'response.completed' },
    { message: { ...create, model: 'nobody' }, until: (type) => type === 'error' },
    { message: { ...create, input: cutWord }, until: (type) => type === 'response.failed' },
  ])
  expect(types).toContain('response.output_text.delta')
})

test('live transcription over a socket, in both forms', async () => {
  const audio = Buffer.alloc(48_000).toString('base64')
  const transcription = { model: 'whisper-large-v3', language: 'en' }
  const types = await converse('/v1/realtime?intent=transcription', [
    {
      message: {
        type: 'session.update',
        session: {
          type: 'transcription',
          audio: { input: { transcription, turn_detection: null } },
        },
      },
      until: (type) => type === 'session.updated',
    },
    { message: { type: 'input_audio_buffer.commit' }, until: (type) => type === 'error' },
    { message: { type: 'input_audio_buffer.append', audio } },
    {
      message: { type: 'input_audio_buffer.commit' },
      until: (type) => type.endsWith('.completed'),
    },
    {
      message: {
        type: 'transcription_session.update',
        session: { input_audio_transcription: transcription },
      },
      until: (type) => type === 'transcription_session.updated',
    },
    {
      message: { type: 'input_audio_buffer.clear' },
      until: (type) => type === 'input_audio_buffer.cleared',
    },
  ])
  expect(types).toContain('session.created')
})

test('all of this traffic is as it is described', async () => {
  watch.stop()
  const complaints = new Set(messageComplaints)
  for (const exchange of exchanges)
    for (const complaint of await judge.judge(exchange)) complaints.add(complaint)
  expect([...complaints]).toEqual([])
})

test('every operation was answered in every way, and refused in the ways that every client meets', () => {
  const missing: string[] = []
  const want = (what: string): void => void (judge.seen.has(what) || missing.push(what))
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      if (operation['x-websocket']) {
        want(`socket ${path} client`)
        want(`socket ${path} server`)
        continue
      }
      const name = `${method.toUpperCase()} ${path}`
      const answer = resolve<ApiResponse>(document, operation.responses['200'] ?? { $ref: '' })
      for (const type of Object.keys(answer.content ?? {}))
        if (!type.endsWith('*')) want(`${name} 200 ${type}`)
      const refusals = [401]
      if (operation.requestBody) refusals.push(400)
      // 100 MiB are too many for a test of forms.
      if (operation.requestBody && path !== '/v1/files') refusals.push(413, 415)
      if ('402' in operation.responses)
        refusals.push(404, '529' in operation.responses ? 529 : 429, 502)
      for (const status of refusals)
        if (status in operation.responses) want(`${name} ${status} application/json`)
    }
  }
  expect(missing).toEqual([])
})

/** The same request with a word in its first text that the engine knows. */
function spoil(body: unknown, word: string): unknown {
  const { messages, input, prompt, query } = body as Readonly<Record<string, unknown>>
  const name = messages ? 'messages' : input ? 'input' : prompt ? 'prompt' : query ? 'query' : ''
  return { ...(body as object), [name]: messages ? [{ role: 'user', content: word }] : word }
}
