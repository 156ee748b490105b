/** OpenAI's image generation as spoken to engines. An image is what its first bytes say; addresses are not taken, for nobody fetches them. */
import type { GeneratedImage, ImageTask, StreamPart } from '../../engine.ts'
import { collect, invalid, isRecord, parseWhole } from '../answer.ts'
import type { TaskDialect } from '../connection.ts'

/** For servers that answer with addresses unless they are asked for bytes. */
export const openAiImage: TaskDialect<ImageTask> = imageDialect({ response_format: 'b64_json' })

/** For models that always answer with bytes, and refuse to be asked for them. */
export const openAiImageBytesOnly: TaskDialect<ImageTask> = imageDialect({})

function imageDialect(fixed: Readonly<Record<string, string>>): TaskDialect<ImageTask> {
  return {
    path: '/v1/images/generations',
    render: ({ task, model }) => ({
      json: {
        ...task.options,
        model,
        prompt: task.prompt,
        n: task.count,
        size: task.size,
        ...fixed,
      },
    }),
    read(response, { task }) {
      if (response.mediaType !== 'application/json') throw invalid('the engine did not answer JSON')
      return readImages(response.body, task.count)
    },
  }
}

async function* readImages(
  chunks: AsyncIterable<Buffer>,
  count: number,
): AsyncGenerator<StreamPart> {
  const value = parseWhole(await collect(chunks))
  const data = isRecord(value) ? value['data'] : undefined
  if (!Array.isArray(data) || data.length !== count) throw invalid('a wrong number of images')
  yield { type: 'images', images: data.map(toImage) }
  yield { type: 'end' }
}

function toImage(wire: unknown): GeneratedImage {
  const text = isRecord(wire) ? wire['b64_json'] : undefined
  if (!isRecord(wire) || typeof text !== 'string') throw invalid('an image without bytes')
  const bytes = Buffer.from(text, 'base64')
  const mediaType = mediaTypeOf(bytes)
  if (!mediaType) throw invalid('an image that is none')
  const revised = wire['revised_prompt']
  return { bytes, mediaType, revisedPrompt: typeof revised === 'string' ? revised : undefined }
}

function mediaTypeOf(bytes: Buffer): string | undefined {
  const head = bytes.toString('latin1', 0, 12)
  if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png'
  if (head.startsWith('\xff\xd8\xff')) return 'image/jpeg'
  if (head.startsWith('RIFF') && head.endsWith('WEBP')) return 'image/webp'
  return undefined
}
