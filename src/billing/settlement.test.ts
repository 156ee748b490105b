import { expect, test } from 'vitest'
import type { TokenUsage } from '../engines/engine.ts'
import { decideUsage, type UsageEvidence } from './settlement.ts'

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
