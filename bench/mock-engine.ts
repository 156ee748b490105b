/**
 * An engine without a model, for the bench and for tests: OpenAI's dialect over HTTP, cheap, honest about what it emitted, and strict about
 * what it receives. The name of the model chooses a fault (mock/behaviour.ts), `max_tokens` the length of the answer.
 *
 *   node bench/mock-engine.ts --port 9000 --tokens 64 --token-rate 50
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { behaviours, retryAfterS } from './mock/behaviour.ts'
import { stream, whole, type Counts, type Pace } from './mock/chat.ts'
import { embeddingAnswer } from './mock/embeddings.ts'
import type { Answer } from './mock/render.ts'
import { openTruth, type Truth } from './mock/truth.ts'
import { checkChat, checkEmbedding, type ChatBody } from './mock/validate.ts'

export type { TruthLine } from './mock/truth.ts'

export interface MockEngineOptions {
  /** 0, the default, takes a free one. */
  readonly port?: number | undefined
  /** Tokens of an answer whose request asks for no fewer; 16 by default. */
  readonly tokens?: number | undefined
  /** Tokens each second in each stream; 0, the default, is as fast as possible. Whole answers come at once. */
  readonly tokenRate?: number | undefined
  readonly firstTokenMs?: number | undefined
  /** Bytes of text in an answer of full length. */
  readonly replyBytes?: number | undefined
  /** A file that gets a line for each change of what was emitted (mock/truth.ts). */
  readonly truthFile?: string | undefined
  /** Streams must ask for usage. */
  readonly expectUsage?: boolean | undefined
}

export interface MockEngineStats extends Readonly<Counts> {
  readonly requests: number
  readonly violations: number
  /** How often each rule was broken. */
  readonly reasons: Readonly<Record<string, number>>
}

export interface MockEngine {
  /** Without `/v1`. */
  readonly url: string
  readonly port: number
  stats(): MockEngineStats
  close(): Promise<void>
}

interface Mock {
  readonly options: MockEngineOptions
  readonly truth: Truth
  readonly counts: Counts
  readonly reasons: Map<string, number>
  readonly tokenTexts: Answer['tokenTexts']
  /** Makes the ids of this process differ from those of an earlier one. */
  readonly idPrefix: string
  requests: number
}

const defaultTokens = 16
const bodyBytesMax = 64 * 1024 * 1024
const backlogConnections = 8_192
const bytesPerToken = 4

export async function startMockEngine(options: MockEngineOptions = {}): Promise<MockEngine> {
  const mock: Mock = {
    options,
    truth: openTruth(options.truthFile),
    counts: { streams: 0, openStreams: 0, events: 0, tokens: 0, finished: 0, aborted: 0 },
    reasons: new Map(),
    tokenTexts: tokenTexts(options),
    idPrefix: `chatcmpl-${process.pid.toString(36)}-${Date.now().toString(36)}`,
    requests: 0,
  }
  const server = createServer((request, response) => receive(mock, request, response))
  // A proxy keeps its connections as long as it likes.
  server.keepAliveTimeout = 0
  server.requestTimeout = 0
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, '127.0.0.1', backlogConnections, resolve)
  })
  // Listening on TCP, so the address is not a path.
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    stats: () => statsOf(mock),
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          mock.truth.close()
          resolve()
        })
        server.closeAllConnections()
      }),
  }
}

function tokenTexts(options: MockEngineOptions): Answer['tokenTexts'] {
  const { replyBytes, tokens = defaultTokens } = options
  if (replyBytes === undefined) return ['tick ', 'tock ']
  const bytes = Math.max(1, Math.round(replyBytes / tokens))
  return ['x'.repeat(bytes), 'y'.repeat(bytes)]
}

function statsOf(mock: Mock): MockEngineStats {
  const reasons = Object.fromEntries(mock.reasons)
  const violations = Object.values(reasons).reduce((sum, count) => sum + count, 0)
  return { requests: mock.requests, ...mock.counts, violations, reasons }
}

function receive(mock: Mock, request: IncomingMessage, response: ServerResponse): void {
  if (request.method === 'GET') {
    get(mock, request.url ?? '', response)
    return
  }
  mock.requests += 1
  const chunks: Buffer[] = []
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes <= bodyBytesMax) chunks.push(chunk)
  })
  request.on('end', () => {
    const [only] = chunks
    const body = chunks.length === 1 && only ? only : Buffer.concat(chunks)
    if (bytes > bodyBytesMax) refuse(mock, response, 413, 'body is too large')
    else post(mock, request, response, body)
  })
}

