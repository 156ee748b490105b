import { z } from 'zod'
import { updateApiKey } from '../../../identity/identity.ts'
import { keyView, viewKey } from '../../identity-view.ts'
import { keyLimits } from '../../key-parameters.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string(), keyId: z.string() })
const body = z
  .strictObject({ name: z.string().trim().min(1).max(200).optional(), ...keyLimits })
  .refine((change) => Object.keys(change).length > 0, 'name at least one field to change')

export const updateKeyOperation = defineOperation<
  unknown,
  z.infer<typeof params>,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof keyView>
>({
  id: 'keys.update',
  method: 'PATCH',
  path: '/tenants/:tenantId/keys/:keyId',
  permission: 'keys:write',
  summary: 'Change the name or the limits of an API key',
  audit: (input) => ({ resource: input.params.keyId, details: { ...input.body } }),
  params,
  body,
  result: keyView,
  async handle({ params: { tenantId, keyId }, body: change }, { tx }) {
    return viewKey(await updateApiKey(tx, tenantId, keyId, change))
  },
})
