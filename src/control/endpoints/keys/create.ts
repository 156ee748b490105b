import { z } from 'zod'
import { createApiKey } from '../../../identity/identity.ts'
import type { ControlDeps } from '../../deps.ts'
import { keyView, viewKey } from '../../identity-view.ts'
import { keyLimits } from '../../key-parameters.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string() })
const body = z.strictObject({
  projectId: z.string(),
  name: z.string().trim().min(1).max(200),
  ...keyLimits,
})
const result = z.object({ key: keyView, secret: z.string() })

export const createKeyOperation = defineOperation<
  Pick<ControlDeps, 'pepper'>,
  z.infer<typeof params>,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof result>
>({
  id: 'keys.create',
  method: 'POST',
  path: '/tenants/:tenantId/keys',
  permission: 'keys:write',
  summary: 'Create an API key; its secret is shown in this answer only',
  audit: (input, { key }) => ({ resource: key.id, details: { ...input.body } }),
  params,
  body,
  result,
  async handle({ params: { tenantId }, body: wish }, { tx, deps }) {
    const { key, secret } = await createApiKey(tx, { ...wish, tenantId }, deps.pepper)
    return { key: viewKey(key), secret }
  },
})
