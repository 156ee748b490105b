/** Audit entries as they leave: the exact bytes that were hashed, so that a copy can be verified by anyone. */
import { z } from 'zod'
import type { StoredEntry } from '../audit/audit.ts'

export const auditQuery = z.object({
  after: z.coerce
    .number()
    .int()
    .min(0)
    .default(0)
    .describe('The last sequence of the page before.'),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
})

export const auditView = z.object({
  sequence: z.number(),
  payload: z
    .string()
    .describe(
      'Canonical JSON: who did what to which resource, when, from where, and how it ended.',
    ),
  previousHash: z.string(),
  hash: z.string(),
})

export function viewEntry(entry: StoredEntry): z.infer<typeof auditView> {
  return { ...entry, sequence: Number(entry.sequence) }
}
