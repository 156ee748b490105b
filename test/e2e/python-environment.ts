/** A Python environment with OpenAI's SDK, made once and kept in the cache folder. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
/** Also the name of the folder, so that a new version makes a new environment. */
const sdk = 'openai==3.52.0'
const installTimeoutMs = 240_000

/** Returns the path of its `python`. Throws with what to install when the machine has no Python. */
export async function pythonWithSdk(): Promise<string> {
  const cache = process.env['COLONNADE_CACHE'] ?? join(homedir(), '.cache', 'colonnade')
  const folder = join(cache, `python-${sdk.replace('==', '-')}`)
  const python = join(folder, 'bin', 'python')
  if (existsSync(join(folder, 'complete'))) return python

  const partial = `${folder}.partial`
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(cache, { recursive: true })
  await makeEnvironment(partial)
  await run(join(partial, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', sdk], {
    timeout: installTimeoutMs,
  })
  mkdirSync(join(partial, 'complete'))
  rmSync(folder, { recursive: true, force: true })
  renameSync(partial, folder)
  return python
}

async function makeEnvironment(folder: string): Promise<void> {
  try {
    await run('python3', ['-m', 'venv', folder], { timeout: installTimeoutMs })
  } catch (cause) {
    throw new Error(
      "The tests of OpenAI's SDK for Python need python3 with its venv module; on Debian: apt install python3-venv",
      { cause },
    )
  }
}
