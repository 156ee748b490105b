/**
 * The OpenAI dialect as spoken to engines: our requests out, their chunks in, translated to typed parts. Nothing that an engine sends is
 * relayed as it came: what this file does not recognise does not pass.
 */
import { Fault } from '../../platform/fault.ts'
import { createHttpClient, type HttpClient, type HttpResponse } from '../../platform/http/client.ts'
import type {
  ChatRequest,
  EmbeddingRequest,
  Engine,
  EngineAddress,
  EngineCall,
  EngineCapabilities,
  FinishReason,
  StreamPart,
  TokenLogprob,
  TokenUsage,
} from '../engine.ts'
import { readEvents } from './sse.ts'

export interface OpenAiEngineOptions {
  readonly kind: string
  readonly capabilities: EngineCapabilities
  /** Whether the engine's error texts are our own, and so may be shown to callers. */
  readonly relaysErrorTexts: boolean
}

/** A long prefill is work, not silence: 128 k tokens take minutes. */
const firstByteTimeoutMs = 600_000
const idleTimeoutMs = 30_000
const managementTimeoutMs = 5_000
const wholeResponseBytesMax = 64 * 1024 * 1024
const errorBytesMax = 64 * 1024

export function connectOpenAiEngine(address: EngineAddress, options: OpenAiEngineOptions): Engine {
  const url = new URL(address.baseUrl)
  const client = createHttpClient(url.origin)
  const prefix = url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '')
  const authorization: Record<string, string> = address.apiKey
    ? { authorization: `Bearer ${address.apiKey}` }
    : {}

  const post = async (path: string, body: string, call: EngineCall): Promise<HttpResponse> => {
    const response = await client.open({
      method: 'POST',
      path: prefix + path,
      headers: {
        ...authorization,
        'content-type': 'application/json',
        accept: 'text/event-stream, application/json',
        'accept-encoding': 'identity',
        'x-request-id': call.requestId,
      },
      body,
      signal: call.signal,
      firstByteTimeoutMs,
      idleTimeoutMs,
    })
    if (response.status !== 200) throw await rejection(response, options)
    if (response.headers['content-encoding'] !== undefined) {
      await response.body[Symbol.asyncIterator]().return?.()
      throw invalid('the engine compressed its answer although identity was asked for')
    }
    return response
  }

  return {
    kind: options.kind,
    capabilities: options.capabilities,
    async chat(request, call) {
      const response = await post('/v1/chat/completions', renderChat(request, options), call)
      const contentType = String(response.headers['content-type'] ?? '')
      if (contentType.startsWith('text/event-stream')) return readChatStream(response.body)
      if (contentType.startsWith('application/json')) return readWholeChat(response.body)
      await response.body[Symbol.asyncIterator]().return?.()
      throw invalid('the engine answered with neither JSON nor an event stream')
    },
    async embed(request, call) {
      const response = await post('/v1/embeddings', renderEmbedding(request), call)
      return readEmbeddings(response.body, request.input.length)
    },
    listModels: (signal) => listModels(client, prefix, authorization, signal),
    async checkHealth(signal) {
      await listModels(client, prefix, authorization, signal)
    },
    close: () => client.close(),
  }
}

function renderChat(request: ChatRequest, options: OpenAiEngineOptions): string {
  const streaming = {
    stream: true,
    stream_options: options.capabilities.continuousUsage
      ? { include_usage: true, continuous_usage_stats: true }
      : { include_usage: true },
  }
  return JSON.stringify({
    ...request.body,
    model: request.model,
    cache_salt: request.cacheSalt,
    ...(request.stream ? streaming : { stream: false }),
  })
}

function renderEmbedding(request: EmbeddingRequest): string {
  const { model, input, dimensions } = request
  return JSON.stringify({ model, input, dimensions, encoding_format: 'float' })
}

/** What an engine's choice carries, in a chunk (`delta`) or in a whole answer (`message`). */
interface WireChoice {
  readonly index?: unknown
  readonly delta?: WireMessage | null
  readonly message?: WireMessage | null
  readonly finish_reason?: unknown
  readonly logprobs?: { readonly content?: unknown } | null
}
interface WireMessage {
  readonly content?: unknown
  readonly reasoning_content?: unknown
  readonly reasoning?: unknown
  readonly refusal?: unknown
  readonly tool_calls?: unknown
}
interface WireToolCall {
  readonly index?: unknown
  readonly id?: unknown
  readonly function?: { readonly name?: unknown; readonly arguments?: unknown } | null
}

export async function* readChatStream(chunks: AsyncIterable<Buffer>): AsyncGenerator<StreamPart> {
  const state: ChatState = { started: new Set(), finished: new Set(), choices: 0 }
  for await (const events of readEvents(chunks)) {
    for (const event of events) {
      if (event === '[DONE]') {
        yield { type: 'end' }
        return
      }
      yield* fromChatObject(parseEvent(event), state)
    }
  }
  // Some servers leave [DONE] out. The answer is whole if every choice said why it ended.
  if (state.choices > 0 && state.finished.size === state.choices) {
    yield { type: 'end' }
    return
  }
  throw new Fault({
    code: 'upstream.truncated',
    public: 'The model server ended the answer before it was complete. Try again.',
    internal: 'stream closed without finish_reason and [DONE]',
  })
}

