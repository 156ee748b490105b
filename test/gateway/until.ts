/** What other processes and connections do comes when it comes: asks again and again, within a bound. */
const patienceDefaultMs = 5_000
const pauseMs = 25

/** The first value that is not `undefined`. Throws when none has come. */
export async function until<Value>(
  attempt: () => Promise<Value | undefined> | Value | undefined,
  patienceMs = patienceDefaultMs,
): Promise<Value> {
  for (const endMs = performance.now() + patienceMs; performance.now() < endMs;) {
    const value = await attempt()
    if (value !== undefined) return value
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
  throw new Error(`nothing came within ${patienceMs} ms`)
}
