/** Processes of engines: started, waited for, looked at, and ended with all that they started. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { descendantsOf } from '../e2e/processes.ts'
import { until } from '../e2e/until.ts'

const startTimeoutMs = 180_000
const stopTimeoutMs = 10_000
const outputTailBytes = 4_000
const clockTicksPerSecond = 100
const windowMs = 100

export interface ProcessOptions {
  readonly command: string
  readonly args: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  /** Answers 200 once the engine is ready. */
  readonly readyUrl: string
}

export interface RunningProcess {
  readonly processId: number
  stop(): Promise<void>
}

export async function startProcess(options: ProcessOptions): Promise<RunningProcess> {
  const child = spawn(options.command, options.args, {
    env: { ...process.env, ...options.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let tail = ''
  const keep = (chunk: Buffer): void => {
    tail = (tail + chunk.toString()).slice(-outputTailBytes)
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  let failure: Error | undefined
  child.once('error', (error) => {
    failure = error
  })
  try {
    await until(`${options.command} is ready`, startTimeoutMs, async () => {
      if (failure || hasEnded(child)) return true
      const signal = AbortSignal.timeout(1_000)
      return await fetch(options.readyUrl, { signal }).then(({ ok }) => ok)
    })
    if (failure || hasEnded(child)) throw failure ?? new Error('it ended by itself')
  } catch (error) {
    await stop(child)
    throw new Error(`${options.command} does not start\n${tail}`, { cause: error })
  }
  // A child that has answered has been spawned.
  return { processId: child.pid as number, stop: () => stop(child) }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || hasEnded(child)) return
  const limit = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs)
  child.kill('SIGTERM')
  await once(child, 'exit')
  clearTimeout(limit)
}

/** The time until a process and its children rest, measured in windows; `undefined` when they still work at the end. */
export async function msUntilIdle(processId: number, msMax: number): Promise<number | undefined> {
  const beganMs = performance.now()
  while (performance.now() - beganMs < msMax) {
    const windowBeganMs = performance.now() - beganMs
    if (!(await isBusy(processId))) return windowBeganMs
  }
  return undefined
}

/** Whether a process and its children compute for at least a quarter of a window. */
export async function isBusy(processId: number): Promise<boolean> {
  const before = cpuTicks(processId)
  await delay(windowMs)
  const usedMs = ((cpuTicks(processId) - before) / clockTicksPerSecond) * 1_000
  return usedMs >= windowMs / 4
}

function cpuTicks(processId: number): number {
  const all = [processId, ...descendantsOf(processId).map(({ pid }) => pid)]
  return all.map(ticksOf).reduce((sum, ticks) => sum + ticks, 0)
}

function ticksOf(processId: number): number {
  try {
    const stat = readFileSync(`/proc/${processId}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return Number(fields[11]) + Number(fields[12])
  } catch {
    // It ended between two looks.
    return 0
  }
}
