import { expect, test } from 'vitest'
import { manualClock } from '../platform/clock.ts'
import { parseDuration, parseMoment } from './moment.ts'

const clock = manualClock(Date.parse('2026-11-21T12:00:00Z'))

test.each([
  ['2027-01-31', '2027-01-31T00:00:00.000Z'],
  ['2027-01-31T12:00:00Z', '2027-01-31T12:00:00.000Z'],
  ['2027-01-31T12:00+02:00', '2027-01-31T10:00:00.000Z'],
  ['90m', '2026-11-21T13:30:00.000Z'],
  ['12h', '2026-11-22T00:00:00.000Z'],
  ['7d', '2026-11-28T12:00:00.000Z'],
])('%s is %s', (text, expected) => {
  expect(parseMoment(text, '--expires', clock)).toBe(expected)
})

test.each(['', '7', 'tomorrow', '2027-13-01', '31.1.2027', '2027-01-31T12:00:00', '-1d', '1e3d'])(
  '"%s" is refused, by the name of its flag',
  (text) => {
    expect(() => parseMoment(text, '--expires', clock)).toThrow('--expires')
  },
)

test('a duration may be nothing', () => {
  expect(parseDuration('0d')).toBe(0)
})
