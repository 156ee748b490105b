/** Asks until the answer is there. For states of other processes, which no event announces to a test. */
import { setTimeout as delay } from 'node:timers/promises'

const pollMs = 50

/** Resolves with the first answer that is not `undefined` or `false`; rejects after the time, with the last error as cause. */
export async function until<Answer>(
  what: string,
  timeoutMs: number,
  ask: () => Answer | undefined | false | Promise<Answer | undefined | false>,
): Promise<Answer> {
  const deadlineMs = performance.now() + timeoutMs
  let cause: unknown
  while (performance.now() < deadlineMs) {
    try {
      const answer = await ask()
      if (answer !== undefined && answer !== false) return answer
      cause = undefined
    } catch (error) {
      cause = error
    }
    await delay(pollMs)
  }
  throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause })
}
