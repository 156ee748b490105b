/** What a supervisor that was killed has left: its roles end by themselves after their last streams, and the next start waits a while. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { commandOf } from '../platform/process-command.ts'

const endpoints = z.object({
  apiUrl: z.string(),
  controlUrl: z.string(),
  /** Of the supervisor. */
  pid: z.number(),
  roles: z.record(z.string(), z.object({ pid: z.number(), metricsUrl: z.string().optional() })),
})
/** Where this machine's platform can be reached, and what it consists of. */
export type Endpoints = z.infer<typeof endpoints>

/** Longer streams are cut, and billed as far as their journals know. */
const waitMs = 10_000
const lookMs = 100

function pathIn(dataDirectory: string): string {
  return join(dataDirectory, 'run', 'endpoints.json')
}

/** For commands on this machine, and for the next start. Written whole or not at all. */
export function writeEndpoints(dataDirectory: string, value: Endpoints): void {
  const path = pathIn(dataDirectory)
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  writeFileSync(`${path}.partial`, JSON.stringify(value), { mode: 0o600 })
  renameSync(`${path}.partial`, path)
}

/** `undefined` when nothing was started with this folder, or it was stopped in order. */
export function readEndpoints(dataDirectory: string): Endpoints | undefined {
  try {
    return endpoints.parse(JSON.parse(readFileSync(pathIn(dataDirectory), 'utf8')))
  } catch {
    // Not there, or of another version.
    return undefined
  }
}

export function removeEndpoints(dataDirectory: string): void {
  rmSync(pathIn(dataDirectory), { force: true })
}

/** Waits until the roles of an earlier supervisor have ended, and kills those that do not. */
export async function waitForLeftovers(dataDirectory: string): Promise<void> {
  const roles = Object.entries(readEndpoints(dataDirectory)?.roles ?? {})
  const alive = (): number[] =>
    roles
      .map(([name, { pid }]) => ({ name, pid }))
      .filter(isOurs)
      .map(({ pid }) => pid)
  for (let waitedMs = 0; waitedMs < waitMs && alive().length > 0; waitedMs += lookMs) {
    await sleep(lookMs)
  }
  for (const pid of alive()) process.kill(pid, 'SIGKILL')
}

/** A number alone may have gone to another program. */
function isOurs({ name, pid }: { readonly name: string; readonly pid: number }): boolean {
  return commandOf(pid)?.includes(`main.ts ${name.split(' ')[0]}`) ?? false
}
