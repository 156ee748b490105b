#!/usr/bin/env node
/**
 * Starts Colonnade under the Node that the lock file pins, whatever Node (20 or newer) runs this file, and installs the dependencies
 * first when they are missing or older than the lock file. Plain JavaScript without dependencies, because nothing is installed yet.
 *
 *   colonnade.mjs COMMAND …            src/main.ts COMMAND …
 *   colonnade.mjs --script FILE …      a script of the project
 */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const modules = join(root, 'node_modules')
const stamp = join(modules, '.colonnade-installed')
const lockHash = createHash('sha256').update(readFileSync(join(root, 'package-lock.json'))).digest('hex')
/** npm ci takes half a minute here; a lock older than this was left by a killed install. */
const lockStaleMs = 600_000

if (!isInstalled()) install()

const [node, args] = command(process.argv.slice(2))
const child = spawn(node, args, {
  stdio: process.channel ? ['inherit', 'inherit', 'inherit', 'ipc'] : 'inherit',
})
// A terminal sends Ctrl-C to the whole group; a service manager signals this process alone. Either way the program decides.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
  })
}
child.on('error', (error) => fail(`The pinned Node could not be started: ${error.message}`))
child.on('exit', (code, signal) => {
  if (signal) process.kill(process.pid, signal)
  else process.exit(code ?? 1)
})

function isInstalled() {
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === lockHash
}

function install() {
  const json = process.argv.includes('--json')
  if (json) console.log(JSON.stringify({ event: 'installing' }))
  else console.error('Installing dependencies (once, about half a minute) …')
  try {
    mkdirSync(modules, { recursive: true })
    accessSync(modules, constants.W_OK)
  } catch {
    fail(`Dependencies are missing, and ${root} is not writable for this user. Run 'npm ci' there as its owner, then start again.`)
  }
  // npm ci empties node_modules, so the lock lies beside it.
  const lock = join(root, '.installing')
  takeLock(lock)
  try {
    if (isInstalled()) return
    const npm = npmCommand()
    const result = spawnSync(npm[0], [...npm.slice(1), 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: root,
      stdio: ['ignore', 2, 2],
    })
    if (result.status !== 0) fail("'npm ci' failed (see above). Check the network or the package registry, then start again.")
    writeFileSync(stamp, lockHash)
  } finally {
    rmdirSync(lock)
  }
}

function takeLock(lock) {
  const pause = new Int32Array(new SharedArrayBuffer(4))
  for (;;) {
    try {
      mkdirSync(lock)
      process.on('exit', () => existsSync(lock) && rmdirSync(lock))
      return
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
      if (Date.now() - statSync(lock).mtimeMs > lockStaleMs) rmdirSync(lock)
      else Atomics.wait(pause, 0, 0, 500)
    }
  }
}

function npmCommand() {
  if (process.env.npm_execpath?.endsWith('.js')) return [process.execPath, process.env.npm_execpath]
  const beside = resolve(dirname(process.execPath), '../lib/node_modules/npm/bin/npm-cli.js')
  return existsSync(beside) ? [process.execPath, beside] : ['npm']
}

function command(argv) {
  const names = [`node-${process.platform}-${process.arch}`, `node-bin-${process.platform}-${process.arch}`]
  const found = names.map((name) => join(modules, name, 'bin', 'node')).find((path) => existsSync(path))
  if (!found) fail(`Colonnade runs on Linux and macOS (x64, arm64); this is ${process.platform} ${process.arch}.`)
  if (argv[0] === '--script') return [found, [join(root, argv[1] ?? ''), ...argv.slice(2)]]
  return [found, [join(root, 'src/main.ts'), ...argv]]
}

function fail(message) {
  console.error(message)
  process.exit(1)
}
