/** Transcripts in all of OpenAI's formats. Lengths are those that were measured and billed, whatever the engine says. */
import type { TranscriptSegment } from '../../../engines/engine.ts'
import type { TranscriptFormat } from './transcription-request.ts'

export interface Transcript {
  readonly goal: 'transcribe' | 'translate'
  readonly text: string
  readonly language: string | undefined
  readonly segments: readonly TranscriptSegment[]
  readonly audioMs: number
}

export interface RenderedTranscript {
  readonly contentType: string
  readonly body: string
}

export function renderTranscript(
  transcript: Transcript,
  format: TranscriptFormat,
  lists: { readonly segments: boolean; readonly words: boolean },
): RenderedTranscript {
  const text = transcript.text.trim()
  if (format === 'json') {
    return json({ text, usage: durationUsage(transcript.audioMs) })
  }
  if (format === 'verbose_json') return json(verbose(transcript, lists))
  if (format === 'text') return plain(`${text}\n`)
  return plain(format === 'srt' ? renderSrt(transcript.segments) : renderVtt(transcript.segments))
}

/** OpenAI's usage of models that are billed by time. */
export function durationUsage(audioMs: number): { type: 'duration'; seconds: number } {
  return { type: 'duration', seconds: audioMs / 1_000 }
}

function verbose(
  { goal, text, language, segments, audioMs }: Transcript,
  lists: { readonly segments: boolean; readonly words: boolean },
): Record<string, unknown> {
  return {
    task: goal,
    language: goal === 'translate' ? 'english' : languageName(language),
    duration: audioMs / 1_000,
    text: text.trim(),
    ...(lists.segments && { segments: segments.map(wireSegment) }),
    ...(lists.words && { words: segments.flatMap(wireWords) }),
    usage: durationUsage(audioMs),
  }
}

function wireSegment(segment: TranscriptSegment, id: number): Record<string, unknown> {
  return {
    id,
    seek: 0,
    start: segment.startSeconds,
    end: segment.endSeconds,
    text: segment.text,
    tokens: [],
    temperature: segment.signs?.temperature ?? 0,
    avg_logprob: segment.signs?.averageLogprob ?? 0,
    compression_ratio: segment.signs?.compressionRatio ?? 1,
    no_speech_prob: segment.signs?.noSpeechProbability ?? 0,
  }
}

function wireWords({ words }: TranscriptSegment): readonly Record<string, unknown>[] {
  return (words ?? []).map(({ word, startSeconds, endSeconds }) => ({
    word: word.trim(),
    start: startSeconds,
    end: endSeconds,
  }))
}

const languageNames = new Intl.DisplayNames(['en'], { type: 'language', fallback: 'none' })

/** OpenAI names languages in English; many servers give their code. */
function languageName(language: string | undefined): string {
  if (language === undefined) return 'unknown'
  if (!/^[a-z]{2,3}$/i.test(language)) return language.toLowerCase()
  return (languageNames.of(language) ?? language).toLowerCase()
}

function renderSrt(segments: readonly TranscriptSegment[]): string {
  const cues = segments.map(
    (segment, index) =>
      `${index + 1}\n${timeOf(segment.startSeconds, ',')} --> ${timeOf(segment.endSeconds, ',')}\n${cueText(segment.text)}\n\n`,
  )
  return cues.join('')
}

function renderVtt(segments: readonly TranscriptSegment[]): string {
  const cues = segments.map(
    (segment) =>
      `${timeOf(segment.startSeconds, '.')} --> ${timeOf(segment.endSeconds, '.')}\n${cueText(segment.text)}\n\n`,
  )
  return `WEBVTT\n\n${cues.join('')}`
}

/** 3661.5 → `01:01:01,500`. */
function timeOf(seconds: number, point: ',' | '.'): string {
  const ms = Math.round(seconds * 1_000)
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0')
  const clock = [ms / 3_600_000, (ms / 60_000) % 60, (ms / 1_000) % 60].map(two).join(':')
  return clock + point + String(ms % 1_000).padStart(3, '0')
}

/** An empty line would end the cue, and an arrow would begin another one. */
function cueText(text: string): string {
  return text
    .trim()
    .replaceAll(/\s*\n\s*/g, '\n')
    .replaceAll('-->', '->')
}

function json(value: unknown): RenderedTranscript {
  return { contentType: 'application/json', body: JSON.stringify(value) }
}

function plain(body: string): RenderedTranscript {
  return { contentType: 'text/plain; charset=utf-8', body }
}
