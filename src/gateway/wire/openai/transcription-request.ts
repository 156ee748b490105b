/** OpenAI's forms for transcriptions and translations. Fields may come in any order; those that are not known here are tolerated. */
import type { IncomingHttpHeaders } from 'node:http'
import { z } from 'zod'
import type { TranscriptionTask } from '../../../engines/engine.ts'
import { Fault } from '../../../platform/fault.ts'
import { readForm, type Form } from '../multipart.ts'
import { invalidField } from './chat-request.ts'

export const audioBytesMax = 25 * 1024 * 1024
const promptCharactersMax = 10_000

export type TranscriptFormat = 'json' | 'text' | 'srt' | 'vtt' | 'verbose_json'

export interface TranscriptionRequest {
  readonly model: string
  readonly audio: Buffer
  readonly format: TranscriptFormat
  readonly language: string | undefined
  readonly prompt: string | undefined
  readonly temperature: number | undefined
  /** What `verbose_json` lists beside the text. */
  readonly lists: { readonly segments: boolean; readonly words: boolean }
  readonly streamed: boolean
}

/** In a form, everything is text, and a field left empty is one that was left out. */
const optional = <Schema extends z.ZodType>(schema: Schema) =>
  z.preprocess((value) => (value === '' ? undefined : value), schema.optional())

export const schema = z.object({
  model: z.string().min(1).max(200),
  response_format: optional(z.enum(['json', 'text', 'srt', 'vtt', 'verbose_json'])),
  language: optional(z.string().regex(/^[A-Za-z][A-Za-z-]{1,39}$/, 'must be a code such as en')),
  prompt: optional(z.string().max(promptCharactersMax)),
  temperature: optional(
    z
      .string()
      .regex(/^\d(\.\d+)?$/, 'must be a number')
      .transform(Number)
      .pipe(z.number().max(1)),
  ),
  stream: optional(z.string().regex(/^(true|false|1|0)$/i, 'must be true or false')),
  timestamp_granularities: z.array(z.enum(['word', 'segment'])).max(8),
})

export async function parseTranscriptionForm(
  body: Iterable<Buffer>,
  headers: IncomingHttpHeaders,
  goal: TranscriptionTask['goal'],
): Promise<TranscriptionRequest> {
  const form = await readForm(body, headers, { fileBytesMax: audioBytesMax, filesMax: 8 })
  const parsed = schema.safeParse({
    ...lastValues(form),
    timestamp_granularities: form.fields.get('timestamp_granularities') ?? [],
  })
  if (!parsed.success) throw invalidField(parsed.error)
  const fields = parsed.data
  const format = fields.response_format ?? 'json'
  const granularities = goal === 'transcribe' ? fields.timestamp_granularities : []
  const streamed = goal === 'transcribe' && /^(true|1)$/i.test(fields.stream ?? '')
  if (granularities.length > 0 && format !== 'verbose_json') {
    throw unsupported("needs 'response_format' to be verbose_json", 'timestamp_granularities')
  }
  if (streamed && format !== 'json' && format !== 'text') {
    throw unsupported("must be json or text where 'stream' is true", 'response_format')
  }
  const words = granularities.includes('word')
  return {
    model: fields.model,
    audio: audioOf(form),
    format,
    language: fields.language,
    prompt: fields.prompt,
    temperature: fields.temperature,
    lists: { words, segments: !words || granularities.includes('segment') },
    streamed,
  }
}

function lastValues({ fields }: Form): Record<string, string | undefined> {
  const known = ['model', 'response_format', 'language', 'prompt', 'temperature', 'stream']
  return Object.fromEntries(known.map((name) => [name, fields.get(name)?.at(-1)]))
}

function audioOf(form: Form): Buffer {
  const files = form.files.filter(({ field }) => field === 'file')
  if (files.length > 1) throw unsupported('must be given once', 'file')
  const bytes = files[0]?.bytes
  if (bytes && bytes.length > 0) return bytes
  throw new Fault({
    code: 'client.invalid_request',
    public: "'file': a recording is missing. Send it as a file of the form.",
    param: 'file',
  })
}

function unsupported(text: string, param: string): Fault {
  return new Fault({ code: 'client.unsupported_value', public: `'${param}' ${text}.`, param })
}
