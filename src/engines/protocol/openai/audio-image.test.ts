/**
 * Answers as their makers document them: OpenAI's transcription events and verbose JSON (developers.openai.com, API reference, audio), vLLM's
 * chunks (docs.vllm.ai, OpenAI-compatible server, transcriptions), whisper.cpp's words within segments (its server's README).
 */
import { expect, test } from 'vitest'
import { readForm } from '../../../gateway/wire/multipart.ts'
import type {
  EngineRequest,
  EngineTask,
  ImageTask,
  SpeechTask,
  StreamPart,
  TranscriptionTask,
} from '../../engine.ts'
import type { TaskDialect } from '../connection.ts'
import { openAiImage, openAiImageBytesOnly } from './image.ts'
import { openAiSpeech } from './speech.ts'
import { openAiTranscription } from './transcription.ts'

const traits = { continuousUsage: false, cacheSalt: false }

function ask<Task extends EngineTask>(task: Task, stream = false): EngineRequest<Task> {
  return { model: 'm', task, stream, cacheSalt: undefined }
}

async function read<Task extends EngineTask>(
  dialect: TaskDialect<Task>,
  task: Task,
  answer: { mediaType: string; bytes: Buffer; cutAt?: number },
): Promise<StreamPart[]> {
  const { mediaType, bytes, cutAt = bytes.length } = answer
  // eslint-disable-next-line @typescript-eslint/require-await
  const body = (async function* () {
    yield bytes.subarray(0, cutAt)
    yield bytes.subarray(cutAt)
  })()
  const parts: StreamPart[] = []
  for await (const part of dialect.read({ mediaType, headers: {}, body }, ask(task)))
    parts.push(part)
  return parts
}

const transcription: TranscriptionTask = {
  kind: 'transcription',
  goal: 'transcribe',
  audio: { bytes: Buffer.from('sound'), mediaType: 'audio/wav', fileName: 'audio.wav' },
  language: 'de',
  prompt: 'a "quoted"\r\nprompt',
  temperature: 0,
  timestamps: 'none',
}
const hear = (answer: unknown, task: Partial<TranscriptionTask> = {}): Promise<StreamPart[]> =>
  read(
    openAiTranscription,
    { ...transcription, ...task },
    {
      mediaType: 'application/json',
      bytes: Buffer.from(JSON.stringify(answer)),
    },
  )
const text = (value: string): StreamPart => ({ type: 'text-delta', choice: 0, text: value })
const end: StreamPart = { type: 'end' }

async function rendered(task: TranscriptionTask, stream: boolean) {
  const out = openAiTranscription.render(ask(task, stream), traits)
  if ('json' in out) throw new Error('not a form')
  const form = await readForm(
    [out.body],
    { 'content-type': out.contentType },
    { fileBytesMax: 100, filesMax: 1 },
  )
  return { fields: Object.fromEntries(form.fields), files: form.files }
}

test('a transcription is asked for as a form, streamed where no times are wanted', async () => {
  const { fields, files } = await rendered(transcription, true)
  expect(fields).toEqual({
    model: ['m'],
    response_format: ['json'],
    language: ['de'],
    prompt: ['a "quoted"\r\nprompt'],
    temperature: ['0'],
    stream: ['true'],
  })
  expect(files).toMatchObject([{ field: 'file', fileName: 'audio.wav', mediaType: 'audio/wav' }])
  const timed = await rendered({ ...transcription, timestamps: 'words' }, true)
  expect(timed.fields).toMatchObject({
    response_format: ['verbose_json'],
    timestamp_granularities: ['segment', 'word'],
  })
  expect(timed.fields).not.toHaveProperty('stream')
})

test('a translation is asked for at its own address, without what it does not know', async () => {
  const task: TranscriptionTask = { ...transcription, goal: 'translate', timestamps: 'segments' }
  const { path } = openAiTranscription
  expect(typeof path === 'string' ? path : path(ask(task))).toBe('/v1/audio/translations')
  expect(Object.keys((await rendered(task, true)).fields)).toEqual([
    'model',
    'response_format',
    'prompt',
    'temperature',
  ])
})

