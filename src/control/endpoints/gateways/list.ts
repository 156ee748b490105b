import { z } from 'zod'
import { listGateways } from '../../../limits/rules.ts'
import { gatewayView, viewGateway } from '../../gateway-view.ts'
import { defineOperation } from '../../operation.ts'

const result = z.object({ data: z.array(gatewayView) })

export const listGatewaysOperation = defineOperation<
  unknown,
  unknown,
  unknown,
  unknown,
  z.infer<typeof result>
>({
  id: 'gateways.list',
  method: 'GET',
  path: '/gateways',
  permission: 'fleet:read',
  summary: 'List the gateways, with their last sign of life',
  result,
  async handle(_input, { tx }) {
    return { data: (await listGateways(tx)).map(viewGateway) }
  },
})
