/** What stands in the answers of more than one endpoint. */
import { z } from 'zod'
import { limitFacts } from './errors.ts'

export const count = z.number().int().min(0)
export const seconds = z.number().int().min(0).describe('Seconds since 1970.')

/** Beside the answer itself, where clients that do not know them look past. */
export const besides = {
  limit: limitFacts.optional().describe('The limit that ended the answer, where one did.'),
  receipt: z.string().optional().describe('A signed receipt, for a request that asked for one.'),
}

export const chatUsage = z.object({
  prompt_tokens: count,
  completion_tokens: count,
  total_tokens: count,
  prompt_tokens_details: z.object({ cached_tokens: count, audio_tokens: count }),
  completion_tokens_details: z.object({
    reasoning_tokens: count,
    audio_tokens: count,
    accepted_prediction_tokens: count,
    rejected_prediction_tokens: count,
  }),
})

const tokenFields = {
  token: z.string(),
  logprob: z.number(),
  bytes: z.array(z.number().int().min(0).max(255)).nullable(),
}
export const tokenLogprob = z.object({
  ...tokenFields,
  top_logprobs: z.array(z.object(tokenFields)),
})

export const servedTier = z.enum(['default', 'flex', 'scale', 'priority', 'fast'])

/** OpenAI's usage of what is billed by time. */
export const durationUsage = z.object({
  type: z.literal('duration'),
  seconds: z.number().min(0),
})

export function listOf<Item extends z.ZodType>(item: Item) {
  return z.object({
    object: z.literal('list'),
    data: z.array(item),
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
    has_more: z.boolean(),
  })
}
