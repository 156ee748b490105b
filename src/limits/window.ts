/** Windows of limits: when the day or month around a moment began, and when it ends. Pure. */
import type { LimitWindow } from './rule.ts'

export interface Window {
  /** 0 where there is but one. */
  readonly startMs: number
  /** Exclusive; `undefined` for one that never ends. */
  readonly endMs: number | undefined
}

/** Of lifetimes, and of limits per minute and per hour, whose room comes back all the time. */
const onlyWindow: Window = { startMs: 0, endMs: undefined }

/**
 * The window around a moment. Days and months are those of the time zone: a day has 23, 24 or 25 hours, and each moment lies in exactly one
 * window.
 */
export function windowAround(window: LimitWindow, atMs: number, timeZone: string): Window {
  if (window !== 'day' && window !== 'month') return onlyWindow
  const moment = Temporal.Instant.fromEpochMilliseconds(atMs).toZonedDateTimeISO(timeZone)
  const start = (window === 'day' ? moment : moment.with({ day: 1 })).startOfDay()
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
