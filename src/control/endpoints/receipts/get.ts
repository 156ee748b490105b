import { z } from 'zod'
import type { ReceiptSigner } from '../../../billing/receipt.ts'
import { listBilledLegs } from '../../../billing/receipts.ts'
import { Fault } from '../../../platform/fault.ts'
import { defineOperation } from '../../operation.ts'

const params = z.object({ tenantId: z.string(), requestId: z.string().max(200) })
const result = z.object({
  requestId: z.string(),
  receipts: z
    .array(
      z.object({
        leg: z.number(),
        outcome: z.string(),
        currency: z.string(),
        amountNanos: z.string().describe('Exact, in nano-units of the currency.'),
        receipt: z
          .string()
          .describe(
            'A compact JWS with Ed25519. Its keys are at /.well-known/colonnade/receipt-keys.json.',
          ),
      }),
    )
    .describe(
      'One for each time that the request ran; more than one only with an idempotency key.',
    ),
})

export const getReceiptOperation = defineOperation<
  { readonly receipts: ReceiptSigner },
  z.infer<typeof params>,
  unknown,
  unknown,
  z.infer<typeof result>
>({
  id: 'receipts.get',
  method: 'GET',
  path: '/tenants/:tenantId/receipts/:requestId',
  permission: 'usage:read',
  summary: 'Signed receipts of a request, from the ledger',
  params,
  result,
  async handle({ params: { tenantId, requestId } }, { tx, deps }) {
    const legs = await listBilledLegs(tx, tenantId, requestId)
    if (legs.length === 0) {
      throw new Fault({
        code: 'client.not_found',
        public:
          'There is no such request in the ledger. What has just ended appears within a second.',
      })
    }
    return {
      requestId,
      receipts: legs.map((leg) => ({
        leg: leg.request.leg,
        outcome: leg.settled.outcome,
        currency: leg.request.price.currency,
        amountNanos: String(leg.settled.amountNanos),
        receipt: deps.receipts.sign(leg),
      })),
    }
  },
})
