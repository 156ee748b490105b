/**
 * Sums of settlements by tenant, model and hour, as they become durable. They go to the database on a way of their own (totals.ts), so that
 * what is lost between the journal and the ledger shows as a difference. Pure.
 */
import type { TokenUsage } from '../engines/engine.ts'
import type { EngineTotal, JournalTotal } from './store.ts'

export interface TalliedSettlement {
  readonly requestId: string
  readonly leg: number
  readonly tenantId: string
  readonly modelId: string
  readonly currency: string
  readonly settledAtMs: number
  readonly usage: TokenUsage
  readonly amountNanos: bigint
}

export interface Tally {
  readonly isEmpty: boolean
  addSettlement(settlement: TalliedSettlement): void
  /** What an engine said of a request that was settled at that moment. */
  addEngine(settlement: TalliedSettlement, claimed: TokenUsage): void
  journal(): readonly JournalTotal[]
  engines(): readonly EngineTotal[]
}

/** As many requests are remembered by name; beyond, they are only counted. Some megabytes. */
const namedMax = 20_000
const hourMs = 3_600_000

interface Sums {
  requests: number
  input: bigint
  cached: bigint
  output: bigint
  reasoning: bigint
  amount: bigint
  legs: string[]
}

interface Group extends Sums {
  readonly tenantId: string
  readonly modelId: string
  readonly currency: string
  readonly hour: string
}

export function createTally(): Tally {
  const settled = new Map<string, Group>()
  const claimed = new Map<string, Group>()
  let named = 0
  return {
    get isEmpty() {
      return settled.size === 0 && claimed.size === 0
    },
    addSettlement(settlement) {
      const group = groupOf(settled, settlement)
      addUsage(group, settlement.usage)
      group.amount += settlement.amountNanos
      named += 1
      if (named <= namedMax) group.legs.push(`${settlement.requestId} ${settlement.leg}`)
    },
    addEngine(settlement, usage) {
      addUsage(groupOf(claimed, settlement), usage)
    },
    journal: () =>
      [...settled.values()].map((group) => ({
        tenant_id: group.tenantId,
        model_id: group.modelId,
        currency: group.currency,
        hour: group.hour,
        requests: group.requests,
        input_tokens: String(group.input),
        cached_input_tokens: String(group.cached),
        output_tokens: String(group.output),
        reasoning_tokens: String(group.reasoning),
        amount_nanos: String(group.amount),
        request_legs: group.legs.length === group.requests ? group.legs : null,
      })),
    engines: () =>
      [...claimed.values()].map((group) => ({
        tenant_id: group.tenantId,
        model_id: group.modelId,
        hour: group.hour,
        requests: group.requests,
        input_tokens: String(group.input),
        output_tokens: String(group.output),
      })),
  }
}

function groupOf(groups: Map<string, Group>, settlement: TalliedSettlement): Group {
  const { tenantId, modelId, currency, settledAtMs } = settlement
  const startMs = settledAtMs - (settledAtMs % hourMs)
  const key = `${tenantId} ${currency} ${startMs} ${modelId}`
  const found = groups.get(key)
  if (found) return found
  const hour = new Date(startMs).toISOString()
  const group = { tenantId, modelId, currency, hour, ...emptySums() }
  groups.set(key, group)
  return group
}

function emptySums(): Sums {
  return { requests: 0, input: 0n, cached: 0n, output: 0n, reasoning: 0n, amount: 0n, legs: [] }
}

/** Engines say what they like: what is no whole number counts as none, and so differs from what was billed. */
function addUsage(sums: Sums, usage: TokenUsage): void {
  sums.requests += 1
  sums.input += whole(usage.inputTokens)
  sums.cached += whole(usage.cachedInputTokens)
  sums.output += whole(usage.outputTokens)
  sums.reasoning += whole(usage.reasoningTokens)
}

function whole(count: number): bigint {
  return Number.isSafeInteger(count) ? BigInt(count) : 0n
}
