/**
 * An engine at the other end of HTTP. What is the same for all of them is here: connections, time limits, refusals, the list of models. What
 * differs is a dialect for each task that the engine does: how a request is written, and how its answer becomes typed parts. A new engine is a new
 * combination of dialects.
 */
import { Fault } from '../../platform/fault.ts'
import { createHttpClient, type HttpResponse } from '../../platform/http/client.ts'
import { toJsonBody } from '../../platform/http/json-body.ts'
import type {
  ChatTask,
  CompletionTask,
  EmbeddingTask,
  Engine,
  EngineAddress,
  EngineCall,
  EngineLoad,
  EngineRequest,
  EngineTask,
  ImageTask,
  ModerationTask,
  RerankTask,
  SpeechTask,
  StreamPart,
  TaskKind,
  TranscriptionTask,
} from '../engine.ts'
import { collect, invalid, isRecord, parseWhole } from './answer.ts'
import { withGuards } from './guard/judge.ts'

/** What an engine knows beyond the tasks themselves. */
export interface EngineTraits {
  /** It sends running totals with each chunk when asked for `continuous_usage_stats`. */
  readonly continuousUsage: boolean
  /** It keeps prefix caches apart by `cache_salt`. */
  readonly cacheSalt: boolean
}

export interface DialectAnswer {
  /** The content type without its parameters, in lower case. */
  readonly mediaType: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: AsyncIterable<Buffer>
}

/** Plain data that is sent as JSON, or bytes of another kind. */
export type DialectBody =
  | { readonly json: unknown }
  | { readonly contentType: string; readonly body: Buffer }

/** How one task is spoken. Pure but for `read`, which iterates over the body once. */
export interface TaskDialect<Task extends EngineTask> {
  /** Below the address's path. */
  readonly path: string | ((request: EngineRequest<Task>) => string)
  render(request: EngineRequest<Task>, traits: EngineTraits): DialectBody
  /** The longest silence between two pieces of an answer; 30 s where it is left out. */
  readonly idleTimeoutMs?: number
  /** Throws at once for an answer of a kind that it does not know. */
  read(answer: DialectAnswer, request: EngineRequest<Task>): AsyncIterable<StreamPart>
}

export interface TaskDialects {
  readonly chat?: TaskDialect<ChatTask>
  readonly completion?: TaskDialect<CompletionTask>
  readonly embedding?: TaskDialect<EmbeddingTask>
  readonly rerank?: TaskDialect<RerankTask>
  readonly moderation?: TaskDialect<ModerationTask>
  readonly transcription?: TaskDialect<TranscriptionTask>
  readonly speech?: TaskDialect<SpeechTask>
  readonly image?: TaskDialect<ImageTask>
}

export interface OutgoingRequest {
  readonly method: 'GET' | 'POST'
  /** `https://host:port` and the path with its query, as they are sent. */
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Buffer | undefined
}

export interface EngineOptions extends EngineTraits {
  readonly kind: string
  readonly dialects: TaskDialects
  /** Whether the engine's error texts are our own, and so may be shown to callers. */
  readonly relaysErrorTexts: boolean
  /** Headers that prove who asks; a bearer token of the address's key where it is left out. */
  readonly authorize?: (request: OutgoingRequest) => Promise<Readonly<Record<string, string>>>
  /** Where the engine lists its models; `/v1/models` in OpenAI's shape where it is left out. */
  readonly listModels?: (get: EngineGet, signal: AbortSignal) => Promise<readonly string[]>
  /** Asked instead of the list of models, where the list says nothing of readiness. */
  readonly healthPath?: string
  /** For engines at the other end of the internet. */
  readonly connectTimeoutMs?: number
  /** How a refusal's text says that the prompt is too long, from engines that have no code for it. */
  readonly tooLongText?: RegExp
  /** Ends what `authorize` holds open. */
  readonly closeAuthorization?: () => Promise<void>
  readonly readLoad?: (get: EngineGet, signal: AbortSignal) => Promise<EngineLoad>
  readonly countTokens?: (
    request: EngineRequest<ChatTask>,
    post: EnginePost,
    call: EngineCall,
  ) => Promise<number>
}

/** The whole answer to a GET below the address; throws unless the status is 200. */
export type EngineGet = (path: string, signal: AbortSignal) => Promise<Buffer>
/** The whole answer to a POST of JSON below the address; throws unless the status is 200. */
export type EnginePost = (path: string, body: unknown, call: EngineCall) => Promise<Buffer>

