import { expect, test } from 'vitest'
import type { TokenUsage } from '../engines/engine.ts'
import {
  completeSettlement,
  decideUsage,
  settleCrashed,
  type Settlement,
  type UsageEvidence,
} from './settlement.ts'
import type { OpenedRequest } from './usage.ts'

const claimed = (fields: Partial<TokenUsage> = {}): TokenUsage => ({
  inputTokens: 20,
  cachedInputTokens: 5,
  outputTokens: 30,
  reasoningTokens: 10,
  ...fields,
})
const evidence = (fields: Partial<UsageEvidence> = {}): UsageEvidence => ({
  claimed: claimed(),
  metered: {
    outputTokens: 28,
    estimatedOutputTokens: 29,
    reasoningTokens: 9,
    claimDecreased: false,
  },
  estimatedInputTokens: 18,
  bounds: { inputTokensMax: 100, outputTokensMax: 50 },
  complete: true,
  ...fields,
})
const ownCount = { inputTokens: 18, cachedInputTokens: 0, outputTokens: 29, reasoningTokens: 9 }

const cases: { name: string; given: UsageEvidence; want: TokenUsage; suspect: boolean }[] = [
  { name: 'an honest engine is believed', given: evidence(), want: claimed(), suspect: false },
  {
    name: 'no figures at the end: our own count, marked',
    given: evidence({ claimed: undefined }),
    want: ownCount,
    suspect: true,
  },
  {
    name: 'negative output',
    given: evidence({ claimed: claimed({ outputTokens: -1 }) }),
    want: ownCount,
    suspect: true,
  },
  {
    name: 'output that is no number',
    given: evidence({ claimed: claimed({ outputTokens: NaN }) }),
    want: ownCount,
    suspect: true,
  },
  {
    name: 'a fraction of a token',
    given: evidence({ claimed: claimed({ inputTokens: 1.5 }) }),
    want: ownCount,
    suspect: true,
  },
  {
    name: 'a billion output tokens',
    given: evidence({ claimed: claimed({ outputTokens: 1e12 }) }),
    want: ownCount,
    suspect: true,
  },
  {
    name: 'more input than the body can hold',
    given: evidence({ claimed: claimed({ inputTokens: 101 }) }),
    want: ownCount,
    suspect: true,
  },
  {
    name: 'more cached than input',
    given: evidence({ claimed: claimed({ cachedInputTokens: 21 }) }),
    want: ownCount,
    suspect: true,
  },
  {
    name: 'more reasoning than output',
    given: evidence({ claimed: claimed({ reasoningTokens: 31 }) }),
    want: ownCount,
    suspect: true,
  },
  {
    name: 'nothing, although something was said',
    given: evidence({ claimed: claimed({ outputTokens: 0, reasoningTokens: 0 }) }),
    want: ownCount,
    suspect: true,
  },
  {
    name: 'nothing, although three deltas went by',
    given: evidence({
      claimed: claimed({ outputTokens: 0, reasoningTokens: 0 }),
      metered: {
        outputTokens: 3,
        estimatedOutputTokens: 3,
        reasoningTokens: 0,
        claimDecreased: false,
      },
    }),
    want: { ...ownCount, outputTokens: 3, reasoningTokens: 0 },
    suspect: true,
  },
  {
    name: 'far less than what was said',
    given: evidence({
      claimed: claimed({ outputTokens: 2, reasoningTokens: 0 }),
    }),
    want: ownCount,
    suspect: true,
  },
  {
    name: 'nothing said and nothing claimed is believed',
    given: evidence({
      claimed: claimed({ outputTokens: 0, reasoningTokens: 0 }),
      metered: {
        outputTokens: 0,
        estimatedOutputTokens: 0,
        reasoningTokens: 0,
        claimDecreased: false,
      },
    }),
    want: claimed({ outputTokens: 0, reasoningTokens: 0 }),
    suspect: false,
  },
  {
    name: 'a cut answer whose last report came before its first token',
    given: evidence({
      claimed: claimed({ outputTokens: 0, reasoningTokens: 0 }),
      complete: false,
    }),
    want: claimed({ outputTokens: 28, reasoningTokens: 0 }),
    suspect: false,
  },
  {
    name: 'running totals that went down',
    given: evidence({
      metered: {
        outputTokens: 28,
        estimatedOutputTokens: 29,
        reasoningTokens: 9,
        claimDecreased: true,
      },
    }),
    want: ownCount,
    suspect: true,
  },
  {
    name: 'a cut answer without figures: what went by, and no suspicion',
    given: evidence({ claimed: undefined, complete: false }),
    want: { ...ownCount, outputTokens: 28 },
    suspect: false,
  },
  {
    name: 'a cut answer: deltas after the last report count too',
    given: evidence({
      claimed: claimed({ outputTokens: 25, reasoningTokens: 9 }),
      complete: false,
    }),
    want: claimed({ outputTokens: 28, reasoningTokens: 9 }),
    suspect: false,
  },
  {
    name: 'our own count never exceeds the bound either',
    given: evidence({ claimed: undefined, bounds: { inputTokensMax: 10, outputTokensMax: 12 } }),
    want: { inputTokens: 10, cachedInputTokens: 0, outputTokens: 12, reasoningTokens: 9 },
    suspect: true,
  },
]
for (const { name, given, want, suspect } of cases) {
  test(name, () => {
    expect(decideUsage(given)).toEqual({ usage: want, suspect })
  })
}

