/** OpenAI's speech, in and out. */
import { z } from 'zod'
import type { SpeechTask, StreamPart } from '../../../engines/engine.ts'
import { invalidField } from './chat-request.ts'

export const speechCharactersMax = 4_096
const instructionsCharactersMax = 4_096

/** Code points: an umlaut is one, and so are most emojis. */
export function countCharacters(text: string): number {
  return Array.from(text).length
}

const name = z.string().min(1).max(200)
export const schema = z.object({
  model: name,
  input: z
    .string()
    .min(1, 'must not be empty')
    .max(speechCharactersMax * 2)
    .refine((text) => countCharacters(text) <= speechCharactersMax, {
      message: `must not be longer than ${speechCharactersMax} characters`,
    }),
  voice: z.union([name, z.object({ id: name }).transform(({ id }) => id)]),
  response_format: z.enum(['mp3', 'opus', 'aac', 'flac', 'wav', 'pcm']).nullish(),
  speed: z.number().min(0.25).max(4).nullish(),
  instructions: z.string().max(instructionsCharactersMax).nullish(),
  stream_format: z.enum(['audio', 'sse']).nullish(),
})

export interface SpeechRequest {
  readonly model: string
  readonly task: SpeechTask
  /** Events with pieces of the file instead of the file. */
  readonly asEvents: boolean
}

export function parseSpeechRequest(value: unknown): SpeechRequest {
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw invalidField(parsed.error)
  const request = parsed.data
  return {
    model: request.model,
    task: {
      kind: 'speech',
      input: request.input,
      voice: request.voice,
      format: request.response_format ?? 'mp3',
      speed: request.speed ?? 1,
      instructions: request.instructions ?? undefined,
    },
    asEvents: request.stream_format === 'sse',
  }
}

/** Characters are what is billed; tokens are not counted. */
export function createSpeechStreamEncoder(characters: number): (part: StreamPart) => string {
  return (part) => {
    if (part.type === 'audio') {
      const audio = Buffer.from(part.bytes).toString('base64')
      return event({ type: 'speech.audio.delta', audio })
    }
    if (part.type !== 'end') return ''
    const usage = { input_tokens: 0, output_tokens: 0, total_tokens: 0, characters }
    return event({ type: 'speech.audio.done', usage })
  }
}

function event(value: { readonly type: string; readonly [key: string]: unknown }): string {
  return `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`
}
