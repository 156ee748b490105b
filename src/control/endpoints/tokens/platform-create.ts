import { z } from 'zod'
import { createAccessToken, rightsOf } from '../../../identity/identity.ts'
import type { ControlDeps } from '../../deps.ts'
import { tokenView, viewToken } from '../../identity-view.ts'
import { moment } from '../../key-parameters.ts'
import { defineOperation } from '../../operation.ts'

const body = z.strictObject({
  name: z.string().trim().min(1).max(200),
  role: z.string().max(50),
  expiresAt: moment.nullish(),
})
const result = z.object({ token: tokenView, secret: z.string() })

export const createPlatformTokenOperation = defineOperation<
  Pick<ControlDeps, 'pepper'>,
  unknown,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof result>
>({
  id: 'tokens.create',
  method: 'POST',
  path: '/tokens',
  permission: 'tokens:write',
  summary: 'Create an access token for the platform; its secret is shown in this answer only',
  audit: (input, { token }) => ({ resource: token.id, details: { ...input.body } }),
  body,
  result,
  async handle({ body: wish }, { tx, deps, actor }) {
    const ceiling = rightsOf(actor.tenantId ?? null, actor.role)
    const { token, secret } = await createAccessToken(
      tx,
      { ...wish, tenantId: null },
      deps.pepper,
      ceiling,
    )
    return { token: viewToken(token), secret }
  },
})
