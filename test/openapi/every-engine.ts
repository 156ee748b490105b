/** One engine for every task, in OpenAI's dialect. It fails when it is told to, by a word in what it reads. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { moderationCategories } from '../../src/gateway/wire/openai/moderations.ts'

export interface EveryEngine {
  readonly url: string
  close(): Promise<void>
}

/** Words that make it fail: before it answers, and in the middle of a stream. */
export const busyWord = 'BUSY'
export const brokenWord = 'BROKEN'
export const cutWord = 'CUT'

type Body = Readonly<Record<string, unknown>>

const usage = { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 }
const png = Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), Buffer.alloc(64, 7)])

export async function startEveryEngine(): Promise<EveryEngine> {
  const server = createServer((request, response) => void answer(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString('utf8')
  if (text.includes(busyWord)) return json(response, { error: { message: 'busy' } }, 429)
  if (text.includes(brokenWord)) return json(response, { error: { message: 'broken' } }, 500)
  const path = request.url ?? ''
  if (path.startsWith('/v1/audio/trans')) return transcribe(text, response)
  const body = text === '' ? {} : (JSON.parse(text) as Body)
  const reply = replies[path]
  if (reply) reply(body, response)
  else json(response, { data: [] })
}

const replies: Readonly<Record<string, (body: Body, response: ServerResponse) => void>> = {
  '/v1/chat/completions': chat,
  '/v1/completions': complete,
  '/v1/embeddings': (body, response) =>
    json(response, {
      data: listOf(body['input']).map((_, index) => ({ index, embedding: [0.6, 0.8] })),
      usage: { prompt_tokens: 4, total_tokens: 4 },
    }),
  '/v1/rerank': (body, response) =>
    json(response, {
      results: listOf(body['documents']).map((_, index) => ({ index, relevance_score: 0.5 })),
      usage: { prompt_tokens: 4, total_tokens: 4 },
    }),
  '/v1/moderations': (body, response) =>
    json(response, {
      results: listOf(body['input']).map(() => ({
        flagged: false,
        categories: Object.fromEntries(moderationCategories.map((name) => [name, false])),
        category_scores: Object.fromEntries(moderationCategories.map((name) => [name, 0.1])),
      })),
      usage,
    }),
  '/v1/audio/speech': (_body, response) =>
    void response.setHeader('content-type', 'audio/mpeg').end(Buffer.alloc(1_000, 1)),
  '/v1/images/generations': (body, response) =>
    json(response, {
      data: Array.from({ length: Number(body['n']) }, () => ({
        b64_json: png.toString('base64'),
        revised_prompt: 'better',
      })),
    }),
}

/** Thinks, speaks, and calls a tool where it was offered one. */
function chat(body: Body, response: ServerResponse): void {
  const choices = Array.from({ length: Number(body['n'] ?? 1) }, (_, index) => index)
  const [tool] = listOf(body['tools']) as { readonly function: { readonly name: string } }[]
  const call = tool && { name: tool.function.name, arguments: '{"input":"Lisbon"}' }
  const finishReason = call ? 'tool_calls' : 'stop'
  const entry = { token: 'Hi', logprob: -0.1, bytes: [72, 105], top_logprobs: [] }
  const logprobs = body['logprobs'] === true ? { content: [entry] } : null
  if (body['stream'] !== true) {
    const message = {
      role: 'assistant',
      content: 'Hi',
      reasoning_content: 'Hm.',
      ...(call && { tool_calls: [{ id: 'call_1', type: 'function', function: call }] }),
    }
    const each = { message, logprobs, finish_reason: finishReason }
    return json(response, { choices: choices.map((index) => ({ index, ...each })), usage })
  }
  const say = startEvents(response)
  const delta = (index: number, change: object, more: object = {}): void =>
    say({ choices: [{ index, delta: change, finish_reason: null, ...more }] })
  for (const index of choices) {
    delta(index, { role: 'assistant', reasoning_content: 'Hm.' })
    delta(index, { content: 'Hi' }, { logprobs })
    if (JSON.stringify(body['messages']).includes(cutWord)) {
      // What was said before arrives.
      response.write('\n', () => response.destroy())
      return
    }
    if (call) {
      const named = { name: call.name, arguments: '' }
      delta(index, { tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: named }] })
      delta(index, { tool_calls: [{ index: 0, function: { arguments: call.arguments } }] })
    }
    delta(index, {}, { finish_reason: finishReason })
  }
  say({ choices: [], usage })
  response.end('data: [DONE]\n\n')
}

function complete(body: Body, response: ServerResponse): void {
  const prompt: unknown = body['prompt']
  const isList = Array.isArray(prompt) && typeof prompt[0] !== 'number'
  const count = (isList ? prompt.length : 1) * Number(body['n'] ?? 1)
  const logprobs =
    typeof body['logprobs'] === 'number'
      ? { tokens: ['Hi'], token_logprobs: [-0.1], top_logprobs: [{ Hi: -0.1 }], text_offset: [0] }
      : null
  const choices = Array.from({ length: count }, (_, index) => ({
    index,
    text: 'Hi',
    logprobs,
    finish_reason: 'length',
  }))
  if (body['stream'] !== true) return json(response, { choices, usage })
  const say = startEvents(response)
  for (const choice of choices) say({ choices: [choice] })
  say({ choices: [], usage })
  response.end('data: [DONE]\n\n')
}

function transcribe(form: string, response: ServerResponse): void {
  if (form.includes('name="stream"')) {
    const say = startEvents(response)
    say({ type: 'transcript.text.delta', delta: 'Hello.' })
    say({ type: 'transcript.text.done', text: 'Hello.' })
    response.end()
    return
  }
  const words = [{ word: 'Hello.', start: 0, end: 0.5 }]
  const segments = [{ id: 0, start: 0, end: 0.5, text: 'Hello.' }]
  json(response, { text: 'Hello.', language: 'en', duration: 1, segments, words })
}

function startEvents(response: ServerResponse): (event: unknown) => void {
  response.setHeader('content-type', 'text/event-stream')
  return (event) => void response.write(`data: ${JSON.stringify(event)}\n\n`)
}

function json(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

/** A single input stands for a list of one. */
function listOf(value: unknown): readonly unknown[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) return [value]
  return typeof value[0] === 'number' ? [value] : value
}
