/** Bugs that are planted to see that the checkers find them. Each changes the world around the product, which stays as it is. */
import type { Billing, Hold } from '../../src/billing/billing.ts'
import { completeSettlement } from '../../src/billing/settlement.ts'
import type { OpenedRequest } from '../../src/billing/usage.ts'

export const plants = ['skip-fsync', 'drop-unique-key', 'release-before-settle'] as const
export type Plant = (typeof plants)[number]

/** Says that a request is settled while its settlement is still on its way to the disk. */
export function settleTooEarly(billing: Billing): Billing {
  return {
    ...billing,
    lagEvents: () => billing.lagEvents(),
    open: async (request) => early(request, await billing.open(request)),
  }
}

function early(request: OpenedRequest, hold: Hold): Hold {
  return {
    ...hold,
    settle(settlement) {
      const settled = completeSettlement(request, settlement, {
        nowMs: request.startedAtMs,
        engineNoted: false,
      })
      hold.settle({ ...settlement, chargeLimits: () => settled.charges }).catch(() => {
        // Nobody waits for it: that is the bug.
      })
      return Promise.resolve(settled)
    },
  }
}
