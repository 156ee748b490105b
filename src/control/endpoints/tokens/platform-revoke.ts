import { z } from 'zod'
import { revokeAccessToken } from '../../../identity/identity.ts'
import type { ControlDeps } from '../../deps.ts'
import { tokenView, viewToken } from '../../identity-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tokenId: z.string() })

export const revokePlatformTokenOperation = defineOperation<
  Pick<ControlDeps, 'clock'>,
  z.infer<typeof params>,
  unknown,
  unknown,
  z.infer<typeof tokenView>
>({
  id: 'tokens.revoke',
  method: 'POST',
  path: '/tokens/:tokenId/revoke',
  permission: 'tokens:write',
  summary: 'End an access token',
  audit: (input) => ({ resource: input.params.tokenId }),
  params,
  result: tokenView,
  async handle({ params }, { tx, deps, actor }) {
    const revocation = { byTokenId: actor.tokenId, nowMs: deps.clock.nowMs() }
    return viewToken(await revokeAccessToken(tx, null, params.tokenId, revocation))
  },
})
