import { z } from 'zod'
import { schema as chat } from '../../wire/openai/chat-request.ts'
import { schema as completion } from '../../wire/openai/completion-request.ts'
import { schema as embeddings } from '../../wire/openai/embeddings.ts'
import { schema as moderations } from '../../wire/openai/moderations.ts'
import { cohereSchema as rerank } from '../../wire/rerank/request.ts'
import { count } from '../answers.ts'
import { limitFacts, modelFaults } from '../errors.ts'
import type { OperationDoc } from '../operation.ts'

const endpoint = z.enum([
  '/v1/chat/completions',
  '/v1/completions',
  '/v1/embeddings',
  '/v1/rerank',
  '/v1/moderations',
])
const interval = { low: count, expected: count, high: count }
const basis = z.enum(['learned', 'default'])
const money = z.object({
  nanos: z.string().regex(/^\d+$/),
  amount: z.string().regex(/^\d+(\.\d+)?$/),
})
const milliseconds = z.object({ expected: z.number().min(0), high: z.number().min(0) })

export const estimateDoc: OperationDoc = {
  id: 'estimate',
  summary: 'Say what a request would take, before it is sent',
  description:
    'The body is that of the request itself. Nothing is run, counted or billed. Of ten such requests one is below `low`, half are below `expected`, one is above `high`; none costs more than `max`.',
  tag: 'Estimates',
  request: {
    type: 'application/json',
    name: 'EstimateRequest',
    schema: z.intersection(
      z.object({
        endpoint: endpoint.nullish().describe('Where the kind of the model does not say it.'),
      }),
      z.union([chat, completion, embeddings, rerank, moderations]),
    ),
    examples: {
      'A chat': {
        model: 'qwen3-8b',
        messages: [{ role: 'user', content: 'Tell me a story.' }],
        max_completion_tokens: 500,
      },
    },
  },
  answers: [
    {
      content: [
        {
          type: 'application/json',
          name: 'Estimate',
          schema: z.object({
            object: z.literal('estimate'),
            model: z.string(),
            endpoint,
            input_tokens: z.object({ ...interval, basis }),
            output_tokens: z.object({ ...interval, max: count, basis }),
            would_be_admitted: z.boolean(),
            limit: limitFacts.optional().describe('The limit that would refuse it.'),
            price: z.object({
              currency: z.string(),
              version: z.string(),
              low: money,
              expected: money,
              high: money,
              max: money,
            }),
            time_to_first_token_ms: milliseconds.optional(),
            total_ms: milliseconds.optional(),
          }),
        },
      ],
    },
  ],
  faults: modelFaults,
}
