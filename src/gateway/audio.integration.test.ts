/** Audio and images through OpenAI's own client, over real PostgreSQL and the real journal. */
import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  gatewayForTests,
  toEvent,
  type EngineHears,
  type EngineSays,
  type GatewayForTests,
} from '../../test/gateway-for-tests.ts'
import { toWav } from './audio/wav-writer.ts'

let gateway: GatewayForTests
let client: OpenAI
/** What the engine was asked last. */
let heard: EngineHears

beforeAll(async () => {
  const hears = { category: 'audio', capabilities: ['transcription'] } as const
  const speaks = { category: 'audio', capabilities: ['speech'] } as const
  const paints = { category: 'image', prices: { image: 40_000_000n } } as const
  const minute = { audio_minute: 10_000_000n }
  const character = { character: 15_000n }
  gateway = await gatewayForTests({
    script: answer,
    models: [
      { id: 'hearer', ...hears, prices: minute },
      { id: 'broken-hearer', ...hears, prices: minute },
      { id: 'wordless-hearer', ...hears, prices: minute },
      { id: 'speaker', ...speaks, prices: character },
      { id: 'broken-speaker', ...speaks, prices: character },
      { id: 'unpriced-speaker', ...speaks, prices: minute },
      { id: 'painter', ...paints },
      { id: 'broken-painter', ...paints },
    ],
  })
  client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: gateway.key, maxRetries: 0 })
}, 120_000)

afterAll(() => gateway?.close())

function answer(asked: EngineHears): EngineSays {
  heard = asked
  if (asked.form) return transcribe(asked.form)
  return asked.path === '/v1/audio/speech' ? speak(asked.body) : paint(asked.body)
}

const segments = [
  {
    id: 0,
    start: 0,
    end: 1.5,
    text: ' Hello there.',
    avg_logprob: -0.25,
    no_speech_prob: 0.01,
    compression_ratio: 1.1,
    temperature: 0,
  },
  { id: 1, start: 1.5, end: 3_601.25, text: ' General --> Kenobi.' },
]
const words = [
  { word: 'Hello', start: 0, end: 0.5 },
  { word: 'there.', start: 0.5, end: 1.5 },
  { word: 'General', start: 1.5, end: 2 },
  { word: 'Kenobi.', start: 2, end: 3 },
]

function transcribe({ fields }: NonNullable<EngineHears['form']>): EngineSays {
  const field = (name: string): string | undefined => fields.get(name)?.[0]
  if (field('stream') === 'true') {
    const isBroken = field('model') === 'broken-hearer'
    return {
      pieces: [
        { type: 'transcript.text.delta', delta: 'Hello' },
        { type: 'transcript.text.delta', delta: ' there.' },
        ...(isBroken ? [] : [{ type: 'transcript.text.done', text: 'Hello there.' }]),
      ].map(toEvent),
    }
  }
  const text = ' Hello there. General Kenobi.'
  if (field('response_format') !== 'verbose_json') return { body: { text } }
  const canTime = field('model') !== 'wordless-hearer'
  const withWords = canTime && fields.get('timestamp_granularities')?.includes('word') === true
  const whole = { text, language: 'en', duration: 1, segments }
  return { body: withWords ? { ...whole, words } : whole }
}

function speak(body: EngineHears['body']): EngineSays {
  return {
    headers: { 'content-type': body['response_format'] === 'wav' ? 'audio/x-wav' : 'audio/mpeg' },
    pieces: [Buffer.alloc(1_000, 1), Buffer.alloc(500, 2)],
    ending: body['model'] === 'broken-speaker' ? 'cut' : 'whole',
  }
}

const png = Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), Buffer.alloc(64, 7)])

function paint(body: EngineHears['body']): EngineSays {
  const bytes = body['model'] === 'broken-painter' ? Buffer.from('<html>') : png
  const image = { b64_json: bytes.toString('base64'), revised_prompt: 'a better prompt' }
  const data = Array.from({ length: Number(body['n']) }, () => image)
  return { body: { created: 1, data } }
}

const silence = (seconds: number): Buffer =>
  toWav(Buffer.alloc(Math.round(seconds * 8_000) * 2), 8_000)
const wavFile = (seconds: number): Promise<File> =>
  toFile(silence(seconds), 'speech.wav') as Promise<File>

