/**
 * OpenAI's transcriptions and translations as spoken to engines. Where times are wanted, the engine is asked for `verbose_json`; else for
 * `json`, as a stream where the caller streams. Engines that cannot stream answer whole, which is taken too. Two kinds of streams are known: OpenAI's
 * own events, and vLLM's chunks in the manner of chat.
 */
import { randomBase62 } from '../../../platform/ids.ts'
import type {
  StreamPart,
  TranscriptionTask,
  TranscriptSegment,
  TranscriptSigns,
  TranscriptWord,
} from '../../engine.ts'
import {
  collect,
  failedInStream,
  invalid,
  isRecord,
  parseEvent,
  parseWhole,
  truncated,
} from '../answer.ts'
import type { TaskDialect } from '../connection.ts'
import { createEventReader } from '../sse.ts'

const languageCharactersMax = 40

export const openAiTranscription: TaskDialect<TranscriptionTask> = {
  // On a processor, half a minute of speech may take minutes to hear.
  idleTimeoutMs: 600_000,
  path: ({ task }) =>
    task.goal === 'translate' ? '/v1/audio/translations' : '/v1/audio/transcriptions',
  render: ({ task, model, stream }) => renderForm(task, fieldsOf(task, model, stream)),
  read(response, { task }) {
    if (response.mediaType === 'text/event-stream') return readStream(response.body)
    if (response.mediaType === 'application/json') return readWhole(response.body, task)
    throw invalid('the engine answered with neither JSON nor an event stream')
  },
}

type Field = readonly [name: string, value: string]

function fieldsOf(task: TranscriptionTask, model: string, stream: boolean): readonly Field[] {
  const optional = (name: string, value: string | number | undefined): readonly Field[] =>
    value === undefined ? [] : [[name, String(value)]]
  const isTranscription = task.goal === 'transcribe'
  const granularity = (name: string): readonly Field[] =>
    isTranscription ? [['timestamp_granularities[]', name]] : []
  return [
    ['model', model],
    ['response_format', task.timestamps === 'none' ? 'json' : 'verbose_json'],
    ...(task.timestamps === 'none' ? [] : granularity('segment')),
    ...(task.timestamps === 'words' ? granularity('word') : []),
    ...(isTranscription ? optional('language', task.language) : []),
    ...optional('prompt', task.prompt),
    ...optional('temperature', task.temperature),
    ...(stream && isTranscription && task.timestamps === 'none'
      ? ([['stream', 'true']] as const)
      : []),
  ]
}

