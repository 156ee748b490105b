import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { startMockEngine, type MockEngine, type MockEngineOptions } from './mock-engine.ts'

const messages = [{ role: 'user', content: 'Say tick.' }]
let engine: MockEngine | undefined

afterEach(async () => {
  await engine?.close()
  engine = undefined
})

async function start(options: MockEngineOptions = {}): Promise<MockEngine> {
  engine = await startMockEngine({ tokens: 8, ...options })
  return engine
}

function post(
  at: MockEngine,
  body: object,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(`${at.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'mock', messages, ...body }),
  })
}

async function events(response: Response): Promise<unknown[]> {
  const text = await response.text()
  return text
    .split('\n\n')
    .filter((event) => event !== '')
    .map((event) => event.replace(/^data: /, ''))
    .map((data) => (data === '[DONE]' ? data : JSON.parse(data)))
}

test('a stream has a role, each token, a finish, the usage that was asked for, and [DONE]', async () => {
  const at = await start()
  const list = await events(
    await post(at, { stream: true, stream_options: { include_usage: true } }),
  )
  expect(list).toHaveLength(1 + 8 + 1 + 1 + 1)
  expect(list.at(-2)).toMatchObject({ usage: { prompt_tokens: 3, completion_tokens: 8 } })
  expect(list.at(-1)).toBe('[DONE]')
  expect(at.stats()).toMatchObject({ events: 12, tokens: 8, finished: 1, violations: 0 })
})

test('max_tokens shortens an answer and is told as its reason', async () => {
  const at = await start()
  const answer = await (await post(at, { max_tokens: 3 })).json()
  expect(answer).toMatchObject({
    choices: [{ message: { content: 'tick tock tick ' }, finish_reason: 'length' }],
    usage: { completion_tokens: 3 },
  })
})

test('running usage counts each token', async () => {
  const at = await start()
  const stream_options = { include_usage: true, continuous_usage_stats: true }
  const list = await events(await post(at, { stream: true, stream_options }))
  expect(list.slice(1, 9)).toMatchObject(
    [1, 2, 3, 4, 5, 6, 7, 8].map((completion_tokens) => ({ usage: { completion_tokens } })),
  )
})

test('answers have ids of their own', async () => {
  const at = await start()
  const ids = await Promise.all(
    Array.from({ length: 20 }, async () => {
      // Our own engine; each answer has an id.
      const answer = (await (await post(at, {})).json()) as { id: string }
      return answer.id
    }),
  )
  expect(new Set(ids).size).toBe(20)
})

test('a request that breaks a rule is refused and counted by its reason', async () => {
  const at = await start({ expectUsage: true })
  expect((await post(at, { model: 'other' })).status).toBe(400)
  expect((await post(at, { messages: [] })).status).toBe(400)
  expect((await post(at, { stream: true })).status).toBe(400)
  expect((await fetch(`${at.url}/v1/other`)).status).toBe(404)
  expect(at.stats()).toMatchObject({
    violations: 4,
    reasons: {
      'model is unknown': 1,
      'messages are missing': 1,
      'stream without stream_options.include_usage': 1,
      'path is unknown': 1,
    },
  })
})

test('a stream that is cut ends without [DONE]', async () => {
  const at = await start()
  await expect(
    post(at, { model: 'mock-die-midstream', stream: true }).then(events),
  ).rejects.toThrow()
  const closed = await events(await post(at, { model: 'mock-no-done', stream: true }))
  expect(closed).toHaveLength(1 + 8)
  expect(JSON.stringify(closed)).not.toContain('stop')
  expect(at.stats()).toMatchObject({ aborted: 2, openStreams: 0 })
})

test.each([
  ['mock-usage-negative', -9],
  ['mock-usage-huge', 1e12],
  ['mock-decreasing-usage', 0],
])('%s tells a lie about its tokens', async (model, completion_tokens) => {
  const at = await start()
  const answer = await (await post(at, { model })).json()
  expect(answer).toMatchObject({ usage: { completion_tokens } })
})

test('the arguments of a tool call are JSON, streamed and whole', async () => {
  const at = await start()
  const model = 'mock-tools'
  const tools = [{ type: 'function', function: { name: 'find' } }]
  const whole = JSON.stringify(await (await post(at, { model, tools })).json())
  expect(whole).toContain('"name":"find"')
  expect(whole).toContain(String.raw`"arguments":"{\"query\":\"tick tock tick tock tick \"}"`)
  const list = await events(await post(at, { model, tools, stream: true }))
  const pieces = JSON.stringify(list).matchAll(/"arguments":"((?:[^"\\]|\\.)*)"/g)
  const text = [...pieces].map(([, piece]) => JSON.parse(`"${piece}"`)).join('')
  expect(JSON.parse(text)).toEqual({ query: 'tick tock tick tock tick ' })
})

test('equal texts have equal vectors, in both encodings', async () => {
  const at = await start()
  const embed = async (body: object): Promise<{ data: { embedding: number[] | string }[] }> => {
    const response = await fetch(`${at.url}/v1/embeddings`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'mock', ...body }),
    })
    // Our own engine; it answers so.
    return (await response.json()) as { data: { embedding: number[] | string }[] }
  }
  const plain = await embed({ input: ['a', 'b', 'a'] })
  expect(plain.data[0]?.embedding).toEqual(plain.data[2]?.embedding)
  expect(plain.data[0]?.embedding).not.toEqual(plain.data[1]?.embedding)
  const coded = await embed({ input: 'a', encoding_format: 'base64' })
  const bytes = Buffer.from(String(coded.data[0]?.embedding), 'base64')
  expect([...new Float32Array(new Uint8Array(bytes).buffer)]).toEqual(plain.data[0]?.embedding)
})

test('the truth file tells what each request got, also one whose client left', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'mock-engine-'))
  try {
    const truthFile = join(directory, 'truth.jsonl')
    const at = await start({ truthFile, tokens: 1_000, tokenRate: 200 })
    const leaving = new AbortController()
    const left = await fetch(`${at.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-request-id': 'left' },
      body: JSON.stringify({ model: 'mock', messages, stream: true }),
      signal: leaving.signal,
    })
    await left.body?.getReader().read()
    leaving.abort()
    await post(at, { max_tokens: 4, stream: true }, { 'x-request-id': 'whole' }).then(events)
    await expect.poll(() => at.stats().aborted).toBe(1)
    const lines = readFileSync(truthFile, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    const last = (id: string): unknown => lines.findLast((line) => line.id === id)
    expect(last('whole')).toMatchObject({ outputTokens: 4, state: 'finished' })
    expect(last('left')).toMatchObject({ state: 'aborted' })
  } finally {
    rmSync(directory, { recursive: true })
  }
})
