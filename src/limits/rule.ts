/** What a limit says: how much of what, for whom, in which window. Pure. */

export const measures = [
  'requests',
  'input_tokens',
  'output_tokens',
  'tokens',
  'concurrency',
  'amount',
] as const
/** `tokens` are input and output together; `concurrency` are requests under way; `amount` is money in nano-units of the tenant's currency. */
export type Measure = (typeof measures)[number]

export const limitWindows = ['minute', 'hour', 'day', 'month', 'lifetime'] as const
/**
 * Per `minute` and per `hour`, room comes back evenly, up to the limit. `day` and `month` are calendar windows in the platform's time zone.
 * `lifetime` never begins anew.
 */
export type LimitWindow = (typeof limitWindows)[number]

/** The time in which all of a limit comes back; `undefined` where a window ends instead. */
export function periodOf(window: LimitWindow): number | undefined {
  if (window === 'minute') return 60_000
  return window === 'hour' ? 3_600_000 : undefined
}

export const enforcements = ['hard', 'soft', 'shadow'] as const
/**
 * `hard` is never exceeded. `soft` refuses once it is used up, and never cuts an answer that runs. `shadow` refuses nothing, and counts what
 * it would have refused.
 */
export type Enforcement = (typeof enforcements)[number]

/** A rule as gateways hold it. Survives a trip through JSON: the limit is a decimal string. */
export interface LimitRuleRecord {
  readonly id: string
  /** Exactly one of these two: a plan's rule holds for each tenant on the plan. */
  readonly planId?: string | undefined
  readonly tenantId?: string | undefined
  /** Only requests of this project, of this key, for this model; `undefined` for any. */
  readonly projectId?: string | undefined
  readonly apiKeyId?: string | undefined
  readonly modelId?: string | undefined
  /** Who has the amount for itself. */
  readonly per: 'tenant' | 'project' | 'key'
  readonly measure: Measure
  readonly window: LimitWindow
  /** Requests, tokens, or nano-units. */
  readonly limit: string
  readonly enforcement: Enforcement
  /** While the authority is away and the lease is spent: refuse, or go on with an even share of the limit. */
  readonly onOutage: 'closed' | 'open'
}

export interface PlanRecord {
  readonly id: string
  readonly name: string
  readonly rank: number
  readonly priority: 'normal' | 'high'
  readonly prepaid: boolean
}

/** All that a gateway must know to apply limits. */
export interface LimitRecords {
  readonly plans: readonly PlanRecord[]
  readonly rules: readonly LimitRuleRecord[]
  /** The plan of each tenant that has one. */
  readonly tenantPlans: readonly { readonly tenantId: string; readonly planId: string }[]
  /** The credit of each prepaid tenant: the sum of its grants, in nano-units. */
  readonly credits: readonly { readonly tenantId: string; readonly nanos: string }[]
}

/** The rule id of prepaid credit, which is a limit on the tenant's lifetime amount. */
export const creditRuleId = 'credit'