/** A long prefill is work, not silence: 128 k tokens take minutes. */
const firstByteTimeoutMs = 600_000
const idleTimeoutMs = 30_000
const managementTimeoutMs = 5_000
const errorBytesMax = 64 * 1024

export function connectEngine(address: EngineAddress, options: EngineOptions): Engine {
  const url = new URL(address.baseUrl)
  const { connectTimeoutMs } = options
  const client = createHttpClient(
    url.origin,
    connectTimeoutMs === undefined ? {} : { connectTimeoutMs },
  )
  const prefix = url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '')
  const bearer: Record<string, string> = address.apiKey
    ? { authorization: `Bearer ${address.apiKey}` }
    : {}

  const open = async (
    request: Omit<OutgoingRequest, 'url'> & { readonly path: string },
    limits: { signal: AbortSignal; firstByteTimeoutMs: number; idleTimeoutMs: number },
  ): Promise<HttpResponse> => {
    const path = prefix + request.path
    const authorization = options.authorize
      ? await options.authorize({ ...request, url: new URL(path, url.origin) })
      : bearer
    const headers = { ...request.headers, ...authorization, 'accept-encoding': 'identity' }
    return await client.open({ ...request, ...limits, path, headers })
  }

  const post = async (
    path: string,
    content: DialectBody,
    call: EngineCall,
    silenceMs = idleTimeoutMs,
  ): Promise<HttpResponse> => {
    const { contentType, body } = 'json' in content ? toJson(content.json) : content
    const headers = {
      'content-type': contentType,
      accept: 'text/event-stream, application/json, */*;q=0.1',
      'x-request-id': call.requestId,
    }
    const response = await open(
      { method: 'POST', path, headers, body },
      { signal: call.signal, firstByteTimeoutMs, idleTimeoutMs: silenceMs },
    )
    if (response.status !== 200) throw await rejection(response, options)
    if (response.headers['content-encoding'] !== undefined) {
      await leave(response)
      throw invalid('the engine compressed its answer although identity was asked for')
    }
    return response
  }

  const get: EngineGet = async (path, signal) => {
    const response = await open(
      { method: 'GET', path, headers: {}, body: undefined },
      { signal, firstByteTimeoutMs: managementTimeoutMs, idleTimeoutMs: managementTimeoutMs },
    )
    const bytes = await collect(response.body)
    if (response.status === 200) return bytes
    if (response.status === 503) throw notReady(response.status)
    throw new Fault({
      code: 'upstream.failed',
      public: 'The model server does not say what it offers.',
      internal: `GET ${path} answered ${response.status}`,
    })
  }

  const postJson: EnginePost = async (path, value, call) => {
    return await collect((await post(path, { json: value }, call)).body)
  }

  const list = options.listModels ?? listOpenAiModels
  const { readLoad, countTokens, healthPath } = options
  return withGuards({
    kind: options.kind,
    capabilities: {
      tasks: new Set(Object.keys(options.dialects) as TaskKind[]),
      continuousUsage: options.continuousUsage,
      cacheSalt: options.cacheSalt,
    },
    async run(request, call) {
      const dialect = dialectOf(options.dialects, request.task.kind)
      if (!dialect) throw cannot(request.task.kind)
      const path = typeof dialect.path === 'string' ? dialect.path : dialect.path(request)
      const content = dialect.render(request, options)
      const response = await post(path, content, call, dialect.idleTimeoutMs)
      try {
        return dialect.read(toAnswer(response), request)
      } catch (error) {
        await leave(response)
        throw error
      }
    },
    listModels: (signal) => list(get, signal),
    async checkHealth(signal) {
      await (healthPath === undefined ? list(get, signal) : get(healthPath, signal))
    },
    ...(readLoad && { readLoad: (signal) => readLoad(get, signal) }),
    ...(countTokens && { countTokens: (request, call) => countTokens(request, postJson, call) }),
    async close() {
      await options.closeAuthorization?.()
      await client.close()
    },
  })
}

function toJson(value: unknown): { contentType: string; body: string | Buffer } {
  return { contentType: 'application/json', body: toJsonBody(value) }
}

