/** What a request will probably take, before any engine has seen it: what its limits reserve for it. Pure. */
import { holdAmount } from '../billing/rating.ts'
import type { PinnedPrice, UsageUnits } from '../billing/usage.ts'
import type { Amounts } from '../limits/limits.ts'

/** The most that a request may read and write. */
export interface Bounds {
  readonly inputTokensMax: number
  readonly outputTokensMax: number
}

export interface Forecast {
  /** With less than this it is not admitted. */
  readonly need: Amounts
  /** More where there is room: all the input that the body could be. */
  readonly want: Amounts
  readonly inputTokens: number
  /** What they cost at most. */
  readonly inputNanos: bigint
  readonly outputTokens: number
  readonly outputTokenNanos: bigint
}

/** Nothing is known of this key and model yet. */
export const outputTokensDefault = 256
/** An answer of this length comes whole, so it is reserved whole. */
export const wholeAnswerTokens = 64
/** A request that may be cut short begins with as little as this. */
const clampedTokens = 16

export function forecast(facts: {
  readonly bounds: Bounds
  readonly price: PinnedPrice
  readonly estimatedInputTokens: number
  /** How many tokens engines counted for each that we estimated; `undefined` when none has. */
  readonly inputRatio: number | undefined
  /** What answers like this one used to have; `undefined` when none was seen. */
  readonly usualOutputTokens: number | undefined
  /** Whether the answer may contain reasoning, which has a price of its own. */
  readonly reasons: boolean
  /** The caller prefers a shorter answer to a refusal. */
  readonly mayClamp: boolean
  /** What it takes beside tokens, if it reads so many of them. */
  readonly unitsFor: (inputTokens: number) => UsageUnits | undefined
}): Forecast {
  const { bounds, price } = facts
  const inputTokens = Math.min(
    bounds.inputTokensMax,
    Math.ceil(facts.estimatedInputTokens * (facts.inputRatio ?? 1)),
  )
  const outputTokens =
    bounds.outputTokensMax <= wholeAnswerTokens
      ? bounds.outputTokensMax
      : Math.min(bounds.outputTokensMax, facts.usualOutputTokens ?? outputTokensDefault)
  const leastOutput =
    facts.mayClamp && bounds.outputTokensMax > wholeAnswerTokens
      ? Math.min(outputTokens, clampedTokens)
      : outputTokens
  const outputTokenNanos =
    facts.reasons && price.reasoningNanos > price.outputNanos
      ? price.reasoningNanos
      : price.outputNanos
  const inputNanosOf = (input: number): bigint => holdAmount(price, input, 0, facts.unitsFor(input))
  const amountFor = (input: number, output: number): bigint =>
    inputNanosOf(input) + BigInt(output) * outputTokenNanos
  const amounts = (output: number): Amounts => ({
    requests: 1n,
    concurrency: 1n,
    input_tokens: BigInt(inputTokens),
    output_tokens: BigInt(output),
    tokens: BigInt(inputTokens + output),
  })
  return {
    need: { ...amounts(leastOutput), amount: amountFor(inputTokens, leastOutput) },
    want: { ...amounts(outputTokens), amount: amountFor(bounds.inputTokensMax, outputTokens) },
    inputTokens,
    inputNanos: inputNanosOf(inputTokens),
    outputTokens,
    outputTokenNanos,
  }
}
