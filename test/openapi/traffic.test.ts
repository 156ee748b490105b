/** The judge of traffic judges right: what fits passes, and each kind of deviation is caught. */
import { expect, test } from 'vitest'
import type { ObservedExchange } from './exchange.ts'
import { judgePublished } from './published.ts'

const judge = await judgePublished()

const common = {
  'x-request-id': 'req_1',
  'request-id': 'req_1',
  'openai-version': '2020-10-01',
  'openai-processing-ms': '5',
  'x-content-type-options': 'nosniff',
  date: 'today',
}
const json = { ...common, 'content-type': 'application/json' }
const usage = {
  prompt_tokens: 1,
  completion_tokens: 1,
  total_tokens: 2,
  prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
  completion_tokens_details: {
    reasoning_tokens: 0,
    audio_tokens: 0,
    accepted_prediction_tokens: 0,
    rejected_prediction_tokens: 0,
  },
}
const choice = {
  index: 0,
  message: { role: 'assistant', content: 'Hi', refusal: null },
  logprobs: null,
  finish_reason: 'stop',
}
const chat = {
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'm',
  choices: [choice],
  usage,
  service_tier: 'default',
  system_fingerprint: 'fp',
}
const question = { model: 'm', messages: [{ role: 'user', content: 'Hi' }] }

interface Change {
  readonly path?: string
  readonly method?: string
  readonly request?: unknown
  readonly requestType?: string
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly answer?: unknown
}

function exchange(change: Change = {}): ObservedExchange {
  const answer = change.answer ?? chat
  return {
    method: change.method ?? 'POST',
    path: change.path ?? '/v1/chat/completions',
    requestHeaders: { 'content-type': change.requestType ?? 'application/json' },
    requestBody: Buffer.from(JSON.stringify(change.request ?? question)),
    status: change.status ?? 200,
    headers: change.headers ?? json,
    body: Buffer.from(typeof answer === 'string' ? answer : JSON.stringify(answer)),
    isWhole: true,
  }
}

const failure = {
  error: { message: 'No.', type: 'invalid_request_error', param: null, code: null },
}
const { usage: _usage, ...withoutUsage } = chat
const { 'x-request-id': _id, ...withoutId } = json

test('what is described passes, and is noted', async () => {
  expect(await judge.judge(exchange())).toEqual([])
  expect(judge.seen).toContain('POST /v1/chat/completions 200 application/json')
  expect(await judge.judge(exchange({ status: 400, answer: failure }))).toEqual([])
})

test.each<[string, Change, string]>([
  ['a missing field', { answer: withoutUsage }, "must have required property 'usage'"],
  ['a wrong type', { answer: { ...chat, created: 'now' } }, '/created must be integer'],
  ['a fraction for a whole number', { answer: { ...chat, created: 1.5 } }, 'must be integer'],
  ['a field that nobody described', { answer: { ...chat, engine: 'x' } }, '(engine)'],
  ['another object', { answer: { ...chat, object: 'chat' } }, '/object must be equal to constant'],
  [
    'an unknown reason',
    { answer: { ...chat, choices: [{ ...choice, finish_reason: 'done' }] } },
    '/choices/0/finish_reason',
  ],
  ['no JSON', { answer: 'oops' }, 'the body is not JSON'],
  ['an error without its code', { status: 400, answer: { error: { message: 'x' } } }, "'code'"],
  ['a status that is not described', { status: 418 }, 'the status 418 is not described'],
  ['a missing header', { headers: withoutId }, 'the header x-request-id is missing'],
  ['a wrong header', { headers: { ...json, 'x-request-id': 'no id' } }, 'the header x-request-id'],
  [
    'a header that nobody described',
    { headers: { ...json, server: 'x' } },
    'server is not described',
  ],
  [
    'another content type',
    { headers: { ...common, 'content-type': 'text/html' } },
    'the content type text/html is not described',
  ],
  ['an unknown address that is answered', { path: '/v1/nothing' }, 'it is not described'],
  ['an unknown method that is answered', { method: 'PUT' }, 'it is not described'],
  ['an accepted request without its model', { request: { messages: [] } }, 'the accepted body'],
  [
    'an accepted request of another type',
    { requestType: 'text/plain' },
    'accepted with the content type text/plain',
  ],
])('%s is caught', async (_what, change, complaint) => {
  const complaints = await judge.judge(exchange(change))
  expect(complaints.join('\n')).toContain(complaint)
})

test('a refused request may be anything', async () => {
  expect(await judge.judge(exchange({ request: 5, status: 400, answer: failure }))).toEqual([])
})

const chunk = {
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'm',
  system_fingerprint: 'fp',
  choices: [{ index: 0, delta: { content: 'Hi' }, logprobs: null, finish_reason: null }],
}
const event = (data: unknown): string => `data: ${JSON.stringify(data)}\n\n`
const done = 'data: [DONE]\n\n'
const stream = (answer: string, isWhole = true): ObservedExchange => ({
  ...exchange({
    answer,
    headers: {
      ...common,
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
    },
  }),
  isWhole,
})

test.each([
  ['a whole stream', stream(event(chunk) + done)],
  ['a stream with comments', stream(`: keep-alive\n\n${event(chunk)}${done}`)],
  ['a stream that says that it failed', stream(event(chunk) + event(failure))],
  ['a stream that its client left', stream(`${event(chunk)}data: {"id":`, false)],
])('%s passes', async (_what, observed) => {
  expect(await judge.judge(observed)).toEqual([])
})

test.each([
  ['a stream without an end', stream(event(chunk)), 'the stream has no end'],
  ['an event after the end', stream(done + event(chunk)), 'event 1 comes after the end'],
  ['an event that is no JSON', stream(`data: hello\n\n${done}`), 'event 0 is not JSON'],
  [
    'an event with a wrong field',
    stream(event(chunk) + event({ ...chunk, model: 5 }) + done),
    'event 1: /model must be string',
  ],
  ['a name where none is described', stream(`event: x\n${event(chunk)}${done}`), 'has the name x'],
])('%s is caught', async (_what, observed, complaint) => {
  expect((await judge.judge(observed)).join('\n')).toContain(complaint)
})

test('messages of sockets are judged on both sides', () => {
  const path = '/v1/realtime'
  expect(judge.judgeMessage(path, 'client', '{"type":"input_audio_buffer.clear"}')).toEqual([])
  expect(judge.judgeMessage(path, 'client', '{"type":"dance"}')).not.toEqual([])
  const cleared = { event_id: 'event_1', type: 'input_audio_buffer.cleared' }
  expect(judge.judgeMessage(path, 'server', JSON.stringify(cleared))).toEqual([])
  expect(judge.judgeMessage(path, 'server', JSON.stringify({ ...cleared, x: 1 }))).not.toEqual([])
  expect(judge.judgeMessage('/v1/models', 'server', '{}')).not.toEqual([])
})
