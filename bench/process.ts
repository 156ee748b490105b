/** Processes of the bench: started on one core, measured by /proc (Linux), stopped by their id. */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { promisify } from 'node:util'

/** One core for the proxy, one for everything else. */
export interface Cores {
  readonly proxy: number
  readonly load: number
}

const run = promisify(execFile)
const stopTimeoutMs = 10_000
const outputBytesMax = 64 * 1024 * 1024
/** USER_HZ, which Linux promises to user space on all common architectures. */
const ticksPerSecond = 100
const outputKeptCharacters = 4_000

export interface PinnedOptions {
  readonly core: number
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  readonly ipc?: true
}

export interface Pinned {
  readonly child: ChildProcess
  readonly pid: number
  /** The end of what it wrote, for messages about failures. */
  readonly output: () => string
  readonly stop: () => Promise<void>
}

const running = new Set<ChildProcess>()

/** Stops whatever still runs, in any order. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map(stop))
}

// Also after an error that nobody caught: no process may outlive the bench.
process.on('exit', () => {
  for (const child of running) child.kill('SIGTERM')
})

/** `taskset` becomes the program itself, so the process id is the program's. */
export function startPinned(command: readonly string[], options: PinnedOptions): Pinned {
  const child = spawn('taskset', ['-c', String(options.core), ...command], {
    cwd: options.cwd,
    env: options.env ?? process.env,
    stdio: options.ipc ? ['ignore', 'pipe', 'pipe', 'ipc'] : ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  let output = ''
  child.on('error', (error) => {
    output += error.message
  })
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString('utf8')).slice(-outputKeptCharacters)
  }
  child.stdout?.on('data', keep)
  child.stderr?.on('data', keep)
  if (child.pid === undefined) throw new Error(`cannot start ${command.join(' ')}`)
  const { pid } = child
  return { child, pid, output: () => output, stop: () => stop(child) }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const limit = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs)
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
  clearTimeout(limit)
}

/** Runs a program to its end and returns what it printed; throws with its errors when it fails. */
export async function output(
  command: string,
  args: readonly string[],
  options: { readonly timeoutMs?: number; readonly cwd?: string } = {},
): Promise<string> {
  const { stdout } = await run(command, [...args], {
    cwd: options.cwd,
    timeout: options.timeoutMs ?? 600_000,
    maxBuffer: outputBytesMax,
  })
  return stdout
}

export async function exists(command: string): Promise<boolean> {
  return run('which', [command]).then(
    () => true,
    () => false,
  )
}

/** A Debian package, when its command is missing and this user may install it. */
export async function installPackage(command: string, name: string): Promise<void> {
  if (await exists(command)) return
  if (process.getuid?.() !== 0) {
    throw new Error(`${command} is missing: install it with "sudo apt-get install ${name}".`)
  }
  const install = ['install', '-y', '--no-install-recommends', name]
  await output('apt-get', install).catch(async () => {
    // A fresh machine has no lists yet.
    await output('apt-get', ['update'])
    await output('apt-get', install)
  })
}

/** A process and all its descendants. */
export function treeOf(root: number): number[] {
  const parents = new Map<number, number>()
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    const parent = Number.isInteger(pid) ? statOf(pid)?.[1] : undefined
    if (parent !== undefined) parents.set(pid, Number(parent))
  }
  const tree = [root]
  for (const pid of tree) {
    for (const [child, parent] of parents) if (parent === pid) tree.push(child)
  }
  return tree
}

/** User and system time of these processes, threads included. */
export function cpuSeconds(pids: readonly number[]): number {
  const ticks = pids.map((pid) => {
    const stat = statOf(pid)
    return stat ? Number(stat[11]) + Number(stat[12]) : 0
  })
  return ticks.reduce((sum, value) => sum + value, 0) / ticksPerSecond
}

/** Time in which a core did not idle, whoever used it. */
export function coreBusySeconds(core: number): number {
  const line = readFileSync('/proc/stat', 'utf8').match(new RegExp(`^cpu${core} (.*)$`, 'm'))
  // user, nice, system, idle, iowait, irq, softirq, steal; guests are part of user.
  const ticks = (line?.[1] ?? '').split(' ').slice(0, 8).map(Number)
  const [, , , idle = 0, ioWait = 0] = ticks
  return (ticks.reduce((sum, value) => sum + value, 0) - idle - ioWait) / ticksPerSecond
}

export function residentBytes(pids: readonly number[]): number {
  const sizes = pids.map((pid) => {
    const line = readProc(pid, 'status')?.match(/^VmRSS:\s+(\d+) kB$/m)
    return line ? Number(line[1]) * 1024 : 0
  })
  return sizes.reduce((sum, value) => sum + value, 0)
}

export function commandLine(pid: number): string {
  return readProc(pid, 'cmdline')?.replaceAll('\0', ' ') ?? ''
}

/** The fields after the name, which may itself hold spaces: state, parent, … */
function statOf(pid: number): string[] | undefined {
  const text = readProc(pid, 'stat')
  return text?.slice(text.lastIndexOf(')') + 2).split(' ')
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    // It ended meanwhile.
    return undefined
  }
}
