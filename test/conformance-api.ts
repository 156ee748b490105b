/**
 * A small API that does everything right, and one thing wrong when told to: a test changes what leaves. It has no model: it counts, makes up
 * the simplest value of a schema, and calls the tools that it must.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Usage {
  prompt_tokens: number
  completion_tokens: number
  total_tokens: number
}
export interface WireCall {
  index: number
  id?: string
  type?: string
  function: { name?: string; arguments: string }
}
export interface Message {
  role?: string
  content?: string | null
  tool_calls?: WireCall[]
}
export interface Choice {
  index: number
  message: Message
  finish_reason: string
  logprobs?: { content: { token: string; logprob: number; top_logprobs: object[] }[] } | null
}
export interface Whole {
  id: string
  object: string
  created: number
  model: string
  choices: Choice[]
  usage?: Usage
}
export interface Chunk {
  id: string
  object: string
  created: number
  model: string
  choices: { index: number; delta: Message; finish_reason: string | null }[]
  usage?: Usage | null
}
export interface Refusal {
  status: number
  error: { message: string; type: string; param: string | null; code: string | null }
}
export interface Schema {
  readonly type?: string
  readonly enum?: readonly unknown[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly minItems?: number
  readonly anyOf?: readonly Schema[]
  readonly $ref?: string
  readonly $defs?: Readonly<Record<string, Schema>>
}
interface Tool {
  readonly function: { readonly name: string; readonly parameters: Schema }
}
export interface Request {
  readonly model?: string
  readonly messages?: readonly { readonly role: string; readonly content: unknown }[]
  readonly max_tokens?: number
  readonly n?: number
  readonly seed?: number
  readonly stream?: boolean
  readonly stream_options?: { readonly include_usage?: boolean }
  readonly stop?: string | readonly string[]
  readonly logprobs?: boolean
  readonly temperature?: unknown
  readonly tools?: readonly Tool[]
  readonly tool_choice?: string | { readonly function: { readonly name: string } }
  readonly parallel_tool_calls?: boolean
  readonly response_format?: {
    readonly type: string
    readonly json_schema?: { readonly name?: string; readonly schema: Schema }
  }
  readonly input?: unknown
  readonly encoding_format?: string
  readonly dimensions?: number
  readonly query?: string
  readonly documents?: unknown
  readonly top_n?: number
}
export interface Embedding {
  index: number
  embedding: number[] | string
}
export interface Ranked {
  index: number
  relevance_score: number
}

/** Each changes what would leave. */
export interface Faults {
  readonly whole?: (answer: Whole, request: Request) => Whole
  readonly chunks?: (chunks: Chunk[], request: Request) => Chunk[]
  /** The stream's text, with all events. */
  readonly streamed?: (text: string) => string | Buffer
  readonly refusal?: (refusal: Refusal) => Refusal
  /** Refusals that are left out. */
  readonly accepts?: 'any key' | 'any model' | 'any length' | 'any field'
  readonly headers?: (headers: Record<string, string>) => Record<string, string>
  readonly dialect?: (answer: Record<string, unknown>, path: string) => Record<string, unknown>
  readonly embeddings?: (data: Embedding[], request: Request) => Embedding[]
  readonly embeddingTokens?: (tokens: number, request: Request) => number
  readonly ranked?: (results: Ranked[], request: Request) => Ranked[]
  readonly listed?: readonly string[]
  /** Nothing is ever answered. */
  readonly isSilent?: boolean
  /** What the model would say, in place of numbers. */
  readonly words?: (request: Request) => readonly string[]
}

export const apiKey = 'the-key'
export const modelName = 'counter'
export const windowTokens = 4_000
const tokensDefault = 64

export interface ScriptedApi {
  /** With `/v1`. */
  readonly url: string
  close(): Promise<void>
}

