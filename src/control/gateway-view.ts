/** A gateway as the control API shows it. */
import { z } from 'zod'
import type { LeasingGateway } from '../limits/rules.ts'

export const gatewayView = z.object({
  gatewayId: z.string(),
  seenAt: z.string(),
  countersHeld: z.number().describe('Limits of which it holds a part that it has not spent'),
})

export function viewGateway(gateway: LeasingGateway): z.infer<typeof gatewayView> {
  return { ...gateway, seenAt: gateway.seenAt.toISOString() }
}
