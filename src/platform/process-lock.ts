/** A folder that one process alone may use. The lock names its holder by pid and start time, so a holder that was killed is recognised. */
import fs from 'node:fs'
import { Fault } from './fault.ts'

/** A stale lock is removed and taken again; more often than this, somebody else keeps winning. */
const attemptsMax = 100

/** Takes the lock file, or throws `client.conflict` when a living process has it. Returns the way to release it. */
export function takeProcessLock(path: string, what: string): () => void {
  const own = `${path}.${process.pid}`
  fs.writeFileSync(own, `${process.pid} ${startTime(process.pid)}`, { mode: 0o600 })
  try {
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      if (link(own, path)) return () => fs.rmSync(path, { force: true })
      const [pid = '', started] = read(path).split(' ')
      if (pid !== '' && isHolder(Number(pid), started ?? '')) throw conflict(pid, what)
      fs.rmSync(path, { force: true })
    }
    throw conflict('unknown', what)
  } finally {
    fs.rmSync(own, { force: true })
  }
}

/** Appears whole or not at all: nobody reads half a lock. */
function link(from: string, to: string): boolean {
  try {
    fs.linkSync(from, to)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

function read(path: string): string {
  try {
    return fs.readFileSync(path, 'utf8')
  } catch {
    // Released between the two calls.
    return ''
  }
}

function isHolder(pid: number, started: string): boolean {
  if (started !== '') return startTime(pid) === started
  // Written without /proc: then the pid is all there is to go by.
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** The kernel's start time of a living process in clock ticks (field 22 of /proc/PID/stat); '' when it is gone, or a zombie. */
export function startTime(pid: number): string {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold anything, parentheses included.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? '' : (fields[19] ?? '')
  } catch {
    // The process is gone, or there is no /proc.
    return ''
  }
}

function conflict(pid: string, what: string): Fault {
  return new Fault({
    code: 'client.conflict',
    public: `Another process (${pid}) uses ${what}. Stop it first.`,
  })
}
