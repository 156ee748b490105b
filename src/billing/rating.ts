/** Usage × pinned price → nano-units. Integers only; nothing is rounded, because prices are whole nanos for each token. */
import type { TokenUsage } from '../engines/engine.ts'
import type { PinnedPrice } from './usage.ts'

/** The charge for a usage whose parts fit into their wholes (cached ≤ input, reasoning ≤ output). */
export function rate(price: PinnedPrice, usage: TokenUsage): bigint {
  return (
    BigInt(usage.inputTokens - usage.cachedInputTokens) * price.inputNanos +
    BigInt(usage.cachedInputTokens) * price.cachedInputNanos +
    BigInt(usage.outputTokens - usage.reasoningTokens) * price.outputNanos +
    BigInt(usage.reasoningTokens) * price.reasoningNanos
  )
}

/** The most that a request within these bounds can cost, whatever the classes of its tokens. */
export function holdAmount(
  price: PinnedPrice,
  inputTokensMax: number,
  outputTokensMax: number,
): bigint {
  const input = larger(price.inputNanos, price.cachedInputNanos)
  const output = larger(price.outputNanos, price.reasoningNanos)
  return BigInt(inputTokensMax) * input + BigInt(outputTokensMax) * output
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}
