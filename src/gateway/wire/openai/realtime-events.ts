/** What a realtime transcription session says: OpenAI's server events. */
import type { Fault } from '../../../platform/fault.ts'
import { randomBase62 } from '../../../platform/ids.ts'
import type { LiveFormat, LiveSettings } from '../../audio/live/settings.ts'
import { toWireError } from './errors.ts'
import type { SessionForm } from './realtime-request.ts'
import { durationUsage } from './transcription-answer.ts'

export interface ServerEvent {
  readonly type: string
  readonly [key: string]: unknown
}

export function renderEvent(event: ServerEvent): string {
  return JSON.stringify({ event_id: `event_${randomBase62(21)}`, ...event })
}

export interface SessionView {
  readonly id: string
  readonly expiresAtSeconds: number
  readonly settings: LiveSettings
}

export function sessionEvent(
  what: 'created' | 'updated',
  form: SessionForm,
  view: SessionView,
): ServerEvent {
  return form === 'newer'
    ? { type: `session.${what}`, session: newerSession(view) }
    : { type: `transcription_session.${what}`, session: olderSession(view) }
}

const mediaTypes: Readonly<Record<LiveFormat, Readonly<Record<string, string | number>>>> = {
  pcm16: { type: 'audio/pcm', rate: 24_000 },
  g711_ulaw: { type: 'audio/pcmu' },
  g711_alaw: { type: 'audio/pcma' },
}

function newerSession({ id, expiresAtSeconds, settings }: SessionView): unknown {
  return {
    id,
    object: 'realtime.transcription_session',
    type: 'transcription',
    expires_at: expiresAtSeconds,
    include: null,
    audio: {
      input: {
        format: mediaTypes[settings.format],
        noise_reduction: null,
        transcription: transcriptionOf(settings),
        turn_detection: turnDetectionOf(settings),
      },
    },
  }
}

function olderSession({ id, expiresAtSeconds, settings }: SessionView): unknown {
  return {
    id,
    object: 'realtime.transcription_session',
    expires_at: expiresAtSeconds,
    modalities: ['audio', 'text'],
    include: null,
    input_audio_format: settings.format,
    input_audio_noise_reduction: null,
    input_audio_transcription: transcriptionOf(settings),
    turn_detection: turnDetectionOf(settings),
  }
}

function transcriptionOf({ model, language, prompt }: LiveSettings): unknown {
  return { model: model ?? null, language: language ?? null, prompt: prompt ?? '' }
}

function turnDetectionOf({ turnDetection }: LiveSettings): unknown {
  return turnDetection
    ? {
        type: 'server_vad',
        threshold: turnDetection.threshold,
        prefix_padding_ms: turnDetection.prefixPaddingMs,
        silence_duration_ms: turnDetection.silenceMs,
      }
    : null
}

export interface ItemPlace {
  readonly itemId: string
  readonly previousItemId: string | null
}

/** A segment becomes an item of the conversation; the older form has one event for that, the newer two. */
export function committedEvents(form: SessionForm, place: ItemPlace): readonly ServerEvent[] {
  const where = { previous_item_id: place.previousItemId }
  const item = {
    id: place.itemId,
    object: 'realtime.item',
    type: 'message',
    status: 'completed',
    role: 'user',
    content: [{ type: 'input_audio', transcript: null }],
  }
  const kinds =
    form === 'newer'
      ? ['conversation.item.added', 'conversation.item.done']
      : ['conversation.item.created']
  return [
    { type: 'input_audio_buffer.committed', ...where, item_id: place.itemId },
    ...kinds.map((type) => ({ type, ...where, item })),
  ]
}

export function speechEvent(
  type: 'speech-started' | 'speech-stopped',
  itemId: string,
  atMs: number,
): ServerEvent {
  return type === 'speech-started'
    ? { type: 'input_audio_buffer.speech_started', item_id: itemId, audio_start_ms: atMs }
    : { type: 'input_audio_buffer.speech_stopped', item_id: itemId, audio_end_ms: atMs }
}

const ofTranscription = 'conversation.item.input_audio_transcription'

export function deltaEvent(itemId: string, delta: string): ServerEvent {
  return { type: `${ofTranscription}.delta`, item_id: itemId, content_index: 0, delta }
}

export function completedEvent(itemId: string, transcript: string, audioMs: number): ServerEvent {
  const usage = durationUsage(audioMs)
  return {
    type: `${ofTranscription}.completed`,
    item_id: itemId,
    content_index: 0,
    transcript,
    usage,
  }
}

export function failedEvent(itemId: string, fault: Fault): ServerEvent {
  const { error } = toWireError(fault)
  return { type: `${ofTranscription}.failed`, item_id: itemId, content_index: 0, error }
}

/** `causeId` is the client's own id of the event that was wrong. */
export function errorEvent(fault: Fault, causeId: string | undefined): ServerEvent {
  const { error } = toWireError(fault)
  return { type: 'error', error: { ...error, event_id: causeId ?? null } }
}
