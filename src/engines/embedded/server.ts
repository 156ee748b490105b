/** The routes of the engine process. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Fault, toFault } from '../../platform/fault.ts'
import type { Logger } from '../../platform/log.ts'
import { answerChat, type ChatModel } from './chat.ts'
import { answerCompletion } from './completion.ts'
import { answerEmbeddings, type EmbeddingModel } from './embeddings.ts'
import { departure, readJson, sendFault, sendJson } from './http.ts'
import type { EngineMetrics } from './metrics.ts'
import { answerTokenCount } from './token-count.ts'

export interface LoadedModel {
  readonly windowTokens: number
  readonly chat: ChatModel | undefined
  readonly embeddings: EmbeddingModel | undefined
}

export interface EngineServerOptions {
  readonly modelId: string
  /** Asked for as a bearer token when set. */
  readonly apiKey: string | undefined
  readonly createdSeconds: number
  readonly metrics: EngineMetrics
  readonly logger: Logger
  /** `undefined` while the weights are being loaded. */
  readonly loaded: () => LoadedModel | undefined
}

const headersTimeoutMs = 10_000
const requestTimeoutMs = 60_000
/** Longer than clients keep idle connections, so that they close them first. */
const keepAliveMs = 75_000
const requestIdLengthMax = 100
const loadingRetryMs = 1_000

export function createEngineServer(options: EngineServerOptions): Server {
  const server = createServer((request, response) => {
    void serve(options, request, response)
  })
  server.headersTimeout = headersTimeoutMs
  server.requestTimeout = requestTimeoutMs
  server.keepAliveTimeout = keepAliveMs
  return server
}

async function serve(
  options: EngineServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const signal = departure(response)
  response.on('error', () => {})
  try {
    await route(options, request, response, signal)
  } catch (error) {
    const fault = toFault(error)
    if (fault.status >= 500 && fault.code !== 'capacity.overloaded') {
      const requestId = String(request.headers['x-request-id'] ?? '').slice(0, requestIdLengthMax)
      const cause = fault.cause ?? fault
      options.logger.error({ error: cause, code: fault.code, requestId }, 'request failed')
    }
    if (!signal.aborted) sendFault(response, fault)
  } finally {
    const path = request.url ?? ''
    if (path.startsWith('/v1/') && path !== '/v1/models') {
      options.metrics.requests.inc({ status: signal.aborted ? 499 : response.statusCode })
    }
  }
}

async function route(
  options: EngineServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const path = (request.url ?? '').split('?')[0]
  const loaded = options.loaded()
  switch (`${request.method} ${path}`) {
    case 'GET /health':
      return sendJson(response, loaded ? 200 : 503, { status: loaded ? 'ok' : 'loading' })
    case 'GET /metrics': {
      const text = await options.metrics.render(loaded?.chat?.scheduler.state())
      response.writeHead(200, { 'content-type': options.metrics.contentType })
      response.end(text)
      return
    }
    case 'GET /v1/models':
      authenticate(options, request)
      return sendJson(response, 200, modelList(options, loaded))
    case 'POST /v1/chat/completions': {
      authenticate(options, request)
      const chat = required(loaded, loaded?.chat, 'chat')
      return answerChat(chat, { body: await readJson(request), response, signal })
    }
    case 'POST /tokenize': {
      authenticate(options, request)
      const chat = required(loaded, loaded?.chat, 'chat')
      return answerTokenCount(chat, { body: await readJson(request), response })
    }
    case 'POST /v1/completions': {
      authenticate(options, request)
      const chat = required(loaded, loaded?.chat, 'completions')
      return answerCompletion(chat, { body: await readJson(request), response, signal })
    }
    case 'POST /v1/embeddings': {
      authenticate(options, request)
      const embeddings = required(loaded, loaded?.embeddings, 'embeddings')
      return answerEmbeddings(embeddings, { body: await readJson(request), response, signal })
    }
    default:
      throw new Fault({
        code: 'client.route_not_found',
        public: 'There is nothing at this address.',
      })
  }
}

function modelList(options: EngineServerOptions, loaded: LoadedModel | undefined): unknown {
  const model = {
    id: options.modelId,
    object: 'model',
    created: options.createdSeconds,
    owned_by: 'colonnade',
    ...(loaded ? { context_window: loaded.windowTokens } : {}),
  }
  return { object: 'list', data: [model] }
}

function required<T>(loaded: LoadedModel | undefined, part: T | undefined, name: string): T {
  if (part !== undefined) return part
  if (loaded) {
    throw new Fault({
      code: 'catalog.capability_missing',
      public: `This model does not do ${name}.`,
      param: 'model',
    })
  }
  throw new Fault({
    code: 'capacity.no_replica',
    public: 'The model is being loaded. Try again shortly.',
    retryAfterMs: loadingRetryMs,
  })
}

function authenticate({ apiKey }: EngineServerOptions, request: IncomingMessage): void {
  if (apiKey === undefined) return
  const given = request.headers.authorization ?? ''
  if (timingSafeEqual(digest(given), digest(`Bearer ${apiKey}`))) return
  throw new Fault({ code: 'auth.invalid_key', public: 'The key of this model server is wrong.' })
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
