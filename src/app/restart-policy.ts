/** When a role that ended is started again. Pure. */

const firstDelayMs = 200
const delayMsMax = 10_000
/** A role that ran this long was healthy, and starts afresh. */
const healthyMs = 30_000

export interface RestartState {
  readonly failuresInARow: number
}

export const neverFailed: RestartState = { failuresInARow: 0 }

/** The delay before the next start, and the state after it. */
export function afterExit(
  state: RestartState,
  ranMs: number,
): { readonly delayMs: number; readonly state: RestartState } {
  const failuresInARow = ranMs >= healthyMs ? 1 : state.failuresInARow + 1
  return {
    delayMs: Math.min(firstDelayMs * 2 ** (failuresInARow - 1), delayMsMax),
    state: { failuresInARow },
  }
}
