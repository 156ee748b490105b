/** The laws of the repository (STYLE.md). Each message says what to do. */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { faultCodes } from '../src/platform/fault.ts'
import releasedMigrations from './tidy/released-migrations.json' with { type: 'json' }
import { listFiles, readSourceFiles, repositoryRoot } from './tidy/source-file.ts'
import {
  banViolations,
  importCycles,
  moduleOf,
  nameViolations,
  purityViolations,
  unregistered,
  wallViolations,
} from './tidy/walls.ts'

const sources = readSourceFiles('src')
const allCode = [...sources, ...['test', 'bench', 'bin'].flatMap(readSourceFiles)]
const documents = [
  ...listFiles('docs'),
  ...sources.map((file) => `src/${moduleOf(file.path)}/README.md`),
  ...['README', 'ARCHITECTURE', 'STYLE', 'CONTRIBUTING', 'AGENTS'].map((name) => `${name}.md`),
].filter(
  (path, index, all) =>
    path.endsWith('.md') && all.indexOf(path) === index && existsSync(join(repositoryRoot, path)),
)

function read(path: string): string {
  return readFileSync(join(repositoryRoot, path), 'utf8')
}

test('imports point down, through front doors', () => {
  expect(wallViolations(sources)).toEqual([])
})

test('no file imports itself in a circle', () => {
  expect(importCycles(allCode)).toEqual([])
})

test('files that are pure by name touch nothing', () => {
  expect(purityViolations(sources)).toEqual([])
})

test('the environment, time, chance, the network and standard output are touched in their places only', () => {
  expect(banViolations(sources)).toEqual([])
})

test('names say what is inside', () => {
  expect(nameViolations(allCode)).toEqual([])
})

test.each([
  { folder: 'src/gateway/endpoints/', registry: 'src/gateway/routes.ts' },
  { folder: 'src/control/endpoints/', registry: 'src/control/operations.ts' },
  { folder: 'src/engines/adapters/', registry: 'src/engines/registry.ts' },
  { folder: 'src/weights/sources/', registry: 'src/weights/weights.ts' },
])('every file of $folder is in $registry', ({ folder, registry }) => {
  expect(sources.some((file) => file.path.startsWith(folder))).toBe(true)
  expect(unregistered(sources, folder, registry)).toEqual([])
})

test('every command is in src/cli/cli.ts', () => {
  const commands = sources.filter((file) => /: CliCommand\b/.test(file.code))
  expect(commands.length).toBeGreaterThan(0)
  const registry = sources.filter((file) => file.path === 'src/cli/cli.ts')
  expect(unregistered([...commands, ...registry], 'src/cli/', 'src/cli/cli.ts')).toEqual([])
})

test('every module has a README', () => {
  const modules = new Set(sources.map((file) => moduleOf(file.path)))
  modules.delete('main')
  const missing = [...modules].filter(
    (module) => !existsSync(join(repositoryRoot, `src/${module}/README.md`)),
  )
  expect(missing).toEqual([])
})

test('docs/failure-modes.md describes every fault code with its status, and no other', () => {
  const rows = [...read('docs/failure-modes.md').matchAll(/^### `([a-z_.]+)` \((\d{3})\)$/gm)]
  const documented = Object.fromEntries(rows.map(([, code, status]) => [code, Number(status)]))
  expect(documented).toEqual(faultCodes)
  expect(rows).toHaveLength(Object.keys(faultCodes).length)
})

test('a released migration is never edited or removed', () => {
  for (const [name, sha256] of Object.entries(releasedMigrations)) {
    const now = createHash('sha256')
      .update(read(`migrations/${name}`))
      .digest('hex')
    expect(now, `migrations/${name} was released; write a new migration instead`).toBe(sha256)
  }
})

test('migrations are numbered without gaps', () => {
  const numbers = listFiles('migrations')
    .filter((path) => path.endsWith('.sql'))
    .map((path) => /^migrations\/(\d{4})-[a-z0-9-]+\.sql$/.exec(path)?.[1])
  expect(numbers).toEqual(numbers.map((_, index) => String(index + 1).padStart(4, '0')))
})

test('documents name only files that exist', () => {
  const missing = documents.flatMap((document) =>
    namedFiles(read(document))
      .filter((name) => !isInTree(name, document))
      .map((name) => `${document}: ${name}`),
  )
  expect(missing).toEqual([])
})

/** `src/x/y.ts` in backticks, and the targets of links. Names with a placeholder are not files. */
function namedFiles(text: string): readonly string[] {
  const inBackticks = [...text.matchAll(/`([\w./-]+\/[\w.-]+\.(?:ts|mjs|md|sql))`/g)]
  const linked = [...text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
  return [...inBackticks, ...linked]
    .map((match) => match[1] ?? '')
    .filter((name) => !/NNNN/.test(name))
}

/** Paths are written from the root, from src, from the gateway in the story of a request, or from the document. */
function isInTree(name: string, document: string): boolean {
  return ['', 'src', 'src/gateway', dirname(document)].some((base) =>
    existsSync(join(repositoryRoot, base, name)),
  )
}

test('code and documents speak of Colonnade alone, and promise nothing for later', () => {
  const texts = [
    ...allCode,
    ...documents.map((path) => ({ path, text: read(path) })),
    ...listFiles('migrations').map((path) => ({ path, text: read(path) })),
  ]
  // Escaped, so that this file does not find itself.
  const words =
    /TO\u0044O|FIX\u004dE|\/wo\u0072k\/|\/ro\u006ft\/|\bpy\u0070i\.org|\bnpm\u006as\.org/
  const found = texts.filter(({ text }) => words.test(text)).map(({ path }) => path)
  expect(found).toEqual([])
})

test('dependencies are pinned, and source code uses no development dependency', () => {
  const manifest: {
    readonly dependencies: Readonly<Record<string, string>>
    readonly devDependencies: Readonly<Record<string, string>>
  } = JSON.parse(read('package.json'))
  const versions = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })
  expect(versions.filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))).toEqual([])

  const uses = sources
    .filter((file) => !file.path.endsWith('.test.ts'))
    .flatMap((file) => file.imports.map((imported) => ({ path: file.path, ...imported })))
    .filter(
      ({ isLocal, isTypeOnly, target }) => !isLocal && !isTypeOnly && !target.startsWith('node:'),
    )
    .filter(({ target }) => !(target in manifest.dependencies))
  expect(uses).toEqual([])
})
