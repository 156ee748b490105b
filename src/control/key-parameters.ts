/** What limits an API key; `null` lifts a limit. */
import { z } from 'zod'

/** A moment with its offset. The bounds keep slips, and years that the database cannot hold, out. */
export const moment = z.iso
  .datetime({ offset: true })
  .transform((text) => new Date(text))
  .pipe(z.date().min(new Date('2000-01-01')).max(new Date('2200-01-01')))

export const keyLimits = {
  allowedModels: z.array(z.string().min(1).max(200)).min(1).max(1_000).nullish(),
  allowedIps: z
    .array(z.string().min(1).max(50))
    .min(1)
    .max(100)
    .nullish()
    .describe('Addresses or CIDR blocks.'),
  expiresAt: moment.nullish().describe('When it ends by itself.'),
}
