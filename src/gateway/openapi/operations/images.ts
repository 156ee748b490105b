import { z } from 'zod'
import { schema as request } from '../../wire/openai/images.ts'
import { seconds } from '../answers.ts'
import { openAiError } from '../errors.ts'
import type { OperationDoc } from '../operation.ts'

const format = z.enum(['png', 'jpeg', 'webp'])
const nothing = z.literal(0)

export const imagesDoc: OperationDoc = {
  id: 'createImage',
  summary: 'Make images from a text',
  description:
    'Images come as data: nothing is kept that an address could lead to. Each image is billed; tokens are not counted.',
  tag: 'Images',
  isBilled: true,
  request: {
    type: 'application/json',
    name: 'ImageRequest',
    schema: request,
    examples: {
      'An image': { model: 'flux.1-schnell', prompt: 'A cat on a roof', size: '512x512', n: 1 },
    },
  },
  answers: [
    {
      description: 'One object, or one event for each image where `stream` is true.',
      content: [
        {
          type: 'application/json',
          name: 'ImageList',
          schema: z.object({
            created: seconds,
            output_format: format,
            data: z
              .array(z.object({ b64_json: z.base64(), revised_prompt: z.string().optional() }))
              .min(1),
          }),
        },
        {
          type: 'text/event-stream',
          name: 'ImageEvent',
          schema: z.union([
            z.object({
              type: z.literal('image_generation.completed'),
              b64_json: z.base64(),
              created_at: seconds,
              size: z.string(),
              quality: z.string(),
              background: z.string(),
              output_format: format,
              usage: z.object({
                input_tokens: nothing,
                output_tokens: nothing,
                total_tokens: nothing,
                input_tokens_details: z.object({ image_tokens: nothing, text_tokens: nothing }),
              }),
            }),
            openAiError.schema,
          ]),
          isNamed: true,
          end: { types: ['image_generation.completed'] },
        },
      ],
    },
  ],
}
