/**
 * Engine processes: each in a process group of its own, so that it outlives its agent, and known by pid and start time, so that a
 * recycled pid is never taken for it.
 */
import { spawn } from 'node:child_process'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ProcessSpec } from '../engines/engine.ts'

/** Names one process on this machine, for as long as the machine is up. */
export interface ProcessIdentity {
  readonly pid: number
  /** When it started, in the kernel's words: which boot, and ticks since then (Linux), or a date (elsewhere). */
  readonly startTime: string
}

/** A process was asked to end this long ago, and is killed. */
const stopGraceMs = 15_000
const stopPollMs = 50
const leaseLookSeconds = 5
const guardPath = join(import.meta.dirname, 'engine-guard.sh')

export interface StartOptions {
  readonly spec: ProcessSpec
  /** Takes the process's output, appended. */
  readonly logPath: string
  /** Touched by the agent; the process ends a minute after the last touch. */
  readonly leasePath: string
  /** How often the lease is looked at. */
  readonly leaseLookSeconds?: number | undefined
  /** Environment that the engine needs besides its own: paths, never secrets. */
  readonly env: Readonly<Record<string, string>>
}

/** Starts the process under its guard. Throws when it cannot be started at all. */
export async function startProcess(options: StartOptions): Promise<ProcessIdentity> {
  const { spec } = options
  const log = await open(options.logPath, 'a', 0o600)
  try {
    const child = spawn(
      '/bin/sh',
      [
        guardPath,
        options.leasePath,
        String(options.leaseLookSeconds ?? leaseLookSeconds),
        spec.command,
        ...spec.args,
      ],
      {
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
        env: { ...options.env, ...spec.env },
      },
    )
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    // Its end is found by looking, the same way for our children and for adopted ones.
    child.unref()
    const pid = child.pid ?? 0
    return { pid, startTime: (await startTimeOf(pid)) ?? '' }
  } finally {
    await log.close()
  }
}

/** Whether that very process is running: same pid, same start. */
export async function isRunning(identity: ProcessIdentity): Promise<boolean> {
  const startTime = await startTimeOf(identity.pid)
  return startTime !== undefined && startTime === identity.startTime
}

/** Asks the process group to end, and kills what is left after the grace time. Does nothing to a process that is not the one named. */
export async function stopProcess(identity: ProcessIdentity): Promise<void> {
  if (!(await isRunning(identity))) return
  signalGroup(identity.pid, 'SIGTERM')
  for (let waitedMs = 0; waitedMs < stopGraceMs; waitedMs += stopPollMs) {
    if (!(await isRunning(identity))) return
    await sleep(stopPollMs)
  }
  if (await isRunning(identity)) signalGroup(identity.pid, 'SIGKILL')
}

/** Kills what a dead guard left behind. While members of its group live, the kernel gives its pid to nobody else. */
export async function killOrphans(identity: ProcessIdentity): Promise<void> {
  if ((await startTimeOf(identity.pid)) === undefined) signalGroup(identity.pid, 'SIGKILL')
}

function signalGroup(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // It ended between the look and the signal, which is what was wanted.
  }
}

/** `undefined` when no such process lives. A zombie has ended. */
async function startTimeOf(pid: number): Promise<string | undefined> {
  if (pid <= 1) return undefined
  if (process.platform !== 'linux') return await startDateOf(pid)
  let stat: string
  try {
    stat = await readFile(`/proc/${pid}/stat`, 'latin1')
  } catch {
    // No entry, no process.
    return undefined
  }
  // The name in parentheses may hold anything; after it come the state (field 3) and, as field 22, the start time.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' ? undefined : `${await bootId()}/${fields[19]}`
}

async function bootId(): Promise<string> {
  try {
    return (await readFile('/proc/sys/kernel/random/boot_id', 'latin1')).trim()
  } catch {
    // Some containers hide it; pid and ticks still tell.
    return ''
  }
}

function startDateOf(pid: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    child.once('error', () => resolve(undefined))
    child.once('close', () => {
      const line = text.trim()
      resolve(line === '' || line.startsWith('Z') ? undefined : line.replace(/^\S+\s+/, ''))
    })
  })
}
