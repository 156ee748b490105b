/** Prices as people write them, in currency per million tokens or for one unit, and as they are kept, in nano-units. Exact; no floats. */

/** A nano-unit per token is a thousandth of the currency per million: finer prices do not exist. */
const decimalsMax = 3
const pattern = new RegExp(`^(\\d{1,9})(?:\\.(\\d{1,${decimalsMax}}))?$`)

/** `0.9` → 900n. `undefined` for what is no amount, or a finer one. */
export function nanosFromPerMillion(text: string): bigint | undefined {
  const match = pattern.exec(text)
  if (!match) return undefined
  return BigInt(match[1] ?? 0) * 1_000n + BigInt((match[2] ?? '').padEnd(decimalsMax, '0'))
}

/** 900n → `0.9`. */
export function perMillionFromNanos(nanos: bigint): string {
  const fraction = String(nanos % 1_000n)
    .padStart(decimalsMax, '0')
    .replace(/0+$/, '')
  return fraction === '' ? String(nanos / 1_000n) : `${nanos / 1_000n}.${fraction}`
}

const nanoDecimals = 9
const onePattern = new RegExp(`^(\\d{1,9})(?:\\.(\\d{1,${nanoDecimals}}))?$`)

/** What one minute or one image costs: `0.01` → 10000000n. `undefined` for what is no amount, or a finer one. */
export function nanosFromAmount(text: string): bigint | undefined {
  const match = onePattern.exec(text)
  if (!match) return undefined
  return BigInt(match[1] ?? 0) * 1_000_000_000n + BigInt((match[2] ?? '').padEnd(nanoDecimals, '0'))
}