/** The pipeline hands each dialect the task of its own kind. */
function dialectOf(dialects: TaskDialects, kind: TaskKind): TaskDialect<EngineTask> | undefined {
  return dialects[kind] as TaskDialect<EngineTask> | undefined
}

function toAnswer({ headers, body }: HttpResponse): DialectAnswer {
  const type = String(headers['content-type'] ?? '')
  return { mediaType: (type.split(';')[0] ?? '').trim().toLowerCase(), headers, body }
}

async function leave(response: HttpResponse): Promise<void> {
  await response.body[Symbol.asyncIterator]().return?.()
}

function cannot(kind: TaskKind): Fault {
  return new Fault({
    code: 'catalog.capability_missing',
    public: `The model server of this model does not do this task (${kind}). Ask your provider.`,
    param: 'model',
  })
}

function notReady(status: number): Fault {
  return new Fault({
    code: 'capacity.overloaded',
    public: 'The model is still being loaded. Try again shortly.',
    internal: `the engine's health is ${status}`,
    retryAfterMs: 1_000,
  })
}

/** OpenAI's shape: `{"data":[{"id":…}]}`. */
export async function listOpenAiModels(
  get: EngineGet,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const value = parseWhole(await get('/v1/models', signal))
  const data = isRecord(value) ? value['data'] : undefined
  if (!Array.isArray(data)) throw invalid('a model list without data')
  return data.flatMap((item) =>
    isRecord(item) && typeof item['id'] === 'string' ? [item['id']] : [],
  )
}

/** Turns an engine's refusal into ours. Its text may name hosts or quote the prompt, so it stays behind unless it is ours. */
async function rejection(
  response: HttpResponse,
  options: Pick<EngineOptions, 'relaysErrorTexts' | 'tooLongText'>,
): Promise<Fault> {
  const { status } = response
  const error = await readError(response)
  const retryAfter = Number(response.headers['retry-after'])
  const retryAfterMs = Number.isFinite(retryAfter) && retryAfter > 0 ? retryAfter * 1_000 : 1_000
  const internal = `the engine answered ${status}`
  if (status === 400 || status === 413 || status === 422) {
    const tooLong =
      error.code === 'context_length_exceeded' ||
      error.type === 'exceed_context_size_error' ||
      (options.tooLongText?.test(error.message ?? '') ?? false)
    return new Fault({
      code: tooLong ? 'client.context_length_exceeded' : 'upstream.rejected',
      public:
        (options.relaysErrorTexts ? error.message : undefined) ??
        (tooLong
          ? 'The prompt is longer than the context window of this model. Shorten it.'
          : 'The model server does not accept this request. Check parameters that not every model supports.'),
      param: options.relaysErrorTexts ? error.param : undefined,
      internal,
    })
  }
  if (status === 429) {
    const text = 'The model server is at its limit. Try again shortly.'
    return new Fault({ code: 'capacity.engine_rate_limited', public: text, internal, retryAfterMs })
  }
  // llama-server, for what it was not started for; and servers that know the path and not the method.
  if (status === 501 || status === 405) {
    return new Fault({
      code: 'catalog.capability_missing',
      public: 'The model server of this model is not set up for this task. Ask your provider.',
      param: 'model',
      internal,
    })
  }
  // 529 is Anthropic's word for it.
  if (status === 503 || status === 529) {
    const text = 'The model server is busy. Try again shortly.'
    return new Fault({ code: 'capacity.overloaded', public: text, internal, retryAfterMs })
  }
  const text = 'The model server failed. Try again.'
  return new Fault({ code: 'upstream.failed', public: text, internal, retryAfterMs: 1_000 })
}

async function readError(
  response: HttpResponse,
): Promise<{ message?: string; code?: string; type?: string; param?: string }> {
  try {
    const value = parseWhole(await collect(response.body, errorBytesMax))
    const whole = isRecord(value) ? value : {}
    const error = isRecord(whole['error']) ? whole['error'] : whole
    const text = (key: string): Record<string, string> =>
      typeof error[key] === 'string' ? { [key]: error[key] } : {}
    // Hugging Face's servers have the text itself under `error`.
    const bare = typeof whole['error'] === 'string' ? { message: whole['error'] } : {}
    return { ...bare, ...text('message'), ...text('code'), ...text('type'), ...text('param') }
  } catch {
    // An unreadable refusal is still a refusal; the status alone decides.
    return {}
  }
}
