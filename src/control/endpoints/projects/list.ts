import { z } from 'zod'
import { listProjects } from '../../../identity/identity.ts'
import { projectView, viewProject } from '../../identity-view.ts'
import { defineOperation } from '../../operation.ts'
import { pageQuery } from '../../page.ts'

const params = z.object({ tenantId: z.string() })
const result = z.object({ data: z.array(projectView), hasMore: z.boolean() })

export const listProjectsOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  z.infer<typeof pageQuery>,
  unknown,
  z.infer<typeof result>
>({
  id: 'projects.list',
  method: 'GET',
  path: '/tenants/:tenantId/projects',
  permission: 'projects:read',
  summary: 'List the projects of a tenant',
  params,
  query: pageQuery,
  result,
  async handle({ params: { tenantId }, query }, { tx }) {
    const { rows, hasMore } = await listProjects(tx, tenantId, query)
    return { data: rows.map(viewProject), hasMore }
  },
})