test('a transcription is the text, and its usage is the length that was measured and billed', async () => {
  const { data, response } = await client.audio.transcriptions
    .create({
      file: await wavFile(90),
      model: 'hearer',
      language: 'en',
      prompt: 'names: Kenobi',
      temperature: 0,
    })
    .withResponse()
  expect(data).toEqual({
    text: 'Hello there. General Kenobi.',
    usage: { type: 'duration', seconds: 90 },
  })
  expect(await gateway.billed(response.headers.get('x-request-id'))).toMatchObject({
    outcome: 'completed',
    endpoint: '/v1/audio/transcriptions',
    amount_nanos: 20_000_000n,
  })
  const { form } = heard
  expect(form?.files[0]?.bytes.equals(silence(90))).toBe(true)
  expect(form?.files[0]?.fileName).toBe('audio.wav')
  expect(Object.fromEntries(form?.fields ?? [])).toEqual({
    model: ['hearer'],
    response_format: ['json'],
    language: ['en'],
    prompt: ['names: Kenobi'],
    temperature: ['0'],
  })
})

test('the text formats come as plain text', async () => {
  const create = async (format: 'text' | 'srt' | 'vtt'): Promise<unknown> =>
    client.audio.transcriptions.create({
      file: await wavFile(1),
      model: 'hearer',
      response_format: format,
    })
  expect(await create('text')).toBe('Hello there. General Kenobi.\n')
  expect(await create('srt')).toBe(
    '1\n00:00:00,000 --> 00:00:01,500\nHello there.\n\n2\n00:00:01,500 --> 01:00:01,250\nGeneral -> Kenobi.\n\n',
  )
  expect(await create('vtt')).toBe(
    'WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello there.\n\n00:00:01.500 --> 01:00:01.250\nGeneral -> Kenobi.\n\n',
  )
})

test('verbose JSON has segments and words as they were asked for, and our length', async () => {
  const create = async (granularities?: ('word' | 'segment')[]) =>
    client.audio.transcriptions.create({
      file: await wavFile(2),
      model: 'hearer',
      response_format: 'verbose_json',
      ...(granularities && { timestamp_granularities: granularities }),
    })
  const plain = await create()
  expect(plain).toMatchObject({ language: 'english', duration: 2, usage: { seconds: 2 } })
  expect(plain.segments?.[0]).toMatchObject({ id: 0, start: 0, end: 1.5, avg_logprob: -0.25 })
  expect(plain.words).toBeUndefined()
  const both = await create(['word', 'segment'])
  expect(both.segments).toHaveLength(2)
  expect(both.words).toEqual(words)
  const onlyWords = await create(['word'])
  expect(onlyWords.segments).toBeUndefined()
  expect(onlyWords.words).toEqual(words)
})

test('words that an engine cannot time are refused, and cost nothing', async () => {
  const refused = client.audio.transcriptions.create({
    file: await wavFile(2),
    model: 'wordless-hearer',
    response_format: 'verbose_json',
    timestamp_granularities: ['word'],
  })
  const error = await refused.catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ status: 400, param: 'timestamp_granularities' })
  expect(await gateway.billed((error as { requestID: string }).requestID)).toMatchObject({
    outcome: 'voided',
    amount_nanos: 0n,
  })
})

test('a streamed transcription ends with the whole text and its usage', async () => {
  const stream = await client.audio.transcriptions.create({
    file: await wavFile(61),
    model: 'hearer',
    stream: true,
  })
  const events = []
  for await (const event of stream) events.push(event)
  expect(events).toEqual([
    { type: 'transcript.text.delta', delta: 'Hello' },
    { type: 'transcript.text.delta', delta: ' there.' },
    {
      type: 'transcript.text.done',
      text: 'Hello there.',
      usage: { type: 'duration', seconds: 61 },
    },
  ])
})

test('a streamed transcription that breaks off has an error and no end', async () => {
  const response = await postForm('/v1/audio/transcriptions', [
    ['stream', 'true'],
    ['model', 'broken-hearer'],
    ['file', new Blob([new Uint8Array(silence(1))])],
  ])
  const text = await response.text()
  expect(text).toContain('transcript.text.delta')
  expect(text).toContain('"error":{')
  expect(text).not.toContain('transcript.text.done')
})

test('a recording that costs more than is left is refused before any engine hears of it, a shorter one is not', async () => {
  // A minute's worth.
  const { secret } = await gateway.makeKey({ rules: [{ measure: 'amount', limit: 10_000_000n }] })
  const poor = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: secret, maxRetries: 0 })
  const hear = async (seconds: number) =>
    poor.audio.transcriptions.create({ file: await wavFile(seconds), model: 'hearer' })
  gateway.heard()
  await expect(hear(61)).rejects.toMatchObject({ status: 429, code: 'insufficient_quota' })
  expect(gateway.heard()).toEqual([])
  expect((await hear(60)).text).toBe('Hello there. General Kenobi.')
  await expect(hear(1)).rejects.toMatchObject({ status: 429, code: 'insufficient_quota' })
})

