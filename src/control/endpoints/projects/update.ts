import { z } from 'zod'
import { updateProject } from '../../../identity/identity.ts'
import { projectView, viewProject } from '../../identity-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string(), projectId: z.string() })
const body = z
  .strictObject({ name: z.string().trim().min(1).max(200), state: z.enum(['active', 'archived']) })
  .partial()
  .refine((change) => Object.keys(change).length > 0, 'name at least one field to change')

export const updateProjectOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof projectView>
>({
  id: 'projects.update',
  method: 'PATCH',
  path: '/tenants/:tenantId/projects/:projectId',
  permission: 'projects:write',
  summary: 'Rename or archive a project; keys of an archived project stop working',
  audit: (input) => ({ resource: input.params.projectId, details: { ...input.body } }),
  params,
  body,
  result: projectView,
  async handle({ params: { tenantId, projectId }, body: change }, { tx }) {
    return viewProject(await updateProject(tx, tenantId, projectId, change))
  },
})
