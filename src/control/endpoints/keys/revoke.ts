import { z } from 'zod'
import { revokeApiKey } from '../../../identity/identity.ts'
import type { ControlDeps } from '../../deps.ts'
import { keyView, viewKey } from '../../identity-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string(), keyId: z.string() })

export const revokeKeyOperation = defineOperation<
  Pick<ControlDeps, 'clock'>,
  z.infer<typeof params>,
  unknown,
  unknown,
  z.infer<typeof keyView>
>({
  id: 'keys.revoke',
  method: 'POST',
  path: '/tenants/:tenantId/keys/:keyId/revoke',
  permission: 'keys:write',
  summary: 'End an API key, on every gateway within 5 seconds',
  audit: (input) => ({ resource: input.params.keyId }),
  params,
  result: keyView,
  async handle({ params: { tenantId, keyId } }, { tx, deps }) {
    return viewKey(await revokeApiKey(tx, tenantId, keyId, deps.clock.nowMs()))
  },
})
