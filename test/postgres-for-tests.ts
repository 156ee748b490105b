/**
 * Real PostgreSQL for tests: one server for the whole run, a fresh migrated database for each caller. With
 * COLONNADE_TEST_DATABASE_URL (an owner's URL) that server is used instead. A missing database fails the test, it never skips it.
 */
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { appName, ensureAppRole } from '../src/platform/postgres/embedded.ts'
import { migrate } from '../src/platform/postgres/migrate.ts'

export interface TestDatabase {
  readonly ownerUrl: string
  readonly appUrl: string
  /** Drops the database. */
  close(): Promise<void>
}

export interface TestPostgres {
  createDatabase(): Promise<TestDatabase>
}

interface Server {
  readonly ownerUrl: string
  readonly appUrl: string
}

const directory = join(tmpdir(), `colonnade-tests-${userInfo().username}`)
const migrations = fileURLToPath(new URL('../migrations', import.meta.url))
/** Of the roles' login on a server that is given; it guards nothing but test data. */
const testPassword = 'colonnade-tests'
const startTimeoutMs = 60_000
const lockStaleMs = 90_000

export async function postgresForTests(): Promise<TestPostgres> {
  const server = await findServer()
  return { createDatabase: () => createDatabase(server) }
}

/** Ends the shared server, if one runs. */
export async function stopPostgresForTests(): Promise<void> {
  const running = readReady()
  if (!running) return
  rmSync(join(directory, 'ready.json'), { force: true })
  try {
    process.kill(running.pid, 'SIGTERM')
  } catch {
    // It has ended by itself.
    return
  }
  for (let waitedMs = 0; waitedMs < 20_000 && isAlive(running.pid); waitedMs += 50) await sleep(50)
}

async function findServer(): Promise<Server> {
  const given = process.env['COLONNADE_TEST_DATABASE_URL']
  if (given) return givenServer(given)
  mkdirSync(directory, { recursive: true })
  return withLock(async () => {
    const running = readReady()
    return running && isAlive(running.pid) ? running : startServer()
  })
}

function givenServer(ownerUrl: string): Server {
  const url = new URL(ownerUrl)
  url.username = appName
  url.password = testPassword
  return { ownerUrl, appUrl: url.href }
}

async function startServer(): Promise<Server> {
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory, { recursive: true, mode: 0o755 })
  const log = openSync(join(directory, 'server.log'), 'a')
  const script = fileURLToPath(new URL('postgres-server.ts', import.meta.url))
  const child = spawn(process.execPath, [script, directory], {
    detached: true,
    stdio: ['ignore', log, log],
  })
  child.unref()
  for (let waitedMs = 0; waitedMs < startTimeoutMs && child.exitCode === null; waitedMs += 50) {
    const ready = readReady()
    if (ready) return ready
    await sleep(50)
  }
  throw new Error(
    `The test database did not start:\n${readFileSync(join(directory, 'server.log'), 'utf8')}`,
  )
}

async function createDatabase(server: Server): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`
  // Copies wait for each other: a template may have one reader at a time.
  await withLock(async () => {
    const template = await ensureTemplate(server)
    await asOwner(server, (client) => client.query(`CREATE DATABASE ${name} TEMPLATE ${template}`))
  })
  return {
    ownerUrl: withDatabase(server.ownerUrl, name),
    appUrl: withDatabase(server.appUrl, name),
    close: () =>
      asOwner(server, async (client) => {
        await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
      }),
  }
}

/** One for each state of the migrations, migrated once; each test's database is a copy. */
async function ensureTemplate(server: Server): Promise<string> {
  const hash = createHash('sha256')
  for (const file of readdirSync(migrations).toSorted())
    hash.update(readFileSync(join(migrations, file)))
  const name = `colonnade_template_${hash.digest('hex').slice(0, 12)}`
  const isThere = await asOwner(server, async (client) => {
    const found = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [name])
    if (found.rowCount !== 0) return true
    await ensureAppRole(client, testPassword)
    await client.query(`DROP DATABASE IF EXISTS ${name}_partial WITH (FORCE)`)
    await client.query(`CREATE DATABASE ${name}_partial`)
    return false
  })
  if (isThere) return name
  await migrate(withDatabase(server.ownerUrl, `${name}_partial`), migrations)
  await asOwner(server, (client) =>
    client.query(`ALTER DATABASE ${name}_partial RENAME TO ${name}`),
  )
  return name
}

async function asOwner<Result>(
  server: Server,
  work: (client: pg.Client) => Promise<Result>,
): Promise<Result> {
  const client = new pg.Client({ connectionString: withDatabase(server.ownerUrl, 'postgres') })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url)
  changed.pathname = `/${name}`
  return changed.href
}

function readReady(): (Server & { readonly pid: number }) | undefined {
  try {
    // Written by postgres-server.ts.
    return JSON.parse(readFileSync(join(directory, 'ready.json'), 'utf8')) as Server & {
      pid: number
    }
  } catch {
    // Not there, or half written: not ready.
    return undefined
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Test files run in several processes; one at a time starts the server or copies the template. */
async function withLock<Result>(work: () => Promise<Result>): Promise<Result> {
  const lock = `${directory}.lock`
  for (;;) {
    try {
      mkdirSync(lock)
      break
    } catch {
      // Somebody else has it, or was killed while having it.
      if (lockAgeMs(lock) > lockStaleMs) rmSync(lock, { recursive: true, force: true })
      else await sleep(20)
    }
  }
  try {
    return await work()
  } finally {
    rmSync(lock, { recursive: true, force: true })
  }
}

function lockAgeMs(lock: string): number {
  try {
    return Date.now() - statSync(lock).mtimeMs
  } catch {
    // Released between the two calls.
    return 0
  }
}
