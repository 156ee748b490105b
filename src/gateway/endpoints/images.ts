import type { GeneratedImage, ImageTask, StreamPart } from '../../engines/engine.ts'
import { assert } from '../../platform/assert.ts'
import { parseBoundedJson } from '../../platform/http/json-limits.ts'
import { defineEndpoint } from '../endpoint.ts'
import { imagesDoc } from '../openapi/operations/images.ts'
import { streamAnswer } from '../stages/respond.ts'
import { keepAliveComment } from '../wire/openai/chat-stream.ts'
import { parseImagesRequest, renderImageEvents, renderImages } from '../wire/openai/images.ts'
import type { Work } from '../work.ts'

interface ImagesWork extends Work {
  readonly image: ImageTask
}

export const images = defineEndpoint<ImagesWork>({
  path: '/v1/images/generations',
  doc: imagesDoc,

  parse: (bytes) => toImagesWork(parseBoundedJson(bytes)),

  async respond({ exchange, work, parts, deps }) {
    let made: readonly GeneratedImage[] | undefined
    const createdSeconds = Math.floor(deps.clock.nowMs() / 1_000)
    if (work.streamed) {
      // An image is passed on once it is settled, as everything else that comes whole.
      const encode = (part: StreamPart): string => {
        if (part.type === 'images') made = part.images
        return part.type === 'end' && made
          ? renderImageEvents(made, work.image, createdSeconds)
          : ''
      }
      const { clock } = deps
      await streamAnswer({ exchange, parts, encode, keepAlive: keepAliveComment, clock })
      return
    }
    for await (const part of parts) if (part.type === 'images') made = part.images
    assert(made, 'an answer of images has images')
    const body = renderImages(made, createdSeconds)
    await exchange.send(200, { 'content-type': 'application/json' }, body)
  },
})

function toImagesWork(value: unknown): ImagesWork {
  const { model, task, streamed } = parseImagesRequest(value)
  return {
    endpoint: '/v1/images/generations',
    modelName: model,
    streamed,
    tasks: [task],
    image: task,
    estimatedInputTokens: 0,
    inputTokensMax: 0,
    longestTextBytes: Buffer.byteLength(task.prompt),
    choices: 0,
    maxOutputTokens: 0,
    units: { images: task.count },
  }
}
