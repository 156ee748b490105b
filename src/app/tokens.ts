/** The access tokens of this machine: one for its operator's commands, one for its agent. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export type TokenName = 'admin-token' | 'agent-token'

function pathOf(dataDirectory: string, name: TokenName): string {
  return join(dataDirectory, 'secrets', name)
}

export function saveToken(dataDirectory: string, name: TokenName, secret: string): void {
  const path = pathOf(dataDirectory, name)
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  // A start that was interrupted may have left one, and it cannot be written over.
  rmSync(path, { force: true })
  writeFileSync(path, `${secret}\n`, { mode: 0o400, flush: true })
}

/** `undefined` where none was made: another machine's data, or a first start yet to come. */
export function readToken(dataDirectory: string, name: TokenName): string | undefined {
  try {
    return readFileSync(pathOf(dataDirectory, name), 'utf8').trim()
  } catch {
    // Absent, or not ours to read.
    return undefined
  }
}
