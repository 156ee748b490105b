/** What transcriptions and translations have in common: a form becomes work whose length is measured here, and parts become a transcript. */
import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { TranscriptionTask, TranscriptSegment } from '../../engines/engine.ts'
import { Fault } from '../../platform/fault.ts'
import type { Answer } from '../endpoint.ts'
import type { Body } from '../exchange.ts'
import { streamAnswer } from '../stages/respond.ts'
import { keepAliveComment } from '../wire/openai/chat-stream.ts'
import { renderTranscript } from '../wire/openai/transcription-answer.ts'
import {
  parseTranscriptionForm,
  type TranscriptFormat,
  type TranscriptionRequest,
} from '../wire/openai/transcription-request.ts'
import { createTranscriptStreamEncoder } from '../wire/openai/transcription-stream.ts'
import type { Work } from '../work.ts'
import { measureAudio, type MeasuredAudio } from './measure.ts'

export const audioMsMax = 4 * 3_600_000

export interface TranscriptionWork extends Work {
  readonly goal: TranscriptionTask['goal']
  readonly format: TranscriptFormat
  readonly lists: TranscriptionRequest['lists']
  readonly audioMs: number
}

export async function toTranscriptionWork(
  given: { readonly body: Body; readonly headers: IncomingHttpHeaders },
  goal: TranscriptionTask['goal'],
  endpoint: string,
): Promise<TranscriptionWork> {
  const request = await parseTranscriptionForm(given.body, given.headers, goal)
  const measured = await measureAudio(request.audio)
  if (!measured) throw notAudio()
  if (measured.audioMs > audioMsMax) throw tooLong()
  return {
    endpoint,
    modelName: request.model,
    streamed: request.streamed,
    tasks: [toTask(request, goal, measured)],
    estimatedInputTokens: 0,
    inputTokensMax: 0,
    longestTextBytes: Buffer.byteLength(request.prompt ?? ''),
    choices: 0,
    maxOutputTokens: 0,
    units: { audioMs: measured.audioMs },
    sameAs: sameAs(request),
    goal,
    format: request.format,
    lists: request.lists,
    audioMs: measured.audioMs,
  }
}

/** All that was said in the form, in one order. */
function sameAs({ audio, ...said }: TranscriptionRequest): Buffer {
  const file = createHash('sha256').update(audio).digest('hex')
  return Buffer.from(JSON.stringify({ ...said, file }))
}

function toTask(
  request: TranscriptionRequest,
  goal: TranscriptionTask['goal'],
  { mediaType, extension }: MeasuredAudio,
): TranscriptionTask {
  const needsTimes = request.format !== 'json' && request.format !== 'text'
  return {
    kind: 'transcription',
    goal,
    audio: { bytes: request.audio, mediaType, fileName: `audio.${extension}` },
    language: request.language,
    prompt: request.prompt,
    temperature: request.temperature,
    timestamps: request.lists.words ? 'words' : needsTimes ? 'segments' : 'none',
  }
}

export async function sendTranscript(answer: Answer<TranscriptionWork>): Promise<void> {
  const { exchange, work, parts, deps } = answer
  if (work.streamed) {
    const encode = createTranscriptStreamEncoder(work.audioMs)
    await streamAnswer({ exchange, parts, encode, keepAlive: keepAliveComment, clock: deps.clock })
    return
  }
  const { contentType, body } = await gather(answer)
  await exchange.send(200, { 'content-type': contentType }, body)
}

async function gather({
  work,
  task,
  parts,
}: Answer<TranscriptionWork>): Promise<ReturnType<typeof renderTranscript>> {
  let text = ''
  let language = task.kind === 'transcription' ? task.language : undefined
  const segments: TranscriptSegment[] = []
  for await (const part of parts) {
    if (part.type === 'text-delta') text += part.text
    else if (part.type === 'transcript-language') language = part.language
    else if (part.type === 'transcript-segment') {
      if (work.lists.words) checkWords(part.segment)
      segments.push(part.segment)
    }
  }
  const { goal, audioMs, format, lists } = work
  return renderTranscript({ goal, text, language, segments, audioMs }, format, lists)
}

/** Thrown before the work is settled, so that nobody pays for less than was asked for. */
function checkWords({ text, words }: TranscriptSegment): void {
  if (words !== undefined || text.trim() === '') return
  throw new Fault({
    code: 'client.unsupported_value',
    public: 'The engine of this model does not tell when each word was said. Ask for segments.',
    param: 'timestamp_granularities',
  })
}

function notAudio(): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public:
      "'file' is no recording that can be read here. Send WAV, MP3, M4A or MP4 (AAC, ALAC, MP3, Opus), WebM or Ogg (Opus, Vorbis), FLAC or AAC.",
    param: 'file',
  })
}

function tooLong(): Fault {
  return new Fault({
    code: 'client.unsupported_value',
    public: `'file' is longer than ${audioMsMax / 3_600_000} hours. Split it.`,
    param: 'file',
  })
}
