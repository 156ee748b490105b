/** What a client of a realtime transcription session says, in the newer and the older form of OpenAI's events. Unknown fields are tolerated. */
import { z } from 'zod'
import { Fault } from '../../../platform/fault.ts'
import { parseBoundedJson } from '../../../platform/http/json-limits.ts'
import {
  turnDetectionDefault,
  type LiveFormat,
  type LiveSettings,
  type TurnDetection,
} from '../../audio/live/settings.ts'
import { invalidField } from './chat-request.ts'

const promptCharactersMax = 10_000

const transcription = z
  .object({
    model: z.string().min(1).max(200).nullish(),
    language: z
      .string()
      .regex(/^([A-Za-z][A-Za-z-]{1,39})?$/, 'must be a code such as en')
      .nullish(),
    prompt: z.string().max(promptCharactersMax).nullish(),
  })
  .nullish()

const milliseconds = z.number().int().min(0).max(10_000).nullish()
const turnDetection = z
  .object({
    type: z.literal('server_vad').nullish(),
    threshold: z.number().min(0).max(1).nullish(),
    prefix_padding_ms: milliseconds,
    silence_duration_ms: milliseconds,
  })
  .nullish()

const newer = z.object({
  type: z.literal('transcription').nullish(),
  audio: z
    .object({
      input: z
        .object({
          format: z
            .object({
              type: z.enum(['audio/pcm', 'audio/pcmu', 'audio/pcma']),
              rate: z.number().nullish(),
            })
            .refine(({ type, rate }) => type !== 'audio/pcm' || (rate ?? 24_000) === 24_000, {
              message: 'must have a rate of 24000',
            })
            .nullish(),
          transcription,
          turn_detection: turnDetection,
        })
        .nullish(),
    })
    .nullish(),
})
const older = z.object({
  input_audio_format: z.enum(['pcm16', 'g711_ulaw', 'g711_alaw']).nullish(),
  input_audio_transcription: transcription,
  turn_detection: turnDetection,
})

const eventId = z.string().max(200).optional()
export const schema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('session.update'), event_id: eventId, session: newer }),
  z.object({ type: z.literal('transcription_session.update'), event_id: eventId, session: older }),
  z.object({ type: z.literal('input_audio_buffer.append'), event_id: eventId, audio: z.string() }),
  z.object({ type: z.literal('input_audio_buffer.commit'), event_id: eventId }),
  z.object({ type: z.literal('input_audio_buffer.clear'), event_id: eventId }),
])

export type LiveRequest =
  | { readonly type: 'update'; readonly form: SessionForm; readonly change: SettingsChange }
  | { readonly type: 'append'; readonly bytes: Buffer }
  | { readonly type: 'commit' }
  | { readonly type: 'clear' }

/** The older form was used before the API had left its beta. */
export type SessionForm = 'newer' | 'older'

/** A key that is there is a wish, also where its value is `undefined`. */
export type SettingsChange = Partial<LiveSettings>

/** Throws a `client.*` fault; `readEventId` says to which event it belongs. */
export function parseLiveRequest(message: string | Buffer): LiveRequest {
  if (typeof message !== 'string') {
    throw refuse('Events are sent as text. Send sound in input_audio_buffer.append, in Base64.')
  }
  const parsed = schema.safeParse(parseBoundedJson(Buffer.from(message)))
  if (!parsed.success) throw invalidField(parsed.error)
  const event = parsed.data
  switch (event.type) {
    case 'session.update':
      return { type: 'update', form: 'newer', change: fromNewer(event.session) }
    case 'transcription_session.update':
      return { type: 'update', form: 'older', change: fromOlder(event.session) }
    case 'input_audio_buffer.append':
      return { type: 'append', bytes: Buffer.from(event.audio, 'base64') }
    case 'input_audio_buffer.commit':
      return { type: 'commit' }
    case 'input_audio_buffer.clear':
      return { type: 'clear' }
  }
}

/** The client's own id of an event, for the error that it causes. */
export function readEventId(message: string | Buffer): string | undefined {
  if (typeof message !== 'string') return undefined
  try {
    const parsed = z.object({ event_id: eventId }).safeParse(JSON.parse(message))
    return parsed.data?.event_id
  } catch {
    // Not JSON, and so without an id.
    return undefined
  }
}

const formats: Readonly<Record<string, LiveFormat>> = {
  'audio/pcm': 'pcm16',
  'audio/pcmu': 'g711_ulaw',
  'audio/pcma': 'g711_alaw',
}

function fromNewer({ audio }: z.infer<typeof newer>): SettingsChange {
  const input = audio?.input ?? {}
  const format = input.format ? formats[input.format.type] : undefined
  return {
    ...(format && { format }),
    ...fromTranscription(input.transcription),
    ...fromTurnDetection(input.turn_detection),
  }
}

function fromOlder(session: z.infer<typeof older>): SettingsChange {
  return {
    ...(session.input_audio_format && { format: session.input_audio_format }),
    ...fromTranscription(session.input_audio_transcription),
    ...fromTurnDetection(session.turn_detection),
  }
}

function fromTranscription(wish: z.infer<typeof transcription>): SettingsChange {
  if (!wish) return {}
  return {
    ...(typeof wish.model === 'string' && { model: wish.model }),
    ...(wish.language !== undefined && { language: wish.language || undefined }),
    ...(wish.prompt !== undefined && { prompt: wish.prompt || undefined }),
  }
}

/** `null` switches it off. */
function fromTurnDetection(wish: z.infer<typeof turnDetection>): SettingsChange {
  if (wish === undefined) return {}
  if (wish === null) return { turnDetection: undefined }
  const { threshold, prefixPaddingMs, silenceMs } = turnDetectionDefault
  const detection: TurnDetection = {
    threshold: wish.threshold ?? threshold,
    prefixPaddingMs: wish.prefix_padding_ms ?? prefixPaddingMs,
    silenceMs: wish.silence_duration_ms ?? silenceMs,
  }
  return { turnDetection: detection }
}

function refuse(text: string): Fault {
  return new Fault({ code: 'client.invalid_request', public: text })
}
