/** The file that keeps an engine alive: its guard ends it a minute after the last touch (engine-guard.sh). */
import { utimes, writeFile } from 'node:fs/promises'

export const leaseTouchMs = 5_000

export async function touchLease(path: string, nowMs: number): Promise<void> {
  const now = new Date(nowMs)
  try {
    await utimes(path, now, now)
  } catch {
    // It is new, or was swept away.
    await writeFile(path, '', { mode: 0o600 })
  }
}