export async function startApi(faults: Faults = {}): Promise<ScriptedApi> {
  let count = 0
  const server = createServer((request, response) => {
    count += 1
    if (faults.isSilent) return
    void readBody(request).then((text) => answer(request, response, text, { faults, count }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // Listening on TCP, it has a port.
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/v1`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

interface Turn {
  readonly faults: Faults
  /** Of requests, this one included. */
  readonly count: number
}

async function readBody(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = []
  for await (const piece of request) pieces.push(piece)
  return Buffer.concat(pieces).toString()
}

function answer(
  { method = '', url = '', headers }: IncomingMessage,
  response: ServerResponse,
  text: string,
  turn: Turn,
): void {
  const { faults, count } = turn
  const own = {
    'x-request-id': `req_${count}`,
    'x-ratelimit-limit-requests': '100',
    'x-ratelimit-remaining-requests': '99',
    'x-ratelimit-reset-requests': '1m0s',
  }
  for (const [name, value] of Object.entries(faults.headers?.(own) ?? own))
    response.setHeader(name, value)
  const send = (body: unknown): void => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(body))
  }
  try {
    if (headers.authorization !== `Bearer ${apiKey}` && faults.accepts !== 'any key')
      throw new Refused(401, 'invalid_api_key', null)
    if (method === 'GET') send(describe(url, faults))
    else {
      const request = parse(url, text, faults)
      if (url === '/v1/chat/completions' && request.stream) stream(response, request, turn)
      else send(perform(url, request, turn))
    }
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    const { status, error: told } = faults.refusal?.(error.refusal) ?? error.refusal
    response.statusCode = status
    send({ error: told })
  }
}

class Refused extends Error {
  readonly refusal: Refusal
  constructor(status: number, code: string | null, param: string | null, message = 'No.') {
    super(message)
    this.refusal = { status, error: { message, type: 'invalid_request_error', param, code } }
  }
}

function describe(url: string, { listed = [modelName] }: Faults): unknown {
  const entry = { id: modelName, object: 'model', context_window: windowTokens, capabilities: [] }
  return url === '/v1/models' ? { data: listed.map((id) => ({ ...entry, id })) } : entry
}

function parse(url: string, text: string, { accepts }: Faults): Request {
  let request: Request
  try {
    request = JSON.parse(text)
  } catch {
    throw new Refused(400, 'invalid_json', null)
  }
  if (request.model !== modelName && accepts !== 'any model')
    throw new Refused(404, 'model_not_found', 'model')
  const wrong = wrongField(url, request)
  if (wrong !== undefined && accepts !== 'any field') throw new Refused(400, null, wrong)
  const read = wordsOf([request.messages, request.input])
  if (read > windowTokens && accepts !== 'any length') {
    const message = `The window is ${windowTokens} tokens, and these are ${read}.`
    throw new Refused(400, 'context_length_exceeded', 'messages', message)
  }
  return request
}

function wrongField(url: string, request: Request): string | undefined {
  if (typeof request.temperature === 'string') return 'temperature'
  if (url === '/v1/embeddings' && typeof request.input === 'number') return 'input'
  if (request.documents !== undefined && !Array.isArray(request.documents)) return 'documents'
  return undefined
}

/** A word is a token. */
function wordsOf(value: unknown): number {
  return JSON.stringify(value ?? '').split(/\s+/).length
}

function perform(url: string, request: Request, { faults, count }: Turn): unknown {
  if (url === '/v1/chat/completions') return whole(request, count, faults)
  if (url === '/v1/embeddings') return embeddings(request, faults)
  if (url.endsWith('/rerank')) return { results: rerank(request, faults) }
  const dialect = dialects[url]
  if (!dialect) throw new Refused(404, 'unknown_url', null)
  return faults.dialect?.(dialect, url) ?? dialect
}

const dialects: Readonly<Record<string, Record<string, unknown>>> = {
  '/v1/responses': {
    object: 'response',
    id: 'resp_1',
    status: 'completed',
    output: [{ type: 'message', content: [{ type: 'output_text', text: '1' }] }],
    usage: { input_tokens: 2, output_tokens: 1, total_tokens: 3 },
  },
  '/v1/messages': {
    type: 'message',
    id: 'msg_1',
    role: 'assistant',
    content: [{ type: 'text', text: '1' }],
    stop_reason: 'end_turn',
    usage: { input_tokens: 2, output_tokens: 1 },
  },
  '/v1/completions': {
    object: 'text_completion',
    id: 'cmpl-1',
    choices: [{ index: 0, text: '1', finish_reason: 'length' }],
    usage: { prompt_tokens: 2, completion_tokens: 8, total_tokens: 10 },
  },
}

function whole(request: Request, count: number, faults: Faults): Whole {
  const choices = Array.from({ length: request.n ?? 1 }, (_, index) =>
    choose(request, index, faults),
  )
  const completion = choices.reduce((sum, { tokens }) => sum + tokens, 0)
  const prompt = wordsOf(request.messages)
  const made: Whole = {
    id: `chatcmpl-${count}`,
    object: 'chat.completion',
    created: 1_700_000_000,
    model: modelName,
    choices: choices.map(({ choice }) => choice),
    usage: {
      prompt_tokens: prompt,
      completion_tokens: completion,
      total_tokens: prompt + completion,
    },
  }
  return faults.whole?.(made, request) ?? made
}

function choose(
  request: Request,
  index: number,
  faults: Faults,
): { readonly choice: Choice; readonly tokens: number } {
  const calls = callsOf(request)
  if (calls.length > 0) {
    const isNamed = typeof request.tool_choice === 'object'
    const message = { role: 'assistant', content: null, tool_calls: calls }
    return { choice: { index, message, finish_reason: isNamed ? 'stop' : 'tool_calls' }, tokens: 9 }
  }
  const format = request.response_format
  const schema = format?.json_schema?.schema ?? { type: 'object', properties: {} }
  if (format) {
    const content = JSON.stringify(exampleOf(schema, schema))
    return {
      choice: { index, message: { role: 'assistant', content }, finish_reason: 'stop' },
      tokens: 9,
    }
  }
  const { words, finish } = speak(request, faults)
  const logprobs = request.logprobs && {
    content: words.map((token) => ({
      token,
      logprob: -1,
      top_logprobs: [{ token, logprob: -1 }],
    })),
  }
  const message = { role: 'assistant', content: words.join(' ') }
  return {
    choice: { index, message, finish_reason: finish, logprobs: logprobs || null },
    tokens: words.length,
  }
}

function speak(request: Request, faults: Faults): { words: readonly string[]; finish: string } {
  const said =
    faults.words?.(request) ?? Array.from({ length: 100 }, (_, index) => String(index + 1))
  const limited = said.slice(0, request.max_tokens ?? tokensDefault)
  const text = limited.join(' ')
  const stops = [request.stop ?? []].flat()
  const cut = Math.min(...stops.map((stop) => text.indexOf(stop)).filter((place) => place >= 0))
  if (Number.isFinite(cut)) return { words: text.slice(0, cut).split(' '), finish: 'stop' }
  return { words: limited, finish: limited.length < said.length ? 'length' : 'stop' }
}

function callsOf({ tools = [], tool_choice: choice, parallel_tool_calls: parallel }: Request) {
  if (tools.length === 0 || choice === 'none') return []
  const named = tools.filter(
    (tool) => typeof choice !== 'object' || tool.function.name === choice.function.name,
  )
  return named.slice(0, parallel ? named.length : 1).map((tool, index): WireCall => {
    const { name, parameters } = tool.function
    const values = JSON.stringify(exampleOf(parameters, parameters))
    return { index, id: `call_${index}`, type: 'function', function: { name, arguments: values } }
  })
}

function exampleOf(schema: Schema, root: Schema): unknown {
  if (schema.enum) return schema.enum[0]
  if (schema.$ref) return exampleOf(root.$defs?.[schema.$ref.split('/').at(-1) ?? ''] ?? {}, root)
  if (schema.anyOf) return exampleOf(schema.anyOf[0] ?? {}, root)
  if (schema.type === 'array')
    return Array.from({ length: schema.minItems ?? 0 }, () => exampleOf(schema.items ?? {}, root))
  if (schema.type === 'object') {
    const fields = Object.entries(schema.properties ?? {})
    return Object.fromEntries(fields.map(([name, field]) => [name, exampleOf(field, root)]))
  }
  return schema.type === 'boolean' ? true : schema.type === 'integer' ? 1 : null
}

function stream(response: ServerResponse, request: Request, { faults, count }: Turn): void {
  response.setHeader('content-type', 'text/event-stream')
  const made = whole(request, count, faults.words ? { words: faults.words } : {})
  const chunks = made.choices.flatMap((choice) =>
    piecesOf(choice).map((piece) => ({ ...head(made), choices: [piece] })),
  )
  const { include_usage: isUsageWanted } = request.stream_options ?? {}
  const sent: Chunk[] = isUsageWanted
    ? [
        ...chunks.map((chunk) => ({ ...chunk, usage: null })),
        { ...head(made), choices: [], usage: made.usage ?? null },
      ]
    : chunks
  const events = (faults.chunks?.(sent, request) ?? sent).map(
    (chunk) => `data: ${JSON.stringify(chunk)}\n\n`,
  )
  const text = `${events.join('')}data: [DONE]\n\n`
  response.end(faults.streamed?.(text) ?? text)
}

function head({ id, created, model }: Whole): Omit<Chunk, 'choices'> {
  return { id, object: 'chat.completion.chunk', created, model }
}

function piecesOf({ index, message, finish_reason: reason }: Choice): Chunk['choices'] {
  const piece = (delta: Message, finish: string | null = null): Chunk['choices'][number] => ({
    index,
    delta,
    finish_reason: finish,
  })
  const calls = message.tool_calls ?? []
  return [
    piece({ role: 'assistant', content: '' }),
    ...(message.content ?? '').split(/(?<= )/).map((content) => piece({ content })),
    ...calls.flatMap(({ function: called, ...call }) => [
      piece({ tool_calls: [{ ...call, function: { ...called, arguments: '' } }] }),
      ...called.arguments
        .split(/(?<=,)/)
        .map((text) =>
          piece({ tool_calls: [{ index: call.index, function: { arguments: text } }] }),
        ),
    ]),
    piece({}, reason),
  ]
}

const dimensionsFull = 8

function embeddings(request: Request, faults: Faults): unknown {
  const inputs = Array.isArray(request.input) ? request.input : [request.input]
  const data = inputs.map((input, index): Embedding => {
    const vector = vectorOf(JSON.stringify(input), request.dimensions ?? dimensionsFull)
    return { index, embedding: vector }
  })
  const tokens = inputs.reduce((sum: number, input) => sum + wordsOf(input), 0)
  const counted = faults.embeddingTokens?.(tokens, request) ?? tokens
  return {
    object: 'list',
    data: (faults.embeddings?.(data, request) ?? data).map((each) => encode(each, request)),
    usage: { prompt_tokens: counted, total_tokens: counted },
  }
}

function encode(each: Embedding, request: Request): Embedding {
  if (request.encoding_format === 'float' || typeof each.embedding === 'string') return each
  const bytes = Buffer.from(new Float32Array(each.embedding).buffer)
  return { ...each, embedding: bytes.toString('base64') }
}

function vectorOf(text: string, dimensions: number): number[] {
  const sums = Array.from({ length: dimensions }, () => 0)
  for (const [place, byte] of Buffer.from(text).entries()) {
    const at = (byte * (place + 1)) % dimensions
    sums[at] = (sums[at] ?? 0) + (byte % 7) + 1
  }
  const length = Math.hypot(...sums)
  return sums.map((value) => value / length)
}

function rerank(request: Request, faults: Faults): Ranked[] {
  const asked = new Set(request.query?.toLowerCase().match(/\w{4,}/g))
  // The body was checked: it is a list.
  const documents = request.documents as readonly string[]
  const ranked = documents
    .map((text, index) => {
      const shared =
        text
          .toLowerCase()
          .match(/\w{4,}/g)
          ?.filter((word) => asked.has(word)) ?? []
      return { index, relevance_score: Math.min(1, shared.length / 4) }
    })
    .toSorted((a, b) => b.relevance_score - a.relevance_score)
    .slice(0, request.top_n)
  return faults.ranked?.(ranked, request) ?? ranked
}
