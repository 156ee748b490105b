import { z } from 'zod'
import { overlapMsDefault, overlapMsMax, rotateApiKey } from '../../../identity/identity.ts'
import type { ControlDeps } from '../../deps.ts'
import { keyView, viewKey } from '../../identity-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string(), keyId: z.string() })
const body = z.strictObject({
  overlapMs: z
    .int()
    .min(0)
    .max(overlapMsMax)
    .default(overlapMsDefault)
    .describe('How long the old secret works on. 0 ends all earlier secrets at once.'),
})
const result = z.object({ key: keyView, secret: z.string() })

export const rotateKeyOperation = defineOperation<
  Pick<ControlDeps, 'pepper' | 'clock'>,
  z.infer<typeof params>,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof result>
>({
  id: 'keys.rotate',
  method: 'POST',
  path: '/tenants/:tenantId/keys/:keyId/rotate',
  permission: 'keys:write',
  summary: 'Give an API key a new secret; the old one works until the overlap ends',
  audit: (input) => ({ resource: input.params.keyId, details: { ...input.body } }),
  params,
  body,
  result,
  async handle({ params: { tenantId, keyId }, body: { overlapMs } }, { tx, deps }) {
    const nowMs = deps.clock.nowMs()
    const { key, secret } = await rotateApiKey(
      tx,
      tenantId,
      keyId,
      { overlapMs, nowMs },
      deps.pepper,
    )
    return { key: viewKey(key), secret }
  },
})
