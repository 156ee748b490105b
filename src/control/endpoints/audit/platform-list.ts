import { z } from 'zod'
import { listEntries, readHead } from '../../../audit/audit.ts'
import { auditQuery, auditView, viewEntry } from '../../audit-view.ts'
import { defineOperation } from '../../operation.ts'

const result = z.object({
  data: z.array(auditView),
  hasMore: z.boolean(),
  head: z.object({ sequence: z.number(), hash: z.string() }),
})

export const listPlatformAuditOperation = defineOperation<
  unknown,
  unknown,
  z.infer<typeof auditQuery>,
  unknown,
  z.infer<typeof result>
>({
  id: 'audit.list',
  method: 'GET',
  path: '/audit',
  permission: 'audit:read',
  summary: 'The audit log, in order, with the hashes that chain it, and its head',
  query: auditQuery,
  result,
  async handle({ query: { after, limit } }, { tx }) {
    // First the head, then the entries: what is added in between lies beyond the head, and never makes a whole log look cut short.
    const head = await readHead(tx)
    const rows = await listEntries(tx, { after: BigInt(after), limit: limit + 1 })
    return {
      data: rows.slice(0, limit).map(viewEntry),
      hasMore: rows.length > limit,
      head: { sequence: Number(head.sequence), hash: head.hash },
    }
  },
})
