/** The processes below one of ours, as the operating system sees them: the product is not asked. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'

export interface ProcessEntry {
  readonly pid: number
  readonly parentPid: number
  readonly command: string
}

/** Children, grandchildren and so on; parents before children. */
export function descendantsOf(pid: number): readonly ProcessEntry[] {
  const all = listProcesses()
  const found: ProcessEntry[] = []
  const parents = [pid]
  for (let parent = parents.shift(); parent !== undefined; parent = parents.shift()) {
    for (const entry of all) {
      if (entry.parentPid !== parent) continue
      found.push(entry)
      parents.push(entry.pid)
    }
  }
  return found
}

/** False also for a zombie: it waits for its parent and does nothing more. */
export function isAlive(pid: number): boolean {
  return listProcesses().some((entry) => entry.pid === pid)
}

/** True also for a zombie. */
export function isKnown(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Another user's process exists too.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

function listProcesses(): readonly ProcessEntry[] {
  return existsSync('/proc/self/stat') ? fromProc() : fromPs()
}

function fromProc(): readonly ProcessEntry[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
        // The name in parentheses may hold anything, parentheses included.
        const [state, parentPid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
        if (state === 'Z' || state === 'X') return []
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
        return [{ pid: Number(name), parentPid: Number(parentPid), command }]
      } catch {
        // It ended between the listing and the reading.
        return []
      }
    })
}

function fromPs(): readonly ProcessEntry[] {
  return execFileSync('ps', ['-A', '-o', 'pid=,ppid=,state=,command='], { encoding: 'utf8' })
    .split('\n')
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line))
    .filter((match) => match !== null)
    .filter((match) => !match[3]?.startsWith('Z'))
    .map((match) => ({
      pid: Number(match[1]),
      parentPid: Number(match[2]),
      command: match[4] ?? '',
    }))
}
