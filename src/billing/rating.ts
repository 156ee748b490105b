/**
 * Usage × pinned price → nano-units. Integers only. Prices are whole nanos for each unit, so nothing is rounded, but for one thing: a
 * discount is taken off the whole charge of a request, and what remains is rounded down, in the customer's favour, by less than one nano.
 */
import { assert } from '../platform/assert.ts'
import type { BillableUsage, PinnedPrice, UsageUnits } from './usage.ts'

/** Half the price, for work that may wait. */
export const batchDiscountBasisPoints = 5_000

const basisPoints = 10_000n
const audioMinuteMs = 60_000

/** The charge for a usage whose parts fit into their wholes (cached + system ≤ input, reasoning ≤ output). */
export function rate(price: PinnedPrice, usage: BillableUsage): bigint {
  const tokens =
    BigInt(usage.inputTokens - usage.cachedInputTokens) * price.inputNanos +
    BigInt(usage.cachedInputTokens) * price.cachedInputNanos +
    BigInt(usage.outputTokens - usage.reasoningTokens) * price.outputNanos +
    BigInt(usage.reasoningTokens) * price.reasoningNanos
  const whole = usage.units === undefined ? tokens : tokens + rateUnits(price, usage.units)
  return discounted(price, whole)
}

/**
 * The most that a request within these bounds can cost, whatever the classes of its tokens. `unitsMax` are the most that it may take of other
 * units; its system tokens are part of the input.
 */
export function holdAmount(
  price: PinnedPrice,
  inputTokensMax: number,
  outputTokensMax: number,
  unitsMax?: Omit<UsageUnits, 'systemTokens'>,
): bigint {
  const input = larger(
    larger(price.inputNanos, price.cachedInputNanos),
    price.units?.systemTokenNanos ?? 0n,
  )
  const output = larger(price.outputNanos, price.reasoningNanos)
  const tokens = BigInt(inputTokensMax) * input + BigInt(outputTokensMax) * output
  if (!unitsMax) return discounted(price, tokens)
  assert(isPriced(price, unitsMax), 'what may be used has a price')
  return discounted(price, tokens + rateUnits(price, unitsMax))
}

/** Whether every unit that may be used has a price: a surface asks before it admits. */
export function isPriced(price: PinnedPrice, units: UsageUnits): boolean {
  const pairs = [
    [units.audioMs, price.units?.audioMinuteNanos],
    [units.characters, price.units?.characterNanos],
    [units.images, price.units?.imageNanos],
    [units.rerankTokens, price.units?.rerankTokenNanos],
  ] as const
  return pairs.every(([count, nanos]) => (count ?? 0) === 0 || nanos !== undefined)
}

/** System tokens are in the input already, so only the difference between the two prices is added. */
function rateUnits(price: PinnedPrice, units: UsageUnits): bigint {
  const nanos = price.units
  const systemTokenNanos = nanos?.systemTokenNanos ?? price.inputNanos
  return (
    BigInt(units.systemTokens ?? 0) * (systemTokenNanos - price.inputNanos) +
    BigInt(startedMinutes(units.audioMs ?? 0)) * (nanos?.audioMinuteNanos ?? 0n) +
    BigInt(units.characters ?? 0) * (nanos?.characterNanos ?? 0n) +
    BigInt(units.images ?? 0) * (nanos?.imageNanos ?? 0n) +
    BigInt(units.rerankTokens ?? 0) * (nanos?.rerankTokenNanos ?? 0n)
  )
}

/** 0 → 0, 1 ms → 1, 60 s → 1, 60.001 s → 2. */
export function startedMinutes(audioMs: number): number {
  return Math.ceil(audioMs / audioMinuteMs)
}

function discounted(price: PinnedPrice, whole: bigint): bigint {
  if (price.discountBasisPoints === undefined) return whole
  return (whole * (basisPoints - BigInt(price.discountBasisPoints))) / basisPoints
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}
