#!/usr/bin/env node
/**
 * Starts Colonnade under the Node that the lock file pins, whatever Node (20 or newer) runs this file, and installs the dependencies
 * first when they are missing or differ from the lock file. Plain JavaScript without dependencies, because nothing is installed yet.
 *
 *   colonnade.mjs COMMAND …            src/main.ts COMMAND …
 *   colonnade.mjs --script FILE …      a script of the project
 */
import { spawn } from 'node:child_process'
import {
  accessSync,
  constants,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const modules = join(root, 'node_modules')
/** Not in node_modules, which npm empties. Holds the pids of the launcher that installs and of its npm. */
const installLock = join(root, '.cache', 'installing')
/**
 * Requests die young, and a gateway under load has thousands of them: twice Node's room for what is young (in MiB, three times this at most) takes a
 * sixth off a request's CPU, because less of it outlives a collection.
 */
const nodeFlags = ['--max-semi-space-size=32']
const lockPollMs = 500
const lockStaleMs = 900_000

let child
// A terminal sends Ctrl-C to the whole group, a service manager signals this process alone; the program takes two in a row for one.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child?.kill(signal))
process.on('exit', () => releaseLock())

if (!isInstalled()) await install()
const [node, args] = command(process.argv.slice(2))
// The channel carries nothing: its closing tells the program that this process was killed.
const end = await run(node, args, ['inherit', 'inherit', 'inherit', 'ipc'])
if (end.signal) {
  process.removeAllListeners(end.signal)
  process.kill(process.pid, end.signal)
} else process.exit(end.code)

/** npm writes down what it has installed, as its last step. */
function isInstalled() {
  const wanted = readPackages(join(root, 'package-lock.json'))
  const found = readPackages(join(modules, '.package-lock.json'))
  if (!wanted || !found) return false
  return Object.entries(wanted).every(([path, { optional, integrity }]) => {
    if (path === '') return true
    return found[path] ? found[path].integrity === integrity : optional
  })
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages
  } catch {
    // Nothing was installed, or not to the end.
    return undefined
  }
}

async function install() {
  if (lstatSync(modules, { throwIfNoEntry: false })?.isSymbolicLink()) {
    fail(
      `${modules} is a link, and what it names does not match package-lock.json. Run 'npm ci' where it leads, or remove it.`,
    )
  }
  try {
    accessSync(existsSync(modules) ? modules : root, constants.W_OK)
    accessSync(root, constants.W_OK)
  } catch {
    fail(
      `Dependencies are missing, and this user cannot write to ${root}. Run 'npm ci' there as its owner, then start again.`,
    )
  }
  await takeLock()
  if (isInstalled()) return releaseLock()
  if (process.argv.includes('--json')) process.stdout.write('{"event":"installing"}\n')
  else say('Installing dependencies from package-lock.json (once, about half a minute) …')
  const flags = [
    '--ignore-scripts',
    '--include=dev',
    '--include=optional',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ]
  const [npm, ...first] = npmCommand()
  const running = run(npm, [...first, 'ci', ...flags], ['ignore', 2, 2])
  // When this process is killed, npm goes on, and nobody may get in its way.
  writeFileSync(installLock, `${process.pid} ${child.pid}`)
  const result = await running
  if (result.signal) fail('The installation was interrupted. The next start begins it anew.')
  if (result.code !== 0) {
    fail(
      "'npm ci' failed (see above). Check the network or the package registry, then start again.",
    )
  }
  releaseLock()
}

/** Two starts at once: one installs, the other waits for it. */
async function takeLock() {
  mkdirSync(dirname(installLock), { recursive: true })
  const mine = `${installLock}.${process.pid}`
  writeFileSync(mine, String(process.pid))
  for (let waited = false; ; waited = true) {
    try {
      // A link appears with its content, or not at all.
      linkSync(mine, installLock)
      rmSync(mine)
      return
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    const holder = lockHolders().find(isAlive)
    if (!holder) {
      rmSync(installLock, { force: true })
      continue
    }
    if (!waited)
      say(`Another start (process ${holder}) is installing the dependencies; waiting for it …`)
    await new Promise((done) => setTimeout(done, lockPollMs))
  }
}

function releaseLock() {
  if (lockHolders()[0] === process.pid) rmSync(installLock)
}

/** Nobody any more, when the installation takes longer than any does: a number may go to another program. */
function lockHolders() {
  try {
    if (Date.now() - statSync(installLock).mtimeMs > lockStaleMs) return []
    return readFileSync(installLock, 'utf8').split(' ').map(Number)
  } catch {
    // Nobody installs.
    return []
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** The npm that came with this Node, or else the one on the path. */
function npmCommand() {
  if (process.env.npm_execpath?.endsWith('npm-cli.js'))
    return [process.execPath, process.env.npm_execpath]
  const beside = resolve(dirname(process.execPath), '../lib/node_modules/npm/bin/npm-cli.js')
  return existsSync(beside) ? [process.execPath, beside] : ['npm']
}

function command(argv) {
  const places = ['node', 'node-bin'].map((name) => `${name}-${process.platform}-${process.arch}`)
  const found = places
    .map((name) => join(modules, name, 'bin', 'node'))
    .find((path) => existsSync(path))
  if (!found && !['linux', 'darwin'].includes(process.platform)) {
    fail(
      `Colonnade runs on Linux and macOS (x64, arm64); this is ${process.platform} ${process.arch}.`,
    )
  }
  if (!found) {
    fail(
      `The pinned Node for ${process.platform} ${process.arch} was not installed. Run 'npm ci --include=optional' in ${root}.`,
    )
  }
  if (argv[0] === '--script') return [found, [join(root, argv[1] ?? ''), ...argv.slice(2)]]
  return [found, [...nodeFlags, join(root, 'src/main.ts'), ...argv]]
}

/** Resolves with how the program ended. */
function run(program, programArgs, stdio) {
  return new Promise((done) => {
    child = spawn(program, programArgs, { cwd: stdio[3] ? undefined : root, stdio })
    child.on('error', (error) => fail(`${program} could not be started: ${error.message}`))
    child.on('exit', (exitCode, exitSignal) => done({ code: exitCode, signal: exitSignal }))
  })
}

function say(line) {
  process.stderr.write(`${line}\n`)
}

function fail(message) {
  say(message)
  process.exit(1)
}
