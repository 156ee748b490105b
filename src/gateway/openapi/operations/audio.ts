import { z } from 'zod'
import { schema as speechRequest } from '../../wire/openai/speech.ts'
import { schema as form } from '../../wire/openai/transcription-request.ts'
import { count, durationUsage } from '../answers.ts'
import { openAiError } from '../errors.ts'
import type { EventContent, NamedSchema, OperationDoc, RawContent } from '../operation.ts'

const transcriptionForm = form.omit({ timestamp_granularities: true }).extend({
  file: z
    .string()
    .meta({ contentMediaType: 'application/octet-stream' })
    .describe('A recording of at most 25 MiB: WAV, MP3, MP4, WebM, Ogg, FLAC or AAC.'),
  'timestamp_granularities[]': form.shape.timestamp_granularities
    .optional()
    .describe('Only with `verbose_json`.'),
})

const time = z.number().min(0).describe('Seconds from the start of the recording.')
const transcript: NamedSchema = {
  name: 'Transcript',
  schema: z.union([
    z.object({ text: z.string(), usage: durationUsage }),
    z.object({
      task: z.enum(['transcribe', 'translate']),
      language: z.string(),
      duration: z.number().min(0),
      text: z.string(),
      segments: z
        .array(
          z.object({
            id: z.number().int().min(0),
            seek: z.number().int(),
            start: time,
            end: time,
            text: z.string(),
            tokens: z.array(z.number().int()),
            temperature: z.number(),
            avg_logprob: z.number(),
            compression_ratio: z.number(),
            no_speech_prob: z.number(),
          }),
        )
        .optional(),
      words: z.array(z.object({ word: z.string(), start: time, end: time })).optional(),
      usage: durationUsage,
    }),
  ]),
}
const subtitles: RawContent = {
  type: 'text/plain',
  description: 'For `response_format` text, srt and vtt.',
  isText: true,
}

const transcriptEvents: EventContent = {
  type: 'text/event-stream',
  name: 'TranscriptEvent',
  schema: z.union([
    z.object({ type: z.literal('transcript.text.delta'), delta: z.string() }),
    z.object({
      type: z.literal('transcript.text.done'),
      text: z.string(),
      usage: durationUsage,
    }),
    openAiError.schema,
  ]),
  isNamed: true,
  end: { types: ['transcript.text.done'] },
}

const billing = 'Each begun minute is billed; its length is measured here.'

export const transcriptionsDoc: OperationDoc = {
  id: 'createTranscription',
  summary: 'Write down what is said in a recording',
  description: `${billing} \`stream\` goes with the formats json and text.`,
  tag: 'Audio',
  isBilled: true,
  request: {
    type: 'multipart/form-data',
    name: 'TranscriptionForm',
    schema: transcriptionForm,
    examples: {},
  },
  answers: [
    {
      description: 'In the form of `response_format`, or events where `stream` is true.',
      content: [{ type: 'application/json', ...transcript }, subtitles, transcriptEvents],
    },
  ],
}

export const translationsDoc: OperationDoc = {
  id: 'createTranslation',
  summary: 'Write down in English what is said in a recording',
  description: billing,
  tag: 'Audio',
  isBilled: true,
  request: {
    type: 'multipart/form-data',
    name: 'TranscriptionForm',
    schema: transcriptionForm,
    examples: {},
  },
  answers: [
    {
      description: 'In the form of `response_format`.',
      content: [{ type: 'application/json', ...transcript }, subtitles],
    },
  ],
}

const sound: RawContent = { type: 'audio/*', description: 'The file, as it is made.' }
const spoken = z.object({
  input_tokens: z.literal(0),
  output_tokens: z.literal(0),
  total_tokens: z.literal(0),
  characters: count,
})

export const speechDoc: OperationDoc = {
  id: 'createSpeech',
  summary: 'Say a text aloud',
  description: 'Characters are billed. A file that was cut has no proper end of its HTTP body.',
  tag: 'Audio',
  isBilled: true,
  request: {
    type: 'application/json',
    name: 'SpeechRequest',
    schema: speechRequest,
    examples: {
      'A file': {
        model: 'kokoro-82m',
        input: 'The library is open until six.',
        voice: 'alloy',
        response_format: 'wav',
      },
    },
  },
  answers: [
    {
      description: 'The file, or its pieces as events where `stream_format` is sse.',
      headers: ['cache-control'],
      content: [
        sound,
        {
          type: 'text/event-stream',
          name: 'SpeechEvent',
          schema: z.union([
            z.object({ type: z.literal('speech.audio.delta'), audio: z.base64() }),
            z.object({ type: z.literal('speech.audio.done'), usage: spoken }),
            openAiError.schema,
          ]),
          isNamed: true,
          end: { types: ['speech.audio.done'] },
        },
      ],
    },
  ],
}