/** The fields come before the file, for servers that begin to work when the file arrives. */
function renderForm(
  { audio }: TranscriptionTask,
  fields: readonly Field[],
): { readonly contentType: string; readonly body: Buffer } {
  // Nobody who sends a file or a prompt can know it, so neither can end its own part.
  const boundary = `form-${randomBase62(32)}`
  const text = fields.map(
    ([name, value]) =>
      `--${boundary}\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  )
  const head =
    `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="${audio.fileName}"\r\n` +
    `content-type: ${audio.mediaType}\r\n\r\n`
  const body = Buffer.concat([
    Buffer.from(text.join('') + head),
    audio.bytes,
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ])
  return { contentType: `multipart/form-data; boundary=${boundary}`, body }
}

async function* readWhole(
  chunks: AsyncIterable<Buffer>,
  { timestamps }: TranscriptionTask,
): AsyncGenerator<StreamPart> {
  const value = parseWhole(await collect(chunks))
  if (!isRecord(value) || typeof value['text'] !== 'string') {
    throw invalid('a transcription without text')
  }
  yield* languageOf(value)
  if (value['text'] !== '') yield { type: 'text-delta', choice: 0, text: value['text'] }
  if (timestamps !== 'none') {
    const segments = segmentsOf(value)
    if (segments.length === 0 && value['text'].trim() !== '') {
      throw invalid('a transcription without segments')
    }
    for (const segment of segments) yield { type: 'transcript-segment', segment }
  }
  yield { type: 'end' }
}

function* languageOf(value: Record<string, unknown>): Generator<StreamPart> {
  const language = value['language']
  if (typeof language !== 'string' || language === '' || language.length > languageCharactersMax)
    return
  yield { type: 'transcript-language', language }
}

/** Words stand in their segments, or in a list of their own beside them. */
function segmentsOf(value: Record<string, unknown>): readonly TranscriptSegment[] {
  const wires = Array.isArray(value['segments']) ? value['segments'].filter(isRecord) : []
  const segments = wires.map(toSegment)
  const words = wordsOf(value['words'])
  if (words.length === 0) return segments
  if (segments.length === 0) return [wholeSegment(String(value['text']), words)]
  return segments.map((segment, index) => {
    const from = index === 0 ? -Infinity : segment.startSeconds
    const until = segments[index + 1]?.startSeconds ?? Infinity
    const own = words.filter(({ startSeconds }) => startSeconds >= from && startSeconds < until)
    return { ...segment, words: own }
  })
}

function wholeSegment(text: string, words: readonly TranscriptWord[]): TranscriptSegment {
  return {
    startSeconds: words[0]?.startSeconds ?? 0,
    endSeconds: words.at(-1)?.endSeconds ?? 0,
    text,
    words,
  }
}

function toSegment(wire: Record<string, unknown>): TranscriptSegment {
  if (typeof wire['text'] !== 'string') throw invalid('a segment without text')
  const words = wordsOf(wire['words'])
  return {
    ...timesOf(wire),
    text: wire['text'],
    ...(words.length > 0 && { words }),
    signs: signsOf(wire),
  }
}

function signsOf(wire: Record<string, unknown>): TranscriptSigns {
  return {
    averageLogprob: finite(wire['avg_logprob']),
    compressionRatio: finite(wire['compression_ratio']),
    noSpeechProbability: finite(wire['no_speech_prob']),
    temperature: finite(wire['temperature']),
  }
}

function wordsOf(value: unknown): readonly TranscriptWord[] {
  if (!Array.isArray(value)) return []
  return value.filter(isRecord).map((wire) => {
    if (typeof wire['word'] !== 'string') throw invalid('a word without text')
    return { ...timesOf(wire), word: wire['word'] }
  })
}

function timesOf(wire: Record<string, unknown>): { startSeconds: number; endSeconds: number } {
  const startSeconds = finite(wire['start'])
  const endSeconds = finite(wire['end'])
  if (startSeconds === undefined || endSeconds === undefined || startSeconds < 0) {
    throw invalid('a time that is no time')
  }
  return { startSeconds, endSeconds: Math.max(startSeconds, endSeconds) }
}

function finite(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

interface StreamState {
  hasText: boolean
  isDone: boolean
}

async function* readStream(chunks: AsyncIterable<Buffer>): AsyncGenerator<StreamPart> {
  const state: StreamState = { hasText: false, isDone: false }
  const events = createEventReader()
  for await (const chunk of chunks) {
    for (const event of events.read(chunk)) {
      if (event === '[DONE]') {
        yield { type: 'end' }
        return
      }
      yield* fromEvent(parseEvent(event), state)
    }
  }
  if (!state.isDone) throw truncated('a transcription stream closed before it was done')
  yield { type: 'end' }
}

function* fromEvent(value: unknown, state: StreamState): Generator<StreamPart> {
  if (!isRecord(value)) throw invalid('an event that is not an object')
  if (value['error'] !== undefined && value['error'] !== null) throw failedInStream()
  yield* languageOf(value)
  if (value['type'] === 'transcript.text.delta') yield* textOf(value['delta'], state)
  else if (value['type'] === 'transcript.text.done') {
    if (!state.hasText) yield* textOf(value['text'], state)
    state.isDone = true
  } else if (Array.isArray(value['choices'])) {
    for (const choice of value['choices'].filter(isRecord)) yield* fromChoice(choice, state)
  }
}

function* fromChoice(choice: Record<string, unknown>, state: StreamState): Generator<StreamPart> {
  if (isRecord(choice['delta'])) yield* textOf(choice['delta']['content'], state)
  if (typeof choice['finish_reason'] === 'string') state.isDone = true
}

function* textOf(text: unknown, state: StreamState): Generator<StreamPart> {
  if (typeof text !== 'string' || text === '') return
  state.hasText = true
  yield { type: 'text-delta', choice: 0, text }
}
