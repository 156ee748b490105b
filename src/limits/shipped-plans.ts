/**
 * The plans that ship with the program, as a new installation gets them; an operator changes them as any other plan. Four prepaid tiers and
 * monthly billing. Source: the public tiers of Cloud Temple's LLMaaS. Pure.
 */
import type { Enforcement, LimitWindow, Measure } from './rule.ts'

export interface ShippedPlan {
  readonly id: string
  readonly name: string
  readonly rank: number
  readonly priority: 'normal' | 'high'
  readonly prepaid: boolean
  readonly upfrontCreditNanos: bigint | null
  readonly currency: string
  readonly rules: readonly ShippedRule[]
}

export interface ShippedRule {
  readonly measure: Measure
  readonly window: LimitWindow
  readonly limit: bigint
  readonly enforcement: Enforcement
  readonly onOutage: 'closed' | 'open'
}

const nanosPerEuro = 1_000_000_000n

/** Guards against floods, and no money depends on it: an absent database does not stop a tenant. */
const requestsPerMinute: ShippedRule = {
  measure: 'requests',
  window: 'minute',
  limit: 1_000n,
  enforcement: 'soft',
  onOutage: 'open',
}

/** Ranks leave room for plans of an operator's own between them. */
export const shippedPlans: readonly ShippedPlan[] = [
  tier(1, { creditEuros: 200n, monthlyEuros: 1_000n, perHour: 150_000n, perDay: 3_600_000n }),
  tier(2, { creditEuros: 500n, monthlyEuros: 3_000n, perHour: 300_000n, perDay: 7_200_000n }),
  tier(3, { creditEuros: 1_000n, monthlyEuros: 5_000n, perHour: 450_000n, perDay: 10_800_000n }),
  tier(4, { creditEuros: 4_000n, monthlyEuros: 10_000n, perHour: 600_000n, perDay: 14_400_000n }),
  {
    id: 'monthly',
    name: 'Monthly billing',
    rank: 50,
    priority: 'high',
    prepaid: false,
    upfrontCreditNanos: null,
    currency: 'EUR',
    rules: [requestsPerMinute],
  },
]

function tier(
  number: number,
  figures: {
    readonly creditEuros: bigint
    readonly monthlyEuros: bigint
    /** Output tokens. */
    readonly perHour: bigint
    readonly perDay: bigint
  },
): ShippedPlan {
  return {
    id: `tier-${number}`,
    name: `Tier ${number}`,
    rank: number * 10,
    priority: 'normal',
    prepaid: true,
    upfrontCreditNanos: figures.creditEuros * nanosPerEuro,
    currency: 'EUR',
    rules: [
      hard('amount', 'month', figures.monthlyEuros * nanosPerEuro),
      hard('output_tokens', 'hour', figures.perHour),
      hard('output_tokens', 'day', figures.perDay),
      requestsPerMinute,
    ],
  }
}

function hard(measure: Measure, window: LimitWindow, limit: bigint): ShippedRule {
  return { measure, window, limit, enforcement: 'hard', onOutage: 'closed' }
}