test('words beside the segments are given to the segments in which they were said', async () => {
  const parts = await hear(
    {
      text: 'a b c',
      language: 'english',
      segments: [
        { start: 0.1, end: 1, text: ' a b', avg_logprob: -0.5, no_speech_prob: 0.1 },
        { start: 1, end: 2, text: ' c' },
      ],
      words: [
        { word: 'a', start: 0, end: 0.5 },
        { word: 'b', start: 0.5, end: 1 },
        { word: 'c', start: 1.2, end: 2 },
      ],
    },
    { timestamps: 'words' },
  )
  expect(parts[0]).toEqual({ type: 'transcript-language', language: 'english' })
  const segments = parts.flatMap((part) =>
    part.type === 'transcript-segment' ? [part.segment] : [],
  )
  expect(segments.map(({ words }) => words?.map(({ word }) => word))).toEqual([['a', 'b'], ['c']])
  expect(segments[0]?.signs).toMatchObject({ averageLogprob: -0.5, noSpeechProbability: 0.1 })
  expect(parts.at(-1)).toEqual(end)
})

test('words within segments stay there', async () => {
  const segments = [
    { start: 0, end: 1, text: ' a', words: [{ word: ' a', start: 0, end: 1, probability: 0.9 }] },
  ]
  const parts = await hear({ text: ' a', segments }, { timestamps: 'words' })
  expect(parts.find((part) => part.type === 'transcript-segment')).toMatchObject({
    segment: { words: [{ word: ' a', startSeconds: 0, endSeconds: 1 }] },
  })
})

const unusable: readonly { name: string; answer: unknown }[] = [
  { name: 'no text', answer: { segments: [] } },
  { name: 'no segments', answer: { text: 'a' } },
  {
    name: 'a time that is none',
    answer: { text: 'a', segments: [{ start: 'x', end: 1, text: 'a' }] },
  },
  {
    name: 'a time before the beginning',
    answer: { text: 'a', segments: [{ start: -1, end: 1, text: 'a' }] },
  },
  { name: 'a segment without text', answer: { text: 'a', segments: [{ start: 0, end: 1 }] } },
  { name: 'a list', answer: [] },
]
for (const { name, answer } of unusable) {
  test(`a transcript that cannot be used is none: ${name}`, async () => {
    await expect(hear(answer, { timestamps: 'segments' })).rejects.toMatchObject({
      code: 'upstream.invalid_response',
    })
  })
}

const streams: readonly { name: string; events: string; parts: readonly StreamPart[] }[] = [
  {
    name: "OpenAI's events",
    events:
      'data: {"type":"transcript.text.delta","delta":"Grüß"}\n\n' +
      'data: {"type":"transcript.text.delta","delta":" dich"}\n\n' +
      'data: {"type":"transcript.text.done","text":"Grüß dich"}\n\n',
    parts: [text('Grüß'), text(' dich'), end],
  },
  {
    name: "OpenAI's last event alone",
    events:
      'event: transcript.text.done\r\ndata: {"type":"transcript.text.done","text":"Grüß dich"}\r\n\r\n',
    parts: [text('Grüß dich'), end],
  },
  {
    name: "vLLM's chunks",
    events:
      'data: {"object":"transcription.chunk","choices":[{"delta":{"content":"Grüß"}}]}\n\n' +
      'data: {"object":"transcription.chunk","choices":[{"delta":{"content":""},"finish_reason":"stop"}]}\n\n' +
      'data: [DONE]\n\n',
    parts: [text('Grüß'), end],
  },
]
for (const { name, events, parts } of streams) {
  test(`${name} are read, wherever the network cuts them`, async () => {
    const bytes = Buffer.from(events)
    for (let cutAt = 0; cutAt <= bytes.length; cutAt += 1) {
      const answer = { mediaType: 'text/event-stream', bytes, cutAt }
      expect(await read(openAiTranscription, transcription, answer)).toEqual(parts)
    }
  })
}

