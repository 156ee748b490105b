import { z } from 'zod'
import { retireGateway } from '../../../limits/rules.ts'
import type { Clock } from '../../../platform/clock.ts'
import { gatewayView, viewGateway } from '../../gateway-view.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ gatewayId: z.string() })

export const retireGatewayOperation = defineOperation<
  { readonly clock: Clock },
  z.infer<typeof params>,
  unknown,
  unknown,
  z.infer<typeof gatewayView>
>({
  id: 'gateways.retire',
  method: 'POST',
  path: '/gateways/:gatewayId/retire',
  permission: 'fleet:write',
  summary: 'Free what a gateway holds of limits whose disk is gone for good',
  audit: ({ params: { gatewayId } }) => ({ resource: gatewayId }),
  params,
  result: gatewayView,
  async handle({ params: { gatewayId } }, { tx, deps }) {
    return viewGateway(await retireGateway(tx, gatewayId, deps.clock.nowMs()))
  },
})