const opened: OpenedRequest = {
  requestId: 'req_1',
  leg: 0,
  tenantId: 'ten_AAAAAAAAAAAAAAAA',
  projectId: 'prj_AAAAAAAAAAAAAAAA',
  apiKeyId: 'key_AAAAAAAAAAAAAAAA',
  modelId: 'm',
  endpoint: '/v1/chat/completions',
  streamed: true,
  price: {
    version: 'test',
    currency: 'EUR',
    inputNanos: 1n,
    cachedInputNanos: 1n,
    outputNanos: 1n,
    reasoningNanos: 1n,
  },
  estimatedInputTokens: 18,
  maxOutputTokens: 50,
  heldNanos: 100n,
  startedAtMs: 1_000,
  lifeId: '',
  takes: [],
  alreadyChargedNanos: 0n,
}

test('a crash before any progress is billed the estimated input, never nothing', () => {
  expect(
    settleCrashed({ request: opened, progress: undefined, replicaId: undefined, takes: [] }, 4_000),
  ).toMatchObject({
    outcome: 'crashed',
    usage: { inputTokens: 18, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 },
    durationMs: 3_000,
  })
})

test('a crash after progress is billed that progress', () => {
  const progress = claimed({ outputTokens: 64 })
  expect(
    settleCrashed({ request: opened, progress, replicaId: undefined, takes: [] }, 4_000).usage,
  ).toEqual(progress)
})

test('a clock that was set back makes no negative duration', () => {
  expect(
    settleCrashed({ request: opened, progress: undefined, replicaId: undefined, takes: [] }, 0)
      .durationMs,
  ).toBe(0)
})

const price = { ...opened.price, outputNanos: 10n }
const used = (outputTokens: number): TokenUsage => ({
  inputTokens: 0,
  cachedInputTokens: 0,
  outputTokens,
  reasoningTokens: 0,
})
const charges: readonly {
  readonly name: string
  readonly request?: Partial<OpenedRequest>
  readonly settlement?: Partial<Settlement>
  readonly amount: bigint
  readonly waived: bigint
}[] = [
  { name: 'what it costs', amount: 50n, waived: 0n },
  { name: 'the hold', request: { heldNanos: 30n }, amount: 30n, waived: 20n },
  { name: 'what budgets reserved', settlement: { amountMaxNanos: 20n }, amount: 20n, waived: 30n },
  { name: 'all of a larger budget', settlement: { amountMaxNanos: 80n }, amount: 50n, waived: 0n },
  {
    name: 'what earlier legs left',
    request: { alreadyChargedNanos: 15n },
    amount: 35n,
    waived: 0n,
  },
  {
    name: 'nothing, when earlier legs were charged more than the whole costs',
    request: { alreadyChargedNanos: 60n },
    amount: 0n,
    waived: 0n,
  },
  {
    name: 'what earlier legs left of the hold',
    request: { alreadyChargedNanos: 15n, heldNanos: 30n },
    amount: 15n,
    waived: 20n,
  },
  {
    name: 'nothing, when a budget reserved no more than earlier legs used',
    request: { alreadyChargedNanos: 15n },
    settlement: { amountMaxNanos: 10n },
    amount: 0n,
    waived: 35n,
  },
  { name: 'nothing when voided', settlement: { outcome: 'voided' }, amount: 0n, waived: 0n },
]
for (const { name, request, settlement, amount, waived } of charges) {
  test(`a request is charged ${name}`, () => {
    const asked: bigint[] = []
    const settled = completeSettlement(
      { ...opened, price, ...request },
      {
        outcome: 'completed',
        usage: used(5),
        usageSuspect: false,
        replicaId: undefined,
        timeToFirstTokenMs: undefined,
        durationMs: 1,
        amountMaxNanos: undefined,
        chargeLimits(amountNanos) {
          asked.push(amountNanos)
          return [
            { ruleId: 'a', subject: 'x', windowStartMs: 0, amount: amountNanos },
            { ruleId: 'b', subject: 'x', windowStartMs: 0, amount: 0n },
          ]
        },
        ...settlement,
      },
      { nowMs: 7, engineNoted: false },
    )
    expect(settled).toMatchObject({ amountNanos: amount, waivedNanos: waived, settledAtMs: 7 })
    expect(asked).toEqual([amount])
    expect(settled.charges.map((charge) => charge.amount)).toEqual(amount > 0n ? [amount] : [])
  })
}

test('a crash charges each window that the request touched in full, by its measure, and no concurrency', () => {
  const measures = ['requests', 'output_tokens', 'amount', 'concurrency', 'tokens'] as const
  const takes = measures.map((measure, index) => ({
    ruleId: measure,
    subject: 'x',
    windowStartMs: index,
    measure,
  }))
  const leftover = { request: { ...opened, price }, progress: used(5), replicaId: 'rep_1', takes }
  const settled = completeSettlement(leftover.request, settleCrashed(leftover, 4_000), {
    nowMs: 4_000,
    engineNoted: false,
  })
  expect(settled).toMatchObject({ outcome: 'crashed', replicaId: 'rep_1', amountNanos: 50n })
  expect(settled.charges.map(({ ruleId, amount }) => [ruleId, amount])).toEqual([
    ['requests', 1n],
    ['output_tokens', 5n],
    ['amount', 50n],
    ['tokens', 5n],
  ])
})