const brokenStreams: readonly { name: string; events: string; code: string }[] = [
  {
    name: 'it ends before it is done',
    events: 'data: {"type":"transcript.text.delta","delta":"a"}\n\n',
    code: 'upstream.truncated',
  },
  {
    name: 'it has an error',
    events: 'data: {"error":{"message":"x"}}\n\n',
    code: 'upstream.failed',
  },
  { name: 'it is no JSON', events: 'data: x\n\n', code: 'upstream.invalid_response' },
]
for (const { name, events, code } of brokenStreams) {
  test(`a stream fails when ${name}`, async () => {
    const answer = { mediaType: 'text/event-stream', bytes: Buffer.from(events) }
    await expect(read(openAiTranscription, transcription, answer)).rejects.toMatchObject({ code })
  })
}

const speech: SpeechTask = {
  kind: 'speech',
  input: 'a',
  voice: 'v',
  format: 'opus',
  speed: 1,
  instructions: undefined,
}

test('a spoken answer has the type that the engine names, or that of the format', async () => {
  const bytes = Buffer.from('sound')
  const typeOf = async (mediaType: string) =>
    (await read(openAiSpeech, speech, { mediaType, bytes }))[0]
  expect(await typeOf('audio/x-wav')).toMatchObject({ type: 'audio', mediaType: 'audio/wav' })
  expect(await typeOf('application/octet-stream')).toMatchObject({ mediaType: 'audio/ogg' })
  await expect(typeOf('application/json')).rejects.toMatchObject({
    code: 'upstream.invalid_response',
  })
  await expect(
    read(openAiSpeech, speech, { mediaType: 'audio/mpeg', bytes: Buffer.alloc(0) }),
  ).rejects.toMatchObject({ code: 'upstream.invalid_response' })
})

const image: ImageTask = {
  kind: 'image',
  prompt: 'p',
  count: 1,
  size: undefined,
  options: { quality: 'low' },
}
const jpeg = Buffer.from([0xff, 0xd8, 0xff, 0xe0, 1, 2]).toString('base64')
const paint = (answer: unknown) =>
  read(openAiImage, image, {
    mediaType: 'application/json',
    bytes: Buffer.from(JSON.stringify(answer)),
  })

test('an image is what its first bytes say', async () => {
  expect((await paint({ data: [{ b64_json: jpeg, revised_prompt: 'q' }] }))[0]).toMatchObject({
    type: 'images',
    images: [{ mediaType: 'image/jpeg', revisedPrompt: 'q' }],
  })
})

const noImages: readonly { name: string; answer: unknown }[] = [
  { name: 'none', answer: { data: [] } },
  { name: 'more than were asked for', answer: { data: [{ b64_json: jpeg }, { b64_json: jpeg }] } },
  { name: 'an address', answer: { data: [{ url: 'http://127.0.0.1/x.png' }] } },
  {
    name: 'something else',
    answer: { data: [{ b64_json: Buffer.from('<svg/>').toString('base64') }] },
  },
]
for (const { name, answer } of noImages) {
  test(`images that cannot be used are none: ${name}`, async () => {
    await expect(paint(answer)).rejects.toMatchObject({ code: 'upstream.invalid_response' })
  })
}

test('bytes are asked for only from engines that might answer otherwise', () => {
  const bodyOf = (dialect: TaskDialect<ImageTask>): unknown => {
    const body = dialect.render(ask(image), traits)
    return 'json' in body ? JSON.parse(JSON.stringify(body.json)) : undefined
  }
  expect(bodyOf(openAiImage)).toEqual({
    model: 'm',
    prompt: 'p',
    n: 1,
    quality: 'low',
    response_format: 'b64_json',
  })
  expect(bodyOf(openAiImageBytesOnly)).not.toHaveProperty('response_format')
})
