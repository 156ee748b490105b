/**
 * What gateways and the authority over limits say to each other. The authority is PostgreSQL (store.ts, `lease_limits`); the simulator has a
 * model of it that is compared with the real one. Types only.
 */
import type { Measure } from './rule.ts'

/** One counter: a rule, for a subject, in a window. */
export interface CounterId {
  readonly ruleId: string
  /** The tenant, project or key that has the amount for itself. */
  readonly subject: string
  /** 0 for `lifetime`. */
  readonly windowStartMs: number
}

/** What one life of a gateway says of one counter, and would like. All amounts are cumulative within the window and this life. */
export interface LeaseWish extends CounterId {
  readonly tenantId: string
  /** `undefined`: the window never ends. */
  readonly windowEndMs: number | undefined
  /** Spent or reserved: the lease does not fall below it, even where soft and shadow rules have let it pass the limit. */
  readonly used: bigint
  /** The lease does not fall below this either, so that the holder may go on taking during the call: at least `used`, at most what it holds. */
  readonly keep: bigint
  /** The part of `used` that is reserved for requests under way, and may come back. */
  readonly held: bigint
  /** The least that would help: `used` and the need of the smallest request that waits. Equal to `used` when none does. */
  readonly need: bigint
  /** What it would like. Equal to `used` gives back all that is not used. */
  readonly wish: bigint
  /** The last recall that it has heard of; by this wish it answers it. */
  readonly answers: number
  /** The recall that its waiting requests started, and whose answers they wait for; `undefined` when they have not started one. */
  readonly recall: number | undefined
}

export interface LeaseReply extends CounterId {
  /** The lease from now on; at least `keep`. */
  readonly granted: bigint
  readonly limit: bigint
  /** What nobody holds: the limit less all leases. Negative after a limit was lowered. */
  readonly left: bigint
  /** What others hold and do not use, as they last told, and all that lives which have just ended hold and have not spent. */
  readonly unusedElsewhere: bigint
  /** What others have reserved for requests under way, as they last told. */
  readonly heldElsewhere: bigint
  /** Room is short: what is not needed shall be given back at once. */
  readonly tight: boolean
  /** The newest recall of the counter. When `need` was not met and no `recall` was given, it is one started for this wish. */
  readonly recall: number
  /** Living holders that have not answered `recall`, where `need` was not met; else 0. */
  readonly unanswered: number
}

export interface LeaseAnswer {
  /** The authority's clock, by which windows begin and end. */
  readonly nowMs: number
  /** Living gateways, this one included. */
  readonly gateways: number
  /** In the order of the wishes; `undefined` where the rule is gone. */
  readonly replies: readonly (LeaseReply | undefined)[]
}

export interface LeaseAuthority {
  /**
   * Sets leases, all in one transaction. May be repeated when its outcome is unknown. At most `wishesMax` at once. Rejects with an error whose
   * `code` is `lifeEndedCode` when the life has ended.
   */
  lease(life: GatewayLife, wishes: readonly LeaseWish[]): Promise<LeaseAnswer>
  /** Ends the lives of this gateway that began before this one, and frees what they have not spent: once their journal is settled and in the ledger. */
  reclaim(life: GatewayLife): Promise<void>
  /** This life ends in order, with nothing under way, and all before it: their leases fall to what was spent. */
  end(life: GatewayLife): Promise<void>
  noteRefusals(refusals: readonly RefusalCount[]): Promise<void>
  /** Forgets windows that ended long ago. */
  purge(): Promise<void>
}

export const wishesMax = 500
/** SQLSTATE of `object_not_in_prerequisite_state`. */
export const lifeEndedCode = '55000'

/** One run of a gateway process. */
export interface GatewayLife {
  readonly id: string
  readonly gatewayId: string
}

export interface RefusalCount {
  readonly ruleId: string
  readonly subject: string
  readonly tenantId: string
  readonly modelId: string
  readonly hourMs: number
  readonly shadow: boolean
  readonly refusals: number
}

/** A counter that a request has taken from, as its open record names it. */
export interface LimitTake extends CounterId {
  readonly measure: Measure
}

/** What a request has spent of a counter, as its settle record says. */
export interface LimitCharge extends CounterId {
  readonly amount: bigint
}
