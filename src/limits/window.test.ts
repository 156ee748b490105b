import fc from 'fast-check'
import { expect, test } from 'vitest'
import { limitWindows } from './rule.ts'
import { createWindows, windowAround } from './window.ts'

const paris = 'Europe/Paris'
const hourMs = 3_600_000
const at = (text: string): number => Date.parse(text)

test.each([
  // A day in Paris begins at 22:00 UTC in summer and at 23:00 in winter.
  ['day', '2026-07-14T10:20:00Z', '2026-07-13T22:00:00Z', '2026-07-14T22:00:00Z'],
  ['day', '2026-07-14T22:00:00Z', '2026-07-14T22:00:00Z', '2026-07-15T22:00:00Z'],
  ['month', '2026-07-14T10:20:00Z', '2026-06-30T22:00:00Z', '2026-07-31T22:00:00Z'],
  ['month', '2026-12-31T23:00:00Z', '2026-12-31T23:00:00Z', '2027-01-31T23:00:00Z'],
  ['month', '2028-02-29T12:00:00Z', '2028-01-31T23:00:00Z', '2028-02-29T23:00:00Z'],
] as const)('a %s around %s goes from %s to %s', (window, moment, start, end) => {
  expect(windowAround(window, at(moment), paris)).toEqual({ startMs: at(start), endMs: at(end) })
})

test('the day on which clocks go forward has 23 hours, the one on which they go back 25', () => {
  const spring = windowAround('day', at('2026-03-29T12:00:00Z'), paris)
  const autumn = windowAround('day', at('2026-10-25T12:00:00Z'), paris)
  expect([(spring.endMs ?? 0) - spring.startMs, (autumn.endMs ?? 0) - autumn.startMs]).toEqual([
    23 * hourMs,
    25 * hourMs,
  ])
})

test.each(['minute', 'hour', 'lifetime'] as const)(
  'a %s has one window without an end',
  (window) => {
    const { startMs, endMs } = windowAround(window, at('2026-07-14T10:20:00Z'), paris)
    expect([startMs, endMs]).toEqual([0, undefined])
  },
)

// A gap would leave a moment without a limit, an overlap would count it twice.
test('windows tile time: each moment lies in one, and each begins where the one before ends', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...limitWindows),
      fc.constantFrom(paris, 'UTC', 'America/St_Johns', 'Australia/Lord_Howe', 'Asia/Kathmandu'),
      fc.integer({ min: at('2020-01-01T00:00:00Z'), max: at('2040-01-01T00:00:00Z') }),
      (window, timeZone, moment) => {
        const { startMs, endMs } = windowAround(window, moment, timeZone)
        expect(moment).toBeGreaterThanOrEqual(startMs)
        if (endMs === undefined) return
        expect(moment).toBeLessThan(endMs)
        expect(windowAround(window, startMs, timeZone).startMs).toBe(startMs)
        expect(windowAround(window, endMs - 1, timeZone)).toEqual({ startMs, endMs })
        expect(windowAround(window, endMs, timeZone).startMs).toBe(endMs)
      },
    ),
  )
})

test('what is remembered is what would be computed, also when time goes back', () => {
  const windows = createWindows(paris)
  fc.assert(
    fc.property(
      fc.constantFrom(...limitWindows),
      fc.integer({ min: at('2026-10-24T00:00:00Z'), max: at('2026-11-02T00:00:00Z') }),
      (window, moment) => {
        expect(windows.around(window, moment)).toEqual(windowAround(window, moment, paris))
      },
    ),
  )
})
