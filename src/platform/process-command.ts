/** What a process is, as the operating system sees it: a number alone may have gone to another program. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

/** The command line of a living process; '' for one that has ended and waits for its parent, `undefined` for none. */
export function commandOf(pid: number): string | undefined {
  if (!(pid > 1)) return undefined
  try {
    if (existsSync('/proc/self'))
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
    const args = ['-ww', '-o', 'args=', '-p', String(pid)]
    const { status, stdout } = spawnSync('ps', args, { encoding: 'utf8' })
    return status === 0 ? stdout.trim() : undefined
  } catch {
    // No such process.
    return undefined
  }
}
