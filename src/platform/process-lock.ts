/** A folder that one process alone may use. The lock names its holder by pid and start time, so a holder that was killed is recognised. */
import fs from 'node:fs'
import { Fault } from './fault.ts'

/** Takes the lock file, or throws `client.conflict` when a living process has it. Returns the way to release it. */
export function takeProcessLock(path: string, what: string): () => void {
  const mine = `${process.pid} ${startTime(process.pid)}`
  for (;;) {
    try {
      fs.writeFileSync(path, mine, { flag: 'wx', mode: 0o600 })
      return () => fs.rmSync(path, { force: true })
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    }
    const [pid = '', started] = fs.readFileSync(path, 'utf8').split(' ')
    if (started !== undefined && startTime(Number(pid)) === started) {
      throw new Fault({
        code: 'client.conflict',
        public: `Another process (${pid}) uses ${what}. Stop it first.`,
      })
    }
    fs.rmSync(path, { force: true })
  }
}

/** The kernel's start time of a process in clock ticks, '' when it is gone. Field 22 of /proc/PID/stat, counted after the name. */
function startTime(pid: number): string {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    // The process is gone; or there is no /proc, and then a stale lock must be removed by hand.
    return ''
  }
}
