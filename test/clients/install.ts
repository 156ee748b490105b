/** Installs the clients once, in their pinned versions, into the cache folder. Nothing of them comes into the project. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Client } from './clients.ts'

const installTimeoutMs = 30 * 60_000
const outputBytesMax = 16 * 1024
const here = import.meta.dirname
const uvVersion = '0.13.9'

/** How to start a client's program. */
export interface Toolchain {
  python(client: Client): string
  /** A folder with `node_modules`, and copies of our programs beside it. */
  readonly nodeFolder: string
  readonly goProgram: string
}

/** Installs what these clients need. Throws with what is missing on the machine. */
export async function installClients(
  clients: readonly Client[],
  say: (text: string) => void,
): Promise<Toolchain> {
  const has = (language: Client['language']): boolean =>
    clients.some((client) => client.language === language)
  const pythons = new Map<string, string>()
  if (has('Python')) {
    const uv = await installUv(say)
    for (const client of clients.filter(({ language }) => language === 'Python'))
      pythons.set(client.program, await installPython(client, uv, say))
  }
  const nodeFiles = ['package.json', 'package-lock.json']
  const nodeFolder = folderOf('node', hashOf(nodeFiles.map((file) => read(`node/${file}`))))
  if (has('Node'))
    await once(nodeFolder, 'Node', say, async () => {
      for (const file of nodeFiles) copyFileSync(join(here, 'node', file), join(nodeFolder, file))
      await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], nodeFolder)
    })
  const goFolder = folderOf('go', hashOf(['go/go.mod', 'go/go.sum', 'go/main.go'].map(read)))
  const goProgram = join(goFolder, 'client')
  if (has('Go'))
    await once(goFolder, 'Go', say, () =>
      run('go', ['build', '-o', goProgram, '.'], join(here, 'go')),
    )
  return {
    python: ({ program }) => join(pythons.get(program) ?? '', 'bin/python'),
    nodeFolder,
    goProgram,
  }
}

/** Resolves dependencies in seconds where pip takes minutes, and shares files between environments. */
async function installUv(say: (text: string) => void): Promise<string> {
  const folder = folderOf('uv', uvVersion)
  await once(folder, 'Python', say, async () => {
    await run('python3', ['-m', 'venv', folder])
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check']
    await run(join(folder, 'bin/python'), [...pip, `uv==${uvVersion}`])
  })
  return join(folder, 'bin/uv')
}

async function installPython(
  client: Client,
  uv: string,
  say: (text: string) => void,
): Promise<string> {
  const packages = client.packages ?? []
  const folder = folderOf('python', hashOf(packages))
  await once(folder, packages.join(', '), say, async () => {
    await run(uv, ['venv', '--quiet', '--clear', folder])
    const target = ['--python', join(folder, 'bin/python')]
    await run(uv, ['pip', 'install', '--quiet', ...target, ...packages])
  })
  return folder
}

function read(file: string): string {
  return readFileSync(join(here, file), 'utf8')
}

function hashOf(texts: readonly string[]): string {
  return createHash('sha256').update(texts.join('\n')).digest('hex').slice(0, 12)
}

function folderOf(name: string, version: string): string {
  const cache = process.env['COLONNADE_CACHE'] ?? join(homedir(), '.cache', 'colonnade')
  return join(cache, 'clients', `${name}-${version}`)
}

/** A folder's name says what it is made from, so that new versions make a new one. It is made in its own place: a Python environment survives no move. */
async function once(
  folder: string,
  what: string,
  say: (text: string) => void,
  make: () => Promise<void>,
): Promise<void> {
  const mark = join(folder, 'complete')
  if (existsSync(mark)) return
  say(`installing ${what}`)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  await make()
  writeFileSync(mark, '')
}

/** Throws with the end of what the program printed. */
function run(program: string, args: readonly string[], cwd?: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: installTimeoutMs,
    })
    let output = ''
    const keep = (chunk: Buffer): void => {
      output = (output + chunk.toString('utf8')).slice(-outputBytesMax)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.once('error', (cause) => reject(new Error(`${program} cannot be started`, { cause })))
    child.once('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`${program} ${args[0] ?? ''} failed:\n${output}`)),
    )
  })
}
