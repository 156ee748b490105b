import { z } from 'zod'
import { createProject } from '../../../identity/identity.ts'
import { projectView, viewProject } from '../../identity-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string() })
const body = z.strictObject({ name: z.string().trim().min(1).max(200) })

export const createProjectOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof projectView>
>({
  id: 'projects.create',
  method: 'POST',
  path: '/tenants/:tenantId/projects',
  permission: 'projects:write',
  summary: 'Create a project',
  audit: (input, project) => ({ resource: project.id, details: { ...input.body } }),
  params,
  body,
  result: projectView,
  async handle({ params: { tenantId }, body: project }, { tx }) {
    return viewProject(await createProject(tx, tenantId, project.name))
  },
})
