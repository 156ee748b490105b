import { z } from 'zod'
import { createAccessToken, rightsOf } from '../../../identity/identity.ts'
import type { ControlDeps } from '../../deps.ts'
import { tokenView, viewToken } from '../../identity-view.ts'
import { moment } from '../../key-parameters.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string() })
const body = z.strictObject({
  name: z.string().trim().min(1).max(200),
  role: z.string().max(50),
  expiresAt: moment.nullish(),
})
const result = z.object({ token: tokenView, secret: z.string() })

export const createTenantTokenOperation = defineOperation<
  Pick<ControlDeps, 'pepper'>,
  z.infer<typeof params>,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof result>
>({
  id: 'tenant-tokens.create',
  method: 'POST',
  path: '/tenants/:tenantId/tokens',
  permission: 'tokens:write',
  summary:
    'Create an access token for a member of a tenant; its secret is shown in this answer only',
  audit: (input, { token }) => ({ resource: token.id, details: { ...input.body } }),
  params,
  body,
  result,
  async handle({ params, body: wish }, { tx, deps, actor }) {
    const ceiling = rightsOf(actor.tenantId ?? null, actor.role)
    const { token, secret } = await createAccessToken(
      tx,
      { ...wish, tenantId: params.tenantId },
      deps.pepper,
      ceiling,
    )
    return { token: viewToken(token), secret }
  },
})