test('a translation says that it is one, and is billed alike', async () => {
  const { data, response } = await client.audio.translations
    .create({ file: await wavFile(1), model: 'hearer', response_format: 'verbose_json' })
    .withResponse()
  expect(data).toMatchObject({ task: 'translate', language: 'english', duration: 1 })
  expect(heard.path).toBe('/v1/audio/translations')
  expect(await gateway.billed(response.headers.get('x-request-id'))).toMatchObject({
    amount_nanos: 10_000_000n,
  })
})

async function postForm(
  path: string,
  fields: readonly (readonly [name: string, value: string | Blob])[],
): Promise<Response> {
  const form = new FormData()
  for (const [name, value] of fields) {
    if (typeof value === 'string') form.append(name, value)
    else form.append(name, value, 'sound.bin')
  }
  return gateway.post(path, form)
}

const sound = (): Blob => new Blob([new Uint8Array(silence(1))])

test('the fields of the form may come in any order, and unknown ones are tolerated', async () => {
  const fields: readonly (readonly [string, string | Blob])[] = [
    ['file', sound()],
    ['model', 'hearer'],
    ['include[]', 'logprobs'],
    ['chunking_strategy', 'auto'],
    ['something_new', 'x'],
    ['language', ''],
  ]
  for (const order of [fields, fields.toReversed()]) {
    const response = await postForm('/v1/audio/transcriptions', order)
    expect(response.status).toBe(200)
  }
})

test('a repeated form is the same request, although its boundary is another; another recording is not', async () => {
  const send = async (seconds: number, language: string) => {
    const form = new FormData()
    form.append('model', 'hearer')
    form.append('language', language)
    form.append('file', new Blob([new Uint8Array(silence(seconds))]), 'sound.wav')
    const headers = { 'idempotency-key': 'form-1' }
    return gateway.post('/v1/audio/transcriptions', form, { headers })
  }
  const first = await send(1, 'en')
  expect([first.status, first.headers.get('idempotency-replayed')]).toEqual([200, null])
  // Until its bill has arrived, the first one counts as under way.
  await gateway.billed(first.headers.get('x-request-id'))
  const second = await send(1, 'en')
  expect([second.status, second.headers.get('idempotency-replayed')]).toEqual([200, 'true'])
  expect((await send(2, 'en')).status).toBe(422)
  expect((await send(1, 'de')).status).toBe(422)
})

const refusedForms: readonly {
  name: string
  fields: () => readonly (readonly [string, string | Blob])[]
  status: number
  param: string | null
}[] = [
  {
    name: 'a file that is no recording',
    fields: () => [
      ['model', 'hearer'],
      ['file', new Blob(['not a sound'])],
    ],
    status: 400,
    param: 'file',
  },
  { name: 'no file', fields: () => [['model', 'hearer']], status: 400, param: 'file' },
  { name: 'no model', fields: () => [['file', sound()]], status: 400, param: 'model' },
  {
    name: 'a file above 25 MiB',
    fields: () => [
      ['model', 'hearer'],
      ['file', new Blob([new Uint8Array(25 * 1024 * 1024 + 1)])],
    ],
    status: 413,
    param: 'file',
  },
  {
    name: 'a recording that is too long',
    fields: () => [
      ['model', 'hearer'],
      ['file', new Blob([new Uint8Array(toWav(Buffer.alloc(4_000_000), 100))])],
    ],
    status: 400,
    param: 'file',
  },
  {
    name: 'an unknown format',
    fields: () => [
      ['model', 'hearer'],
      ['file', sound()],
      ['response_format', 'diarized_json'],
    ],
    status: 400,
    param: 'response_format',
  },
  {
    name: 'word times without verbose JSON',
    fields: () => [
      ['model', 'hearer'],
      ['file', sound()],
      ['timestamp_granularities[]', 'word'],
    ],
    status: 400,
    param: 'timestamp_granularities',
  },
  {
    name: 'a model that speaks',
    fields: () => [
      ['model', 'speaker'],
      ['file', sound()],
    ],
    status: 400,
    param: 'model',
  },
]
for (const { name, fields, status, param } of refusedForms) {
  test(`a transcription is refused, and no engine hears of it: ${name}`, async () => {
    gateway.heard()
    const response = await postForm('/v1/audio/transcriptions', fields())
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({ error: { param } })
    expect(gateway.heard()).toEqual([])
  })
}

test('speech is the file as the engine made it, with its type, billed by the character', async () => {
  const response = await client.audio.speech.create({
    model: 'speaker',
    voice: 'alloy',
    input: 'Grüße 👋',
    speed: 1.5,
  })
  expect(response.headers.get('content-type')).toBe('audio/mpeg')
  const bytes = Buffer.from(await response.arrayBuffer())
  expect(bytes.equals(Buffer.concat([Buffer.alloc(1_000, 1), Buffer.alloc(500, 2)]))).toBe(true)
  expect(heard.body).toEqual({
    model: 'speaker',
    input: 'Grüße 👋',
    voice: 'alloy',
    response_format: 'mp3',
    speed: 1.5,
  })
  expect(await gateway.billed(response.headers.get('x-request-id'))).toMatchObject({
    outcome: 'completed',
    amount_nanos: 7n * 15_000n,
  })
})

