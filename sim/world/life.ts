/** One life of a gateway's process. When it is over, nothing that it began goes on: its memory is gone, with all promises in it. */
import type { Clock } from '../../src/platform/clock.ts'
import type { Loop } from './loop.ts'

export interface Life {
  readonly isOver: boolean
  /** Its machine's wall clock, which may jump, and a monotonic clock that starts with the process. */
  readonly clock: Clock
  /** Never answers once the life is over. */
  whileAlive<Result>(promise: Promise<Result>): Promise<Result>
  end(): void
}

export function beginLife(loop: Loop, wallMs: () => number): Life {
  const bornMs = loop.nowMs
  let isOver = false
  return {
    get isOver() {
      return isOver
    },
    clock: {
      nowMs: wallMs,
      monotonicMs: () => loop.nowMs - bornMs,
      after: (ms, work) => loop.after(ms, () => (isOver ? undefined : work())),
      afterTurn: (work) => void loop.after(0, () => (isOver ? undefined : work())),
    },
    whileAlive: (promise) =>
      promise.then(
        (result) => (isOver ? never() : result),
        (error: unknown) => {
          if (isOver) return never()
          throw error
        },
      ),
    end() {
      isOver = true
    },
  }
}

function never(): Promise<never> {
  return new Promise(() => {})
}
