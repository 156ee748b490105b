import { z } from 'zod'
import { revokeAccessToken } from '../../../identity/identity.ts'
import type { ControlDeps } from '../../deps.ts'
import { tokenView, viewToken } from '../../identity-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string(), tokenId: z.string() })

export const revokeTenantTokenOperation = defineOperation<
  Pick<ControlDeps, 'clock'>,
  z.infer<typeof params>,
  unknown,
  unknown,
  z.infer<typeof tokenView>
>({
  id: 'tenant-tokens.revoke',
  method: 'POST',
  path: '/tenants/:tenantId/tokens/:tokenId/revoke',
  permission: 'tokens:write',
  summary: 'End an access token',
  audit: (input) => ({ resource: input.params.tokenId }),
  params,
  result: tokenView,
  async handle({ params }, { tx, deps, actor }) {
    const revocation = { byTokenId: actor.tokenId, nowMs: deps.clock.nowMs() }
    return viewToken(await revokeAccessToken(tx, params.tenantId, params.tokenId, revocation))
  },
})
