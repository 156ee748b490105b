/** What a request is worth in the measure of a limit. Pure; a crash settles by it, and so does the gateway that lives. */
import type { TokenUsage } from '../engines/engine.ts'
import type { Measure } from '../limits/rule.ts'

/** Counted as it is served, and given back when it ends: `concurrency` spends nothing. */
export function spentOf(measure: Measure, usage: TokenUsage, amountNanos: bigint): bigint {
  switch (measure) {
    case 'requests':
      return 1n
    case 'input_tokens':
      return BigInt(usage.inputTokens)
    case 'output_tokens':
      return BigInt(usage.outputTokens)
    case 'tokens':
      return BigInt(usage.inputTokens) + BigInt(usage.outputTokens)
    case 'amount':
      return amountNanos
    case 'concurrency':
      return 0n
  }
}