test('speech in another format has the type of that format', async () => {
  const response = await client.audio.speech.create({
    model: 'speaker',
    voice: { id: 'voice_1' },
    input: 'a',
    response_format: 'wav',
  })
  expect(response.headers.get('content-type')).toBe('audio/wav')
  await response.arrayBuffer()
})

test('speech as events has the pieces and a usage', async () => {
  const response = await client.audio.speech.create({
    model: 'speaker',
    voice: 'alloy',
    input: 'abc',
    stream_format: 'sse',
  })
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  const events = (await response.text())
    .trim()
    .split('\n\n')
    .map((text) => JSON.parse(text.replace(/^event: .*\ndata: /, '')) as Record<string, unknown>)
  const pieces = events
    .filter((event) => event['type'] === 'speech.audio.delta')
    .map((event) => Buffer.from(String(event['audio']), 'base64'))
  expect(Buffer.concat(pieces)).toHaveLength(1_500)
  expect(events.at(-1)).toMatchObject({
    type: 'speech.audio.done',
    usage: { total_tokens: 0, characters: 3 },
  })
})

test('speech that breaks off never looks whole', async () => {
  const body = { model: 'broken-speaker', voice: 'alloy', input: 'abc' }
  const response = await gateway.post('/v1/audio/speech', body)
  expect(response.status).toBe(200)
  await expect(response.arrayBuffer()).rejects.toThrow()
  expect(await gateway.billed(response.headers.get('x-request-id'))).toMatchObject({
    amount_nanos: 0n,
  })
})

test('a model without a price for characters does not speak', async () => {
  await expect(
    client.audio.speech.create({ model: 'unpriced-speaker', voice: 'alloy', input: 'abc' }),
  ).rejects.toMatchObject({ status: 503, code: 'price_missing' })
})

test('a text longer than 4,096 characters is refused', async () => {
  const speech = (input: string) =>
    client.audio.speech.create({ model: 'speaker', voice: 'alloy', input })
  await expect(speech('a'.repeat(4_097))).rejects.toMatchObject({ status: 400, param: 'input' })
  expect((await speech('👋'.repeat(4_096))).status).toBe(200)
})

test('images come as bytes, as many as were asked for and paid', async () => {
  const { data, response } = await client.images
    .generate({ model: 'painter', prompt: 'a cat', n: 2, size: '512x512', quality: 'low' })
    .withResponse()
  expect(data.data).toHaveLength(2)
  expect(Buffer.from(data.data?.[0]?.b64_json ?? '', 'base64').equals(png)).toBe(true)
  expect(data).toMatchObject({ output_format: 'png' })
  expect(heard.body).toEqual({
    model: 'painter',
    prompt: 'a cat',
    n: 2,
    size: '512x512',
    quality: 'low',
    response_format: 'b64_json',
  })
  expect(await gateway.billed(response.headers.get('x-request-id'))).toMatchObject({
    outcome: 'completed',
    amount_nanos: 80_000_000n,
  })
})

test('a streamed image comes whole in its last event', async () => {
  const stream = await client.images.generate({ model: 'painter', prompt: 'a cat', stream: true })
  const events = []
  for await (const event of stream) events.push(event)
  expect(events).toMatchObject([{ type: 'image_generation.completed', output_format: 'png' }])
})

const refusedImages: readonly { name: string; body: Record<string, unknown>; param: string }[] = [
  { name: 'an address', body: { response_format: 'url' }, param: 'response_format' },
  { name: 'eleven images', body: { n: 11 }, param: 'n' },
  { name: 'a huge size', body: { size: '100000x100000' }, param: 'size' },
  { name: 'partial images', body: { stream: true, partial_images: 2 }, param: 'partial_images' },
  { name: 'a model that hears', body: { model: 'hearer' }, param: 'model' },
]
for (const { name, body, param } of refusedImages) {
  test(`images are refused: ${name}`, async () => {
    const wanted = { model: 'painter', prompt: 'a cat', ...body }
    const response = await gateway.post('/v1/images/generations', wanted)
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { param } })
  })
}

test('what an engine calls an image and is none is a failure, and costs nothing', async () => {
  const error = await client.images
    .generate({ model: 'broken-painter', prompt: 'a cat' })
    .catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ status: 502, code: 'engine_invalid_response' })
  expect(await gateway.billed((error as { requestID: string }).requestID)).toMatchObject({
    outcome: 'voided',
    amount_nanos: 0n,
  })
})
