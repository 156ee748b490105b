/**
 * A live session is billed by its started minutes, as one recording of the same length would be. Each segment is a request of its own, and takes
 * the minutes that it starts: none where the session is still within one that was paid for. Pure.
 */
import { startedMinutes } from '../../../billing/rating.ts'

const minuteMs = 60_000

export interface MinuteMeter {
  /** What a further segment is billed for, in milliseconds: whole minutes, or 0. */
  billedMs(segmentMs: number): number
  /** The segment was served. One that was not starts no minute. */
  served(segmentMs: number): void
}

export function createMinuteMeter(): MinuteMeter {
  let servedMs = 0
  return {
    billedMs: (segmentMs) =>
      (startedMinutes(servedMs + segmentMs) - startedMinutes(servedMs)) * minuteMs,
    served(segmentMs) {
      servedMs += segmentMs
    },
  }
}
