/**
 * A small honest engine without a model: OpenAI's dialect, a fixed pace, and a record of what it really emitted for each request, against
 * which bills are compared. The name of the model chooses how it behaves.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface StubModel {
  readonly tokenEveryMs: number
  /** So many at a time; 1 when left out. */
  readonly burst?: number
  /** Tokens when the request asks for no fewer. */
  readonly tokens: number
  readonly refusesWith?: number
  /** Cuts the connection after so many tokens. */
  readonly diesAfter?: number
  /** What it says it emitted, instead of the truth; `'nothing'` for no usage at all. */
  readonly claims?: number | 'nothing'
}

/** What was emitted for one request of the gateway, found by the `x-request-id` that it sends. */
export interface Emitted {
  readonly inputTokens: number
  readonly outputTokens: number
  /** Whether the last byte was handed to the socket. */
  readonly finished: boolean
}

export interface StubEngine {
  readonly url: string
  /** One entry for each request that reached the engine, by request id. */
  readonly truth: ReadonlyMap<string, readonly Emitted[]>
  close(): Promise<void>
}

export const stubModels: Readonly<Record<string, StubModel>> = {
  'stub/steady:1': { tokenEveryMs: 50, tokens: 100_000 },
  'stub/limited:1': { tokenEveryMs: 1, tokens: 1, refusesWith: 429 },
  'stub/quick:1': { tokenEveryMs: 4, tokens: 100_000 },
  'stub/flooding:1': { tokenEveryMs: 1, burst: 100, tokens: 1_000_000 },
  'stub/brief:1': { tokenEveryMs: 2, tokens: 8 },
  'stub/dying:1': { tokenEveryMs: 4, tokens: 100_000, diesAfter: 20 },
  'stub/boasting:1': { tokenEveryMs: 4, tokens: 100_000, claims: 1e12 },
  'stub/modest:1': { tokenEveryMs: 4, tokens: 100_000, claims: 0 },
  'stub/silent:1': { tokenEveryMs: 4, tokens: 100_000, claims: 'nothing' },
}

export const stubInputTokens = 7
const bodyBytesMax = 64 * 1024 * 1024

interface ChatBody {
  readonly model: string
  readonly stream?: boolean
  readonly max_tokens?: number | null
  readonly max_completion_tokens?: number | null
}

export async function startStubEngine(
  models: Readonly<Record<string, StubModel>> = stubModels,
): Promise<StubEngine> {
  const truth = new Map<string, Emitted[]>()
  const server = createServer((request, response) => {
    void answer(request, response, models, truth)
  })
  server.requestTimeout = 0
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // Listening on TCP, so the address is not a path.
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    truth,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  models: Readonly<Record<string, StubModel>>,
  truth: Map<string, Emitted[]>,
): Promise<void> {
  response.setHeader('content-type', 'application/json')
  if (request.method === 'GET') {
    const data = Object.keys(models).map((id) => ({
      id,
      object: 'model',
      created: 1,
      owned_by: 'stub',
    }))
    response.end(JSON.stringify({ object: 'list', data }))
    return
  }
  const body = await readBody(request)
  const model = body && models[body.model]
  if (!body || !model || request.url !== '/v1/chat/completions') {
    response.writeHead(404).end('{"error":{"message":"unknown","type":"not_found"}}')
    return
  }
  if (model.refusesWith !== undefined) {
    response
      .writeHead(model.refusesWith, { 'retry-after': '3' })
      .end('{"error":{"message":"slow down","type":"rate_limit"}}')
    return
  }
  const entries = truth.get(String(request.headers['x-request-id'])) ?? []
  truth.set(String(request.headers['x-request-id']), entries)
  const at = entries.length
  await emit(body, model, response, (emitted) => {
    entries[at] = emitted
  })
}

/** Sends the tokens at their pace until they are all sent or the gateway hangs up. */
async function emit(
  body: ChatBody,
  model: StubModel,
  response: ServerResponse,
  record: (emitted: Emitted) => void,
): Promise<void> {
  const tokens = Math.min(
    model.tokens,
    body.max_completion_tokens ?? body.max_tokens ?? model.tokens,
  )
  const head = { id: 'stub', created: 1, model: body.model }
  const usage = (emitted: number): object | undefined => {
    if (model.claims === 'nothing') return undefined
    const outputTokens = model.claims ?? emitted
    return {
      prompt_tokens: stubInputTokens,
      completion_tokens: outputTokens,
      total_tokens: stubInputTokens + outputTokens,
    }
  }
  const send = (value: object): void => {
    response.write(
      `data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', ...value })}\n\n`,
    )
  }
  record({ inputTokens: stubInputTokens, outputTokens: 0, finished: false })
  if (body.stream) response.setHeader('content-type', 'text/event-stream')
  let sent = 0
  while (sent < tokens) {
    if (sent % (model.burst ?? 1) === 0)
      await new Promise((resolve) => setTimeout(resolve, model.tokenEveryMs))
    if (response.writableNeedDrain) await room(response)
    if (response.destroyed) return
    if (sent === model.diesAfter) {
      response.destroy()
      return
    }
    sent += 1
    if (!body.stream) continue
    send({ choices: [{ index: 0, delta: { content: 'tick ' }, finish_reason: null }] })
    record({ inputTokens: stubInputTokens, outputTokens: sent, finished: false })
  }
  if (body.stream) {
    send({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })
    if (usage(sent)) send({ choices: [], usage: usage(sent) })
    response.end('data: [DONE]\n\n')
  } else {
    const message = { role: 'assistant', content: 'tick '.repeat(sent) }
    const choices = [{ index: 0, message, finish_reason: 'stop' }]
    response.end(
      JSON.stringify({ ...head, object: 'chat.completion', choices, usage: usage(sent) }),
    )
  }
  record({ inputTokens: stubInputTokens, outputTokens: sent, finished: true })
}

/** Resolves when the gateway reads again, or has gone. */
function room(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done)
      resolve()
    }
    response.on('drain', done).on('close', done)
  })
}

async function readBody(request: IncomingMessage): Promise<ChatBody | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > bodyBytesMax) return undefined
    chunks.push(chunk)
  }
  // The gateway is what is tested; a body that it renders wrongly shall fail loudly here.
  return JSON.parse(Buffer.concat(chunks).toString('utf8')) as ChatBody
}
