import { z } from 'zod'
import { listOpenFindings } from '../../../billing/reconciliation.ts'
import { defineOperation } from '../../operation.ts'
import { findingView, viewFinding } from '../../reconciliation-view.ts'

const query = z.object({ limit: z.coerce.number().int().min(1).max(1_000).default(100) })
const result = z.object({
  data: z.array(
    findingView.extend({
      foundAt: z.string(),
      seenAt: z.string().describe('When a run last saw it.'),
    }),
  ),
  hasMore: z.boolean(),
})

export const listFindingsOperation = defineOperation<
  unknown,
  unknown,
  z.infer<typeof query>,
  unknown,
  z.infer<typeof result>
>({
  id: 'reconciliation.list',
  method: 'GET',
  path: '/reconciliation/findings',
  permission: 'usage:read',
  summary: 'Differences in the books that no later run has cleared',
  query,
  result,
  async handle({ query: { limit } }, { tx }) {
    const found = await listOpenFindings(tx, limit + 1)
    return {
      data: found.slice(0, limit).map((finding) => ({
        ...viewFinding(finding),
        foundAt: finding.foundAt.toISOString(),
        seenAt: finding.seenAt.toISOString(),
      })),
      hasMore: found.length > limit,
    }
  },
})
