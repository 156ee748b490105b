import { assert, bigInt, property } from 'fast-check'
import { expect, test } from 'vitest'
import { nanosFromAmount, nanosFromPerMillion, perMillionFromNanos } from './amount.ts'

test.each([
  ['0.9', 900n],
  ['4', 4_000n],
  ['21.0', 21_000n],
  ['0.001', 1n],
  ['0', 0n],
  ['1.8', 1_800n],
  ['999999999.999', 999_999_999_999n],
])('%s per million is %s nano-units for one', (text, nanos) => {
  expect(nanosFromPerMillion(text)).toBe(nanos)
})

test.each(['', '-1', '0,9', '1e3', '0.0001', '.5', '5.', ' 1', '1 ', '0x1', '1234567890', 'NaN'])(
  '"%s" is refused',
  (text) => {
    expect(nanosFromPerMillion(text)).toBeUndefined()
  },
)

test('what is written out reads back as the same amount', () => {
  assert(
    property(bigInt({ min: 0n, max: 999_999_999_999n }), (nanos) => {
      expect(nanosFromPerMillion(perMillionFromNanos(nanos))).toBe(nanos)
    }),
  )
})

test('what one minute costs is exact to the nano-unit', () => {
  expect(nanosFromAmount('0.01')).toBe(10_000_000n)
  expect(nanosFromAmount('2')).toBe(2_000_000_000n)
  expect(nanosFromAmount('0.000000001')).toBe(1n)
  for (const text of ['', '-1', '1,5', '.5', '0.0000000001', '1e3', '1 ']) {
    expect(nanosFromAmount(text)).toBeUndefined()
  }
})
