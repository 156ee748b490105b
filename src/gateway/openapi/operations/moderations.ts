import { z } from 'zod'
import { moderationCategories, schema as request } from '../../wire/openai/moderations.ts'
import type { OperationDoc } from '../operation.ts'

function byCategory<Value extends z.ZodType>(value: Value) {
  return z.object(
    Object.fromEntries(moderationCategories.map((category) => [category, value])) as Record<
      (typeof moderationCategories)[number],
      Value
    >,
  )
}

export const moderationsDoc: OperationDoc = {
  id: 'createModeration',
  summary: 'Judge what is harmful in texts',
  description:
    'By a moderation or a guard model. Without `model`, or with the name of one of OpenAI’s, by the only one that you may use. Images are not judged.',
  tag: 'Moderations',
  isBilled: true,
  request: {
    type: 'application/json',
    name: 'ModerationRequest',
    schema: request,
    examples: {
      'Two texts': { model: 'llama-guard-3-8b', input: ['I like apples.', 'I will hurt you.'] },
    },
  },
  answers: [
    {
      description: 'One result for each input; a list of parts is one input.',
      content: [
        {
          type: 'application/json',
          name: 'Moderation',
          schema: z.object({
            id: z.string().startsWith('modr-'),
            model: z.string(),
            results: z.array(
              z.object({
                flagged: z.boolean(),
                categories: byCategory(z.boolean()),
                category_scores: byCategory(z.number().min(0).max(1)),
                category_applied_input_types: byCategory(z.array(z.literal('text'))),
              }),
            ),
          }),
        },
      ],
    },
  ],
}
