import { expect, test } from 'vitest'
import { CliError } from './command.ts'
import { parseMoney, renderMoney } from './money.ts'

test.each([
  ['12.50', 12_500_000_000n, '12.50 EUR'],
  ['50', 50_000_000_000n, '50.00 EUR'],
  ['0', 0n, '0.00 EUR'],
  ['-0.5', -500_000_000n, '-0.50 EUR'],
  ['0.0001833', 183_300n, '0.0001833 EUR'],
  ['0.000000001', 1n, '0.000000001 EUR'],
  ['999999999.999999999', 999_999_999_999_999_999n, '999999999.999999999 EUR'],
])('%s is %s nano-units, and is shown as %s', (text, nanos, shown) => {
  expect(parseMoney(text, '--limit')).toBe(nanos)
  expect(renderMoney(String(nanos), 'EUR')).toBe(shown)
})

test.each(['', '.5', '5.', '1,50', '1e3', '+1', '1 000', '0.0000000001', '1000000000', '12.50€'])(
  '"%s" is no amount, and the flag is named',
  (text) => {
    expect(() => parseMoney(text, '--limit')).toThrow(CliError)
    expect(() => parseMoney(text, '--limit')).toThrow(/^--limit takes/)
  },
)
