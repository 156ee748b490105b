/** The launcher on a small project of its own, with a stand-in for npm that writes down each call. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { until } from './e2e/until.ts'

const launcher = join(import.meta.dirname, '../bin/colonnade.mjs')
const packages = { '': {}, 'node_modules/a': { integrity: 'sha512-a' } }
let root = ''

beforeEach(() => {
  root = fs.mkdtempSync(join(tmpdir(), 'colonnade-launcher-'))
  for (const folder of ['bin', 'src', 'npm']) fs.mkdirSync(join(root, folder))
  fs.copyFileSync(launcher, join(root, 'bin/colonnade.mjs'))
  fs.writeFileSync(join(root, 'package-lock.json'), JSON.stringify({ packages }))
  program('console.log(JSON.stringify(process.argv.slice(2)))')
  npm('install()')
})
afterEach(() => fs.rmSync(root, { recursive: true, force: true }))

/** What the pinned Node shall run. */
function program(code: string): void {
  fs.writeFileSync(join(root, 'src/main.ts'), code)
}

/** What `npm ci` does; `install()` is what the real one does. */
function npm(code: string): void {
  const pinned = `node_modules/node-${process.platform}-${process.arch}/bin`
  fs.writeFileSync(
    join(root, 'npm/npm-cli.js'),
    `const fs = require('node:fs')
    const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
    fs.appendFileSync('npm/calls', process.argv[2] + '\\n')
    function install() {
      fs.rmSync('node_modules', { recursive: true, force: true })
      fs.mkdirSync('${pinned}', { recursive: true })
      fs.symlinkSync(${JSON.stringify(process.execPath)}, '${pinned}/node')
      fs.writeFileSync('node_modules/.package-lock.json', ${JSON.stringify(JSON.stringify({ packages }))})
    }
    ${code}`,
  )
}

function calls(): readonly string[] {
  const path = join(root, 'npm/calls')
  return fs.existsSync(path) ? fs.readFileSync(path, 'utf8').trim().split('\n') : []
}

interface Run {
  readonly child: ChildProcess
  output(): string
  ended(): Promise<{ code: number | null; signal: string | null; output: string }>
}

function launch(...args: string[]): Run {
  const child = spawn(process.execPath, [join(root, 'bin/colonnade.mjs'), ...args], {
    env: { ...process.env, npm_execpath: join(root, 'npm/npm-cli.js') },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')))
  const closed = once(child, 'close')
  return {
    child,
    output: () => output,
    async ended() {
      const [code, signal] = await closed
      return {
        code: typeof code === 'number' ? code : null,
        signal: typeof signal === 'string' ? signal : null,
        output,
      }
    },
  }
}

test('a first start installs once, and later ones not at all', async () => {
  const first = await launch('serve', '--port', '1').ended()
  expect(first).toMatchObject({ code: 0 })
  expect(first.output).toContain('["serve","--port","1"]')
  const second = await launch('model', 'list').ended()
  expect(second.output).toBe('["model","list"]\n')
  expect(calls()).toEqual(['ci'])
})

test('a changed lock file, and an installation that npm did not finish, are installed anew', async () => {
  await launch().ended()
  const newer = { packages: { '': {}, 'node_modules/a': { integrity: 'sha512-b' } } }
  fs.writeFileSync(join(root, 'package-lock.json'), JSON.stringify(newer))
  await launch().ended()
  expect(calls()).toEqual(['ci', 'ci'])
  fs.writeFileSync(join(root, 'package-lock.json'), JSON.stringify({ packages }))
  fs.rmSync(join(root, 'node_modules/.package-lock.json'))
  await launch().ended()
  expect(calls()).toEqual(['ci', 'ci', 'ci'])
})

test('of two first starts at once, one installs and the other waits for it', async () => {
  npm('sleep(600); install()')
  const ends = await Promise.all([launch('a').ended(), launch('b').ended()])
  expect(ends.map(({ code }) => code)).toEqual([0, 0])
  expect(calls()).toEqual(['ci'])
})

test('after an installer was killed, its npm is waited for, and then the work is done again', async () => {
  npm("sleep(800); fs.appendFileSync('npm/calls', 'ended\\n')")
  const killed = launch()
  await until('npm runs', 5_000, () => calls().length === 1)
  killed.child.kill('SIGKILL')
  await once(killed.child, 'exit')
  npm('install()')
  expect(await launch().ended()).toMatchObject({ code: 0 })
  expect(calls()).toEqual(['ci', 'ended', 'ci'])
})

test('a failed installation says what to do, starts nothing, and leaves no lock', async () => {
  npm('process.exit(1)')
  const { code, output } = await launch('serve').ended()
  expect(code).toBe(1)
  expect(output).toContain("'npm ci' failed")
  expect(output).not.toContain('["serve"]')
  expect(fs.readdirSync(join(root, '.cache'))).toEqual([])
})

test('what another tree lends is never emptied', async () => {
  const lent = join(root, 'lent')
  fs.mkdirSync(lent)
  fs.writeFileSync(join(lent, 'kept'), '')
  fs.symlinkSync(lent, join(root, 'node_modules'))
  expect(await launch().ended()).toMatchObject({ code: 1 })
  expect(fs.readdirSync(lent)).toEqual(['kept'])
  expect(calls()).toEqual([])
})

test('exit codes and signals pass through', async () => {
  program('process.exit(7)')
  expect(await launch().ended()).toMatchObject({ code: 7 })
  program(
    "process.on('SIGTERM', () => process.exit(9)); setInterval(() => {}, 1000); console.log('up')",
  )
  const asked = launch()
  await until('the program is up', 5_000, () => asked.output().includes('up'))
  asked.child.kill('SIGTERM')
  expect(await asked.ended()).toMatchObject({ code: 9 })
  program("process.kill(process.pid, 'SIGKILL')")
  expect(await launch().ended()).toMatchObject({ signal: 'SIGKILL' })
})

test('the program learns that its launcher was killed', async () => {
  const mark = join(root, 'mark')
  program(
    `process.on('disconnect', () => { require('node:fs').writeFileSync(${JSON.stringify(mark)}, ''); process.exit() }); console.log('up')`,
  )
  const { child, output } = launch()
  await until('the program is up', 5_000, () => output().includes('up'))
  child.kill('SIGKILL')
  await until('it has noticed', 5_000, () => fs.existsSync(mark))
})
