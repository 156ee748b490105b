/** What limits an API key; `null` lifts a limit. */
import { z } from 'zod'

export const keyLimits = {
  allowedModels: z.array(z.string().min(1).max(200)).min(1).max(1_000).nullish(),
  allowedIps: z
    .array(z.string().min(1).max(50))
    .min(1)
    .max(100)
    .nullish()
    .describe('Addresses or CIDR blocks.'),
  expiresAt: z.coerce.date().nullish(),
}
