import { z } from 'zod'
import { schema as request } from '../../wire/openai/embeddings.ts'
import { count } from '../answers.ts'
import type { OperationDoc } from '../operation.ts'

export const embeddingsDoc: OperationDoc = {
  id: 'createEmbedding',
  summary: 'Turn texts into vectors',
  description:
    'A text that is longer than the model’s window is refused. `base64` is the vector’s 32-bit numbers, little-endian.',
  tag: 'Embeddings',
  isBilled: true,
  request: {
    type: 'application/json',
    name: 'EmbeddingRequest',
    schema: request,
    examples: {
      'A text': { model: 'bge-m3', input: 'Where is the library?' },
      'Several texts, in Base64': {
        model: 'bge-m3',
        input: ['Where is the library?', 'It is open until six.'],
        encoding_format: 'base64',
      },
    },
  },
  answers: [
    {
      description: 'One vector for each input, in their order.',
      content: [
        {
          type: 'application/json',
          name: 'EmbeddingList',
          schema: z.object({
            object: z.literal('list'),
            data: z.array(
              z.object({
                object: z.literal('embedding'),
                index: z.number().int().min(0),
                embedding: z.union([z.array(z.number()), z.base64()]),
              }),
            ),
            model: z.string(),
            usage: z.object({ prompt_tokens: count, total_tokens: count }),
          }),
        },
      ],
    },
  ],
}