async function* readWholeChat(chunks: AsyncIterable<Buffer>): AsyncGenerator<StreamPart> {
  const state: ChatState = { started: new Set(), finished: new Set(), choices: 0 }
  const value = parseWhole(await collect(chunks, wholeResponseBytesMax))
  yield* fromChatObject(value, state)
  if (state.choices === 0 || state.finished.size < state.choices) {
    throw invalid('a whole answer without choices or finish_reason')
  }
  yield { type: 'end' }
}

interface ChatState {
  /** Tool calls whose name was sent, as `choice:index`. */
  readonly started: Set<string>
  readonly finished: Set<number>
  choices: number
}

function* fromChatObject(value: unknown, state: ChatState): Generator<StreamPart> {
  if (!isRecord(value)) throw invalid('an event that is not an object')
  if (value['error'] !== undefined && value['error'] !== null) {
    throw new Fault({
      code: 'upstream.failed',
      public: 'The model server failed while it was answering. Try again.',
      internal: 'error event in the stream',
    })
  }
  const choices: unknown = value['choices']
  if (Array.isArray(choices)) {
    for (const choice of choices) {
      if (isRecord(choice)) yield* fromChoice(choice, state)
    }
  }
  if (isRecord(value['usage'])) yield { type: 'usage', usage: fromWireUsage(value['usage']) }
}

function* fromChoice(wire: WireChoice, state: ChatState): Generator<StreamPart> {
  const choice = typeof wire.index === 'number' ? wire.index : 0
  if (!Number.isInteger(choice) || choice < 0 || choice > 127)
    throw invalid('a choice out of range')
  if (choice >= state.choices) state.choices = choice + 1
  const message = wire.delta ?? wire.message
  if (message) yield* fromMessage(message, wire, choice, state)
  if (typeof wire.finish_reason === 'string' && !state.finished.has(choice)) {
    state.finished.add(choice)
    yield { type: 'choice-finish', choice, reason: fromFinishReason(wire.finish_reason) }
  }
}

function* fromMessage(
  message: WireMessage,
  wire: WireChoice,
  choice: number,
  state: ChatState,
): Generator<StreamPart> {
  const reasoning = message.reasoning_content ?? message.reasoning
  if (typeof reasoning === 'string' && reasoning !== '') {
    yield { type: 'reasoning-delta', choice, text: reasoning }
  }
  const logprobs = fromLogprobs(wire.logprobs)
  if (typeof message.content === 'string' && (message.content !== '' || logprobs)) {
    yield { type: 'text-delta', choice, text: message.content, logprobs }
  }
  if (typeof message.refusal === 'string' && message.refusal !== '') {
    yield { type: 'refusal-delta', choice, text: message.refusal }
  }
  if (Array.isArray(message.tool_calls)) {
    for (const [position, call] of message.tool_calls.entries()) {
      if (isRecord(call)) yield* fromToolCall(call, position, choice, state)
    }
  }
}

function* fromToolCall(
  wire: WireToolCall,
  position: number,
  choice: number,
  state: ChatState,
): Generator<StreamPart> {
  // Whole answers, and some engines' chunks, leave the index out.
  const toolCall = typeof wire.index === 'number' ? wire.index : position
  if (!Number.isInteger(toolCall) || toolCall < 0 || toolCall > 127) {
    throw invalid('a tool call out of range')
  }
  const key = `${choice}:${toolCall}`
  const name = wire.function?.name
  if (!state.started.has(key) && typeof name === 'string' && name !== '') {
    state.started.add(key)
    const id =
      typeof wire.id === 'string' && wire.id !== '' ? wire.id : `call_${choice}_${toolCall}`
    yield { type: 'tool-call-start', choice, toolCall, id, name }
  }
  const pieces = wire.function?.arguments
  if (typeof pieces === 'string' && pieces !== '') {
    if (!state.started.has(key)) throw invalid('tool arguments before the tool was named')
    yield { type: 'tool-call-delta', choice, toolCall, arguments: pieces }
  }
}

function fromFinishReason(reason: string): FinishReason {
  if (reason === 'length' || reason === 'tool_calls' || reason === 'content_filter') return reason
  if (reason === 'function_call') return 'tool_calls'
  return 'stop'
}

/** Keeps the numbers as they came, right or wrong: billing judges them (settlement.ts). Absent ones are NaN or 0 by their meaning. */
function fromWireUsage(wire: Record<string, unknown>): TokenUsage {
  const promptDetails = isRecord(wire['prompt_tokens_details']) ? wire['prompt_tokens_details'] : {}
  const outputDetails = isRecord(wire['completion_tokens_details'])
    ? wire['completion_tokens_details']
    : {}
  return {
    inputTokens: toNumber(wire['prompt_tokens'], NaN),
    cachedInputTokens: toNumber(promptDetails['cached_tokens'], 0),
    outputTokens: toNumber(wire['completion_tokens'], 0),
    reasoningTokens: toNumber(outputDetails['reasoning_tokens'], 0),
  }
}

