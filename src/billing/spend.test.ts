import { expect, test } from 'vitest'
import type { Measure } from '../limits/rule.ts'
import { spentOf } from './spend.ts'

const usage = { inputTokens: 100, cachedInputTokens: 90, outputTokens: 40, reasoningTokens: 30 }
const nothing = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }

const cases: readonly { measure: Measure; served: bigint; voided: bigint }[] = [
  { measure: 'requests', served: 1n, voided: 1n },
  { measure: 'input_tokens', served: 100n, voided: 0n },
  { measure: 'output_tokens', served: 40n, voided: 0n },
  { measure: 'tokens', served: 140n, voided: 0n },
  { measure: 'amount', served: 777n, voided: 0n },
  { measure: 'concurrency', served: 0n, voided: 0n },
]
for (const { measure, served, voided } of cases) {
  test(`a request spends ${served} of ${measure}, and ${voided} when nothing was served`, () => {
    expect(spentOf(measure, usage, 777n)).toBe(served)
    expect(spentOf(measure, nothing, 0n)).toBe(voided)
  })
}
