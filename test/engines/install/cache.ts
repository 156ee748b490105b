/** Where built engines are kept between runs, and how one is made: once, whole or not at all, with a named limit of time for each command. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'

/** A C++ build on two busy cores. */
const commandTimeoutMs = 3_600_000
const errorTailBytes = 4_000

export type Say = (line: string) => void

export function enginesCache(): string {
  return process.env['COLONNADE_ENGINES_CACHE'] ?? join(homedir(), '.cache', 'colonnade', 'engines')
}

/**
 * Returns the folder of that name in the cache; `build` fills it where it is missing. A build that fails or is killed leaves a `.partial` folder,
 * which the next run begins anew.
 */
export async function ensureBuilt(
  name: string,
  say: Say,
  build: (folder: string) => Promise<void>,
): Promise<string> {
  const folder = join(enginesCache(), name)
  if (existsSync(folder)) return folder
  const partial = `${folder}.partial`
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(partial, { recursive: true })
  say(`${name}: building in ${partial} …`)
  const beganMs = performance.now()
  await build(partial)
  renameSync(partial, folder)
  say(`${name}: ready after ${Math.round((performance.now() - beganMs) / 1_000)} s`)
  return folder
}

/** Throws with what to install when one of the programs is missing. */
export function needPrograms(what: string, programs: Readonly<Record<string, string>>): void {
  const missing = Object.keys(programs).filter((name) => findProgram(name) === undefined)
  if (missing.length === 0) return
  const remedies = missing.map((name) => `${name} (${programs[name]})`)
  throw new Error(`${what} needs ${remedies.join(', ')}`)
}

export function findProgram(name: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}

export interface Run {
  readonly cwd: string
  readonly environment?: Readonly<Record<string, string>>
}

/** Runs a program at the lowest priority and returns its standard output; throws with the end of what it complained. */
export async function runProgram(
  command: string,
  args: readonly string[],
  { cwd, environment = {} }: Run,
): Promise<string> {
  const child = spawn('nice', ['-n', '19', command, ...args], {
    cwd,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: commandTimeoutMs,
  })
  let output = ''
  let tail = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    tail = (tail + chunk.toString()).slice(-errorTailBytes)
  })
  const [code] = await once(child, 'close')
  if (code === 0) return output
  throw new Error(
    `${command} ${args[0] ?? ''} ended with ${String(code)} in ${cwd}\n${tail}${output.slice(-errorTailBytes)}`,
  )
}
