import { z } from 'zod'
import { findingKinds, type Finding } from '../billing/reconciliation.ts'

export const findingView = z.object({
  key: z.string().describe('What differs; the same difference keeps its key.'),
  kind: z.enum(findingKinds),
  tenantId: z.string().nullable(),
  hour: z.string().nullable().describe('The hour (UTC) that it is in, where there is one.'),
  details: z.record(z.string(), z.unknown()).describe('Both sides, and the requests that differ.'),
})

export function viewFinding(finding: Finding): z.infer<typeof findingView> {
  return { ...finding, hour: finding.hour?.toISOString() ?? null }
}