function fromLogprobs(wire: WireChoice['logprobs']): readonly TokenLogprob[] | undefined {
  const content = wire?.content
  if (!Array.isArray(content) || content.length === 0) return undefined
  return content.filter(isRecord).map((entry) => ({
    ...fromLogprob(entry),
    top_logprobs: Array.isArray(entry['top_logprobs'])
      ? entry['top_logprobs'].filter(isRecord).map(fromLogprob)
      : [],
  }))
}

function fromLogprob(wire: Record<string, unknown>): Omit<TokenLogprob, 'top_logprobs'> {
  const bytes = wire['bytes']
  return {
    token: typeof wire['token'] === 'string' ? wire['token'] : '',
    logprob: toNumber(wire['logprob'], -9999),
    bytes: Array.isArray(bytes) ? bytes.filter((byte) => typeof byte === 'number') : null,
  }
}

async function* readEmbeddings(
  chunks: AsyncIterable<Buffer>,
  count: number,
): AsyncGenerator<StreamPart> {
  const value = parseWhole(await collect(chunks, wholeResponseBytesMax))
  const data = isRecord(value) ? value['data'] : undefined
  if (!isRecord(value) || !Array.isArray(data) || data.length !== count) {
    throw invalid('an embedding answer with the wrong number of vectors')
  }
  const vectors: (readonly number[])[] = Array.from({ length: count }, () => [])
  for (const [position, item] of data.entries()) {
    const vector: unknown = isRecord(item) ? item['embedding'] : undefined
    const index = isRecord(item) && typeof item['index'] === 'number' ? item['index'] : position
    if (!Array.isArray(vector) || !vectors[index]) throw invalid('a vector that is not a list')
    if (!vector.every((number) => Number.isFinite(number)))
      throw invalid('a vector with non-numbers')
    vectors[index] = vector
  }
  yield { type: 'embeddings', vectors }
  if (isRecord(value['usage'])) yield { type: 'usage', usage: fromWireUsage(value['usage']) }
  yield { type: 'end' }
}

async function listModels(
  client: HttpClient,
  prefix: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const response = await client.open({
    method: 'GET',
    path: `${prefix}/v1/models`,
    headers: { ...headers, 'accept-encoding': 'identity' },
    signal,
    firstByteTimeoutMs: managementTimeoutMs,
    idleTimeoutMs: managementTimeoutMs,
  })
  const text = await collect(response.body, wholeResponseBytesMax)
  if (response.status !== 200) {
    throw new Fault({
      code: 'upstream.failed',
      public: 'The model server does not list its models.',
      internal: `GET /v1/models answered ${response.status}`,
    })
  }
  const value = parseWhole(text)
  const data = isRecord(value) ? value['data'] : undefined
  if (!Array.isArray(data)) throw invalid('a model list without data')
  return data.flatMap((item) =>
    isRecord(item) && typeof item['id'] === 'string' ? [item['id']] : [],
  )
}

/** Turns an engine's refusal into ours. Its text may name hosts or quote the prompt, so it stays behind unless it is ours. */
async function rejection(response: HttpResponse, options: OpenAiEngineOptions): Promise<Fault> {
  const { status } = response
  const error = await readError(response)
  const retryAfter = Number(response.headers['retry-after'])
  const retryAfterMs = Number.isFinite(retryAfter) && retryAfter > 0 ? retryAfter * 1_000 : 1_000
  const internal = `the engine answered ${status}`
  if (status === 400 || status === 413 || status === 422) {
    const tooLong =
      error.code === 'context_length_exceeded' || error.type === 'exceed_context_size_error'
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
  if (status === 503) {
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
    const error = isRecord(value) && isRecord(value['error']) ? value['error'] : {}
    const text = (key: string): Record<string, string> =>
      typeof error[key] === 'string' ? { [key]: error[key] } : {}
    return { ...text('message'), ...text('code'), ...text('type'), ...text('param') }
  } catch {
    // An unreadable refusal is still a refusal; the status alone decides.
    return {}
  }
}

async function collect(chunks: AsyncIterable<Buffer>, bytesMax: number): Promise<Buffer> {
  const all: Buffer[] = []
  let bytes = 0
  for await (const chunk of chunks) {
    bytes += chunk.length
    if (bytes > bytesMax) throw invalid(`an answer larger than ${bytesMax} bytes`)
    all.push(chunk)
  }
  return all.length === 1 && all[0] ? all[0] : Buffer.concat(all)
}

function parseEvent(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw invalid('an event that is not JSON')
  }
}

function parseWhole(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    throw invalid('an answer that is not JSON')
  }
}

function toNumber(value: unknown, absent: number): number {
  return typeof value === 'number' ? value : absent
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid(internal: string): Fault {
  return new Fault({
    code: 'upstream.invalid_response',
    public: 'The model server gave an answer that cannot be used. Try again.',
    internal,
  })
}
