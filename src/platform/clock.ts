/** The only sources of time. Intervals use the monotonic clock, so a wall-clock jump never extends or ends a hold. */
export interface Clock {
  /** Wall clock, in milliseconds since 1970-01-01 UTC: for records that people read. */
  nowMs(): number
  /** Monotonic milliseconds with fractions: for intervals and time-outs. */
  monotonicMs(): number
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
}

/** A clock that moves only when told to, for tests. */
export function manualClock(startMs = 0): Clock & { advance(ms: number): void } {
  let elapsedMs = 0
  return {
    nowMs: () => startMs + elapsedMs,
    monotonicMs: () => elapsedMs,
    advance(ms) {
      elapsedMs += ms
    },
  }
}
