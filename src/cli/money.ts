/** Money as people write it, in units of a currency: `12.50`. Exact; no floats. */
import { CliError } from './command.ts'

const decimalsMax = 9
const pattern = new RegExp(`^(-?)(\\d{1,9})(?:\\.(\\d{1,${decimalsMax}}))?$`)

/** `12.50` → 12500000000n nano-units. `flag` is named when the text is none. */
export function parseMoney(text: string, flag: string): bigint {
  const match = pattern.exec(text)
  if (!match)
    throw new CliError(
      `${flag} takes an amount such as 12.50, with at most ${decimalsMax} decimals: not "${text}".`,
    )
  const [, sign, units = '0', decimals = ''] = match
  const nanos = BigInt(units) * 10n ** 9n + BigInt(decimals.padEnd(decimalsMax, '0'))
  return sign === '-' ? -nanos : nanos
}

/** 12500000000 nano-units → `12.50 EUR`: two decimals, and more only where they are needed. */
export function renderMoney(nanos: string, currency: string): string {
  const isNegative = nanos.startsWith('-')
  const digits = nanos.replace('-', '').padStart(decimalsMax + 1, '0')
  const decimals = digits.slice(-decimalsMax).replace(/0{1,7}$/, '')
  return `${isNegative ? '-' : ''}${digits.slice(0, -decimalsMax)}.${decimals} ${currency}`
}
