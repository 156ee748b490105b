/** How an engine's refusals read here, and how long its silence is borne. */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { toFault, type Fault } from '../../platform/fault.ts'
import { openAiCompatible } from '../adapters/openai-compatible.ts'
import { tei } from '../adapters/tei.ts'
import type { Engine, EngineAdapter, EngineTask } from '../engine.ts'

const chat: EngineTask = { kind: 'chat', body: { messages: [{ role: 'user', content: 'x' }] } }
const embedding: EngineTask = { kind: 'embedding', input: ['x'], dimensions: undefined }

let closing: (() => Promise<void>)[] = []
afterEach(async () => {
  vi.useRealTimers()
  for (const close of closing) await close()
  closing = []
})

async function connectTo(
  adapter: EngineAdapter,
  answer: (response: ServerResponse) => void,
): Promise<Engine> {
  const server = createServer((request, response) => {
    request.resume()
    request.on('end', () => answer(response))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // Listening on TCP, so the address is not a path.
  const { port } = server.address() as AddressInfo
  const engine = adapter.connect({ baseUrl: `http://127.0.0.1:${port}` })
  closing.push(async () => {
    await engine.close()
    server.closeAllConnections()
    server.close()
  })
  return engine
}

async function run(engine: Engine, task: EngineTask): Promise<Fault | 'answered'> {
  const request = { model: 'm', task, stream: false, cacheSalt: undefined }
  const call = { signal: new AbortController().signal, requestId: 'req_1' }
  try {
    for await (const part of await engine.run(request, call)) if (part.type === 'end') break
    return 'answered'
  } catch (error) {
    return toFault(error)
  }
}

test.each([405, 501])(
  'an engine that answers %s does not do the task, and has not failed',
  async (status) => {
    const engine = await connectTo(openAiCompatible, (response) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end('{"detail":"no"}'),
    )
    expect(await run(engine, chat)).toMatchObject({ code: 'catalog.capability_missing' })
  },
)

test.each([413, 422])(
  "text-embeddings-inference's own refusal of a long text is understood (%s)",
  async (status) => {
    const refusal = {
      error: 'Input validation error: `inputs` must have less than 512 tokens. Given: 700',
      error_type: 'Validation',
    }
    const engine = await connectTo(tei, (response) =>
      response.writeHead(status).end(JSON.stringify(refusal)),
    )
    expect(await run(engine, embedding)).toMatchObject({ code: 'client.context_length_exceeded' })
  },
)

const whole = JSON.stringify({
  choices: [{ index: 0, message: { content: 'a' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 1, completion_tokens: 1 },
})

test.each([
  [599_000, 'answered'],
  [601_000, 'upstream.timeout'],
] as const)(
  'an engine may be silent for ten minutes while it reads a long prompt, and no longer (%i ms: %s)',
  async (silentMs, outcome) => {
    const heard = Promise.withResolvers<ServerResponse>()
    const engine = await connectTo(openAiCompatible, heard.resolve)
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const result = run(engine, chat)
    const response = await heard.promise
    vi.advanceTimersByTime(silentMs)
    vi.useRealTimers()
    response.writeHead(200, { 'content-type': 'application/json' }).end(whole)
    const got = await result
    expect(got === 'answered' ? got : got.code).toBe(outcome)
  },
)
