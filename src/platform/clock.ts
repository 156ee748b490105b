/** The only sources of time. Intervals use the monotonic clock, so a wall-clock jump never extends or ends a hold. */
export interface Clock {
  /** Wall clock, in milliseconds since 1970-01-01 UTC: for records that people read. */
  nowMs(): number
  /** Monotonic milliseconds with fractions: for intervals and time-outs. */
  monotonicMs(): number
  /** Runs the work once, after so many monotonic milliseconds, unless the returned function is called first. */
  after(ms: number, work: () => void): () => void
  /** Runs the work once what has arrived by now was handled: at the end of this turn of the event loop. */
  afterTurn(work: () => void): void
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(ms, work) {
    const timer = setTimeout(work, ms)
    return () => clearTimeout(timer)
  },
  afterTurn: (work) => void setImmediate(work),
}

/** Resolves after so many monotonic milliseconds. */
export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve)
  })
}

/** A clock that moves only when told to, for tests. Due work runs, in order, within `advance`. Turns of the event loop are real. */
export function manualClock(startMs = 0): Clock & { advance(ms: number): void } {
  let elapsedMs = 0
  let timers: { readonly dueMs: number; readonly work: () => void }[] = []
  const nextDue = (untilMs: number) =>
    timers
      .filter((timer) => timer.dueMs <= untilMs)
      .reduce<(typeof timers)[number] | undefined>(
        (first, timer) => (first === undefined || timer.dueMs < first.dueMs ? timer : first),
        undefined,
      )
  return {
    nowMs: () => startMs + elapsedMs,
    monotonicMs: () => elapsedMs,
    after(ms, work) {
      const timer = { dueMs: elapsedMs + ms, work }
      timers.push(timer)
      return () => {
        timers = timers.filter((each) => each !== timer)
      }
    },
    afterTurn: systemClock.afterTurn,
    advance(ms) {
      const untilMs = elapsedMs + ms
      for (let timer = nextDue(untilMs); timer; timer = nextDue(untilMs)) {
        const due = timer
        timers = timers.filter((each) => each !== due)
        elapsedMs = Math.max(elapsedMs, due.dueMs)
        due.work()
      }
      elapsedMs = untilMs
    },
  }
}
