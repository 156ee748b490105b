/** OpenAI's speech as spoken to engines: text out, an audio file in, in pieces as the engine makes them. */
import type { SpeechTask, StreamPart } from '../../engine.ts'
import { invalid } from '../answer.ts'
import type { TaskDialect } from '../connection.ts'

/** What the formats are called; `pcm` is 24 kHz, 16 bit, little-endian, without a header. */
export const mediaTypeOfFormat: Readonly<Record<SpeechTask['format'], string>> = {
  mp3: 'audio/mpeg',
  opus: 'audio/ogg',
  aac: 'audio/aac',
  flac: 'audio/flac',
  wav: 'audio/wav',
  pcm: 'audio/pcm',
}

/** Some servers know one format only, and say which; the caller is told the truth. */
const otherNames: Readonly<Record<string, string>> = {
  'audio/mp3': 'audio/mpeg',
  'audio/x-mpeg': 'audio/mpeg',
  'audio/opus': 'audio/ogg',
  'audio/aacp': 'audio/aac',
  'audio/x-aac': 'audio/aac',
  'audio/x-flac': 'audio/flac',
  'audio/x-wav': 'audio/wav',
  'audio/wave': 'audio/wav',
  'audio/vnd.wave': 'audio/wav',
  'audio/l16': 'audio/pcm',
  'audio/x-pcm': 'audio/pcm',
}
const knownTypes: ReadonlySet<string> = new Set(Object.values(mediaTypeOfFormat))

export const openAiSpeech: TaskDialect<SpeechTask> = {
  path: '/v1/audio/speech',
  render: ({ task, model }) => ({
    json: {
      model,
      input: task.input,
      voice: task.voice,
      response_format: task.format,
      speed: task.speed,
      instructions: task.instructions,
    },
  }),
  read({ mediaType, body }, { task }) {
    const name = otherNames[mediaType] ?? mediaType
    if (knownTypes.has(name)) return readAudio(body, name)
    if (mediaType === 'application/octet-stream')
      return readAudio(body, mediaTypeOfFormat[task.format])
    throw invalid('the engine answered with something else than audio')
  },
}

async function* readAudio(
  chunks: AsyncIterable<Buffer>,
  mediaType: string,
): AsyncGenerator<StreamPart> {
  let isEmpty = true
  for await (const bytes of chunks) {
    if (bytes.length === 0) continue
    isEmpty = false
    yield { type: 'audio', bytes, mediaType }
  }
  if (isEmpty) throw invalid('a spoken answer without a byte')
  yield { type: 'end' }
}
