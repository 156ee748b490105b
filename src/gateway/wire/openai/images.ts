/** OpenAI's image generation, in and out. Images are given as bytes: an address would mean that they are kept. */
import { z } from 'zod'
import type { GeneratedImage, ImageTask } from '../../../engines/engine.ts'
import { Fault } from '../../../platform/fault.ts'
import { invalidField } from './chat-request.ts'

const promptCharactersMax = 32_000
const imagesMax = 10
const edgePixelsMin = 64
const edgePixelsMax = 4_096

const word = z
  .string()
  .regex(/^[a-z_]{1,32}$/)
  .nullish()
export const schema = z.object({
  model: z.string().min(1).max(200),
  prompt: z.string().min(1, 'must not be empty').max(promptCharactersMax),
  n: z.number().int().min(1).max(imagesMax).nullish(),
  size: z
    .string()
    .refine(
      isSize,
      `must be auto, or width x height, each from ${edgePixelsMin} to ${edgePixelsMax}`,
    )
    .nullish(),
  quality: word,
  style: word,
  background: word,
  moderation: word,
  output_format: z.enum(['png', 'jpeg', 'webp']).nullish(),
  output_compression: z.number().int().min(0).max(100).nullish(),
  response_format: z.enum(['b64_json', 'url']).nullish(),
  stream: z.boolean().nullish(),
  partial_images: z.number().int().min(0).max(3).nullish(),
})

function isSize(text: string): boolean {
  if (text === 'auto') return true
  const edges = /^(\d{1,5})x(\d{1,5})$/.exec(text)?.slice(1).map(Number) ?? []
  return edges.length === 2 && edges.every((edge) => edge >= edgePixelsMin && edge <= edgePixelsMax)
}

export interface ImagesRequest {
  readonly model: string
  readonly task: ImageTask
  readonly streamed: boolean
}

export function parseImagesRequest(value: unknown): ImagesRequest {
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw invalidField(parsed.error)
  const { model, prompt, n, size, stream, partial_images: partial, ...rest } = parsed.data
  const { response_format: format, ...options } = rest
  if (format === 'url') {
    throw unsupported(
      "'response_format' url would mean that images are kept here, and nothing is. Ask for b64_json.",
      'response_format',
    )
  }
  if ((partial ?? 0) > 0) {
    throw unsupported("'partial_images' is not supported: images come whole.", 'partial_images')
  }
  return {
    model,
    streamed: stream === true,
    task: {
      kind: 'image',
      prompt,
      count: n ?? 1,
      size: size === 'auto' ? undefined : (size ?? undefined),
      options: Object.fromEntries(
        Object.entries(options).filter(([, option]) => option !== null && option !== undefined),
      ),
    },
  }
}

function unsupported(text: string, param: string): Fault {
  return new Fault({ code: 'client.unsupported_value', public: text, param })
}

export function renderImages(images: readonly GeneratedImage[], createdSeconds: number): string {
  return JSON.stringify({
    created: createdSeconds,
    ...(images[0] && { output_format: formatOf(images[0]) }),
    data: images.map((image) => ({
      b64_json: toBase64(image),
      revised_prompt: image.revisedPrompt,
    })),
  })
}

/** One event an image. Images are what is billed; tokens are not counted. */
export function renderImageEvents(
  images: readonly GeneratedImage[],
  { size, options }: ImageTask,
  createdSeconds: number,
): string {
  const tokens = { input_tokens: 0, output_tokens: 0, total_tokens: 0 }
  const events = images.map((image) => ({
    type: 'image_generation.completed',
    b64_json: toBase64(image),
    created_at: createdSeconds,
    size: size ?? 'auto',
    quality: options['quality'] ?? 'auto',
    background: options['background'] ?? 'auto',
    output_format: formatOf(image),
    usage: { ...tokens, input_tokens_details: { image_tokens: 0, text_tokens: 0 } },
  }))
  return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('')
}

function formatOf({ mediaType }: GeneratedImage): string {
  return mediaType.replace('image/', '')
}

function toBase64({ bytes }: GeneratedImage): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
