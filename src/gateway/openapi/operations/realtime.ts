import { z } from 'zod'
import { schema as request } from '../../wire/openai/realtime-request.ts'
import { count, durationUsage } from '../answers.ts'
import { errorFields } from '../errors.ts'
import type { SocketDoc } from '../operation.ts'

const transcription = z.object({
  model: z.string().nullable(),
  language: z.string().nullable(),
  prompt: z.string(),
})
const turnDetection = z
  .object({
    type: z.literal('server_vad'),
    threshold: z.number(),
    prefix_padding_ms: count,
    silence_duration_ms: count,
  })
  .nullable()
const sessionFields = {
  id: z.string().startsWith('sess_'),
  object: z.literal('realtime.transcription_session'),
  expires_at: count,
  include: z.null(),
}
const newerSession = z.object({
  ...sessionFields,
  type: z.literal('transcription'),
  audio: z.object({
    input: z.object({
      format: z.object({
        type: z.enum(['audio/pcm', 'audio/pcmu', 'audio/pcma']),
        rate: z.literal(24_000).optional(),
      }),
      noise_reduction: z.null(),
      transcription,
      turn_detection: turnDetection,
    }),
  }),
})
const olderSession = z.object({
  ...sessionFields,
  modalities: z.array(z.enum(['audio', 'text'])),
  input_audio_format: z.enum(['pcm16', 'g711_ulaw', 'g711_alaw']),
  input_audio_noise_reduction: z.null(),
  input_audio_transcription: transcription,
  turn_detection: turnDetection,
})
const item = z.object({
  id: z.string(),
  object: z.literal('realtime.item'),
  type: z.literal('message'),
  status: z.literal('completed'),
  role: z.literal('user'),
  content: z.array(z.object({ type: z.literal('input_audio'), transcript: z.null() })),
})
const previous = { previous_item_id: z.string().nullable() }
const transcribed = { item_id: z.string(), content_index: z.literal(0) }
const ofTranscription = 'conversation.item.input_audio_transcription'

function event<Type extends string, Fields extends z.ZodRawShape>(type: Type, shape: Fields) {
  return z.object({ event_id: z.string().startsWith('event_'), type: z.literal(type), ...shape })
}

export const realtimeDoc: SocketDoc = {
  id: 'openRealtimeTranscription',
  summary: 'Write down speech while it is spoken',
  description:
    'A WebSocket. Live transcription in OpenAI’s events, of the newer and, with the header `openai-beta: realtime=v1`, the older form; sessions that answer by voice are not offered. Each begun minute of speech is billed. Browsers bring their key in the sub-protocol `openai-insecure-api-key.<key>`.',
  tag: 'Audio',
  query: z.object({
    model: z.string().optional().describe('Or say it in an event.'),
    intent: z.string().optional().describe('Taken and passed over.'),
  }),
  clientMessage: { name: 'RealtimeClientEvent', schema: request },
  serverMessage: {
    name: 'RealtimeServerEvent',
    schema: z.discriminatedUnion('type', [
      event('session.created', { session: newerSession }),
      event('session.updated', { session: newerSession }),
      event('transcription_session.created', { session: olderSession }),
      event('transcription_session.updated', { session: olderSession }),
      event('input_audio_buffer.speech_started', { item_id: z.string(), audio_start_ms: count }),
      event('input_audio_buffer.speech_stopped', { item_id: z.string(), audio_end_ms: count }),
      event('input_audio_buffer.committed', { ...previous, item_id: z.string() }),
      event('input_audio_buffer.cleared', {}),
      event('conversation.item.added', { ...previous, item }),
      event('conversation.item.done', { ...previous, item }),
      event('conversation.item.created', { ...previous, item }),
      event(`${ofTranscription}.delta`, { ...transcribed, delta: z.string() }),
      event(`${ofTranscription}.completed`, {
        ...transcribed,
        transcript: z.string(),
        usage: durationUsage,
      }),
      event(`${ofTranscription}.failed`, { ...transcribed, error: z.object(errorFields) }),
      event('error', {
        error: z.object({ ...errorFields, event_id: z.string().nullable() }),
      }),
    ]),
  },
}
