import { z } from 'zod'
import { listEntries } from '../../../audit/audit.ts'
import { auditQuery, auditView, viewEntry } from '../../audit-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string() })
const result = z.object({ data: z.array(auditView), hasMore: z.boolean() })

export const listTenantAuditOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  z.infer<typeof auditQuery>,
  unknown,
  z.infer<typeof result>
>({
  id: 'tenant-audit.list',
  method: 'GET',
  path: '/tenants/:tenantId/audit',
  permission: 'audit:read',
  summary: 'Entries of the audit log that concern a tenant',
  params,
  query: auditQuery,
  result,
  async handle({ params, query: { after, limit } }, { tx }) {
    const rows = await listEntries(tx, {
      tenantId: params.tenantId,
      after: BigInt(after),
      limit: limit + 1,
    })
    return { data: rows.slice(0, limit).map(viewEntry), hasMore: rows.length > limit }
  },
})