function get(mock: Mock, path: string, response: ServerResponse): void {
  if (path === '/__stats') json(response, 200, statsOf(mock))
  else if (path === '/health') json(response, 200, { status: 'ok' })
  else if (path === '/v1/models') json(response, 200, { object: 'list', data: modelList() })
  else refuse(mock, response, 404, 'path is unknown')
}

function modelList(): object[] {
  return [...behaviours.keys()].map((id) => ({
    id,
    object: 'model',
    created: 1_750_000_000,
    owned_by: 'mock',
  }))
}

function post(mock: Mock, request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  if (request.method !== 'POST') {
    refuse(mock, response, 405, 'method is neither GET nor POST')
  } else if (!request.headers['content-type']?.startsWith('application/json')) {
    refuse(mock, response, 415, 'content-type is not application/json')
  } else if (request.url === '/v1/chat/completions') {
    const checked = checkChat(body, mock.options.expectUsage ?? false)
    if ('violation' in checked) refuse(mock, response, 400, checked.violation)
    else answerChat(mock, request, response, checked.body)
  } else if (request.url === '/v1/embeddings') {
    const checked = checkEmbedding(body)
    if ('violation' in checked) refuse(mock, response, 400, checked.violation)
    else sendJson(response, 200, embeddingAnswer(checked.body))
  } else {
    refuse(mock, response, 404, 'path is unknown')
  }
}

function answerChat(
  mock: Mock,
  request: IncomingMessage,
  response: ServerResponse,
  body: ChatBody,
): void {
  const behaviour = behaviours.get(body.model) ?? {}
  if (behaviour.refusesWith !== undefined) {
    response.setHeader('retry-after', String(retryAfterS))
    json(response, behaviour.refusesWith, { error: { message: 'busy', type: 'capacity' } })
    return
  }
  if (behaviour.answersHtml) {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<html><h1>It works!</h1></html>')
    return
  }
  const full = mock.options.tokens ?? defaultTokens
  const limit = body.max_completion_tokens ?? body.max_tokens ?? full
  const answer: Answer = {
    id: `${mock.idPrefix}-${mock.requests.toString(36)}`,
    model: body.model,
    behaviour,
    promptTokens: promptTokens(body),
    tokens: Math.min(limit, full),
    tokenTexts: mock.tokenTexts,
    toolName: toolName(body),
    limited: limit < full,
    includeUsage: body.stream_options?.include_usage === true,
    continuousUsage: body.stream_options?.continuous_usage_stats === true,
  }
  const pace: Pace = {
    firstTokenMs: behaviour.firstTokenMs ?? mock.options.firstTokenMs ?? 0,
    tokenRate: mock.options.tokenRate ?? 0,
  }
  const requestId = request.headers['x-request-id']
  const chat = {
    requestId: typeof requestId === 'string' ? requestId : answer.id,
    answer,
    pace,
    response,
    truth: mock.truth,
    counts: mock.counts,
  }
  if (body.stream) stream(chat)
  else whole(chat)
}

function toolName(body: ChatBody): string {
  const name = body.tools?.[0]?.function?.name ?? ''
  return /^[\w-]+$/.test(name) ? name : 'lookup'
}

/** A quarter of the characters of the messages, which is what a tokenizer makes of English. */
function promptTokens(body: ChatBody): number {
  const characters = body.messages.reduce((sum, { content }) => {
    if (typeof content === 'string') return sum + content.length
    return sum + (JSON.stringify(content)?.length ?? 0)
  }, 0)
  return Math.ceil(characters / bytesPerToken)
}

/** The sender broke a rule: counted, and answered with what it was. */
function refuse(mock: Mock, response: ServerResponse, status: number, reason: string): void {
  mock.reasons.set(reason, (mock.reasons.get(reason) ?? 0) + 1)
  json(response, status, { error: { message: reason, type: 'invalid_request_error' } })
}

function json(response: ServerResponse, status: number, value: object): void {
  sendJson(response, status, JSON.stringify(value))
}

function sendJson(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  })
  response.end(text)
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      port: { type: 'string' },
      tokens: { type: 'string' },
      'token-rate': { type: 'string' },
      'first-token-ms': { type: 'string' },
      'reply-bytes': { type: 'string' },
      truth: { type: 'string' },
      'expect-usage': { type: 'boolean' },
    },
  })
  const engine = await startMockEngine({
    port: number(values.port),
    tokens: number(values.tokens),
    tokenRate: number(values['token-rate']),
    firstTokenMs: number(values['first-token-ms']),
    replyBytes: number(values['reply-bytes']),
    truthFile: values.truth,
    expectUsage: values['expect-usage'],
  })
  process.stdout.write(`${JSON.stringify({ event: 'ready', url: engine.url })}\n`)
  const stop = (): void => {
    void engine.close().then(() => process.exit(0))
  }
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
}

function number(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text)
}

if (import.meta.main) await main()
