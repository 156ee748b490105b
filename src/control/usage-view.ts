import { z } from 'zod'
import { usageGroupings } from '../billing/report.ts'

export const usageQuery = z.object({
  from: z.coerce.date().optional().describe('Settled at or after this moment.'),
  to: z.coerce.date().optional().describe('Settled before this moment.'),
  groupBy: z
    .string()
    .regex(/^[a-z]+(,[a-z]+)*$/)
    .transform((text) => text.split(','))
    .pipe(z.array(z.enum(usageGroupings)).max(usageGroupings.length))
    .prefault('model')
    .describe(`Any of ${usageGroupings.join(', ')}, separated by commas.`),
  tenantId: z.string().max(200).optional(),
  projectId: z.string().max(200).optional(),
  apiKeyId: z.string().max(200).optional(),
  modelId: z.string().max(200).optional(),
  requestId: z.string().max(200).optional(),
  limit: z.coerce.number().int().min(1).max(10_000).default(1_000),
})

const figures = {
  requests: z.number(),
  inputTokens: z.number(),
  cachedInputTokens: z.number(),
  outputTokens: z.number(),
  reasoningTokens: z.number(),
  units: z
    .record(z.string(), z.number())
    .describe('Other units that were used, such as audio_minute or image, where there are any.'),
  amountNanos: z.string().describe('Exact, in nano-units of the currency.'),
  amount: z.string().describe('The same, as a decimal number of units.'),
}

export const usageView = z.object({
  data: z.array(
    z.object({ group: z.record(z.string(), z.string()), currency: z.string(), ...figures }),
  ),
  totals: z.array(z.object({ currency: z.string(), ...figures })),
  hasMore: z.boolean(),
})
