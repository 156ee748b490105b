/** Calendar windows: when the minute, hour, day or month around a moment began, and when it ends. Pure. */
import type { LimitWindow } from './rule.ts'

export interface Window {
  /** 0 for `lifetime`. */
  readonly startMs: number
  /** Exclusive; `undefined` for `lifetime`. */
  readonly endMs: number | undefined
}

const lifetime: Window = { startMs: 0, endMs: undefined }
const minuteMs = 60_000

/**
 * The window around a moment. Days and months are those of the time zone: a day has 23, 24 or 25 hours, and each moment lies in exactly one
 * window. Hours follow the zone's offset too, so where clocks go back, the repeated hour is a window of its own.
 */
export function windowAround(window: LimitWindow, atMs: number, timeZone: string): Window {
  if (window === 'lifetime') return lifetime
  if (window === 'minute') {
    const startMs = Math.floor(atMs / minuteMs) * minuteMs
    return { startMs, endMs: startMs + minuteMs }
  }
  const moment = Temporal.Instant.fromEpochMilliseconds(atMs).toZonedDateTimeISO(timeZone)
  const start =
    window === 'hour'
      ? moment.round({ smallestUnit: 'hour', roundingMode: 'floor' })
      : (window === 'day' ? moment : moment.with({ day: 1 })).startOfDay()
  const end = start.add({ [`${window}s`]: 1 })
  return { startMs: start.epochMilliseconds, endMs: end.epochMilliseconds }
}

/** Looks windows up without computing the same one again. */
export function createWindows(timeZone: string): {
  around(window: LimitWindow, atMs: number): Window
} {
  const last = new Map<LimitWindow, Window>()
  return {
    around(window, atMs) {
      const known = last.get(window)
      if (known && atMs >= known.startMs && (known.endMs === undefined || atMs < known.endMs)) {
        return known
      }
      const found = windowAround(window, atMs, timeZone)
      last.set(window, found)
      return found
    },
  }
}
