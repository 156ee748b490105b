/** The embedded server as a process: where it may live, who may log in, and what is left after kill -9. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { isAlive } from '../../../test/e2e/processes.ts'
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded.ts'

// Closed to everybody but us, as mktemp -d and /root are, and too long for a socket's path.
const root = mkdtempSync(join(tmpdir(), 'colonnade-embedded-'))
const directory = join(root, 'a'.repeat(60), 'b'.repeat(60), 'postgres')
const cluster = join(directory, 'cluster')
let server: EmbeddedPostgres | undefined

beforeAll(async () => {
  server = await startEmbeddedPostgres(directory)
  await query(server.ownerUrl, 'CREATE TABLE kept (value text)')
}, 60_000)
afterEach(async () => {
  await server?.stop()
  server = undefined
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

async function query(url: string, text: string): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  // A server that is killed ends the connection with an error event as well.
  client.on('error', () => {})
  await client.connect()
  try {
    const result = await client.query<Record<string, unknown>>(text)
    return result.rows
  } finally {
    await client.end()
  }
}

function postmasterPid(): number {
  return Number(readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n')[0])
}

test('a stopped server leaves no process and no lock, and its data is there after the next start', async () => {
  server ??= await startEmbeddedPostgres(directory)
  await query(server.ownerUrl, "INSERT INTO kept VALUES ('stop')")
  const { pid } = server
  await server.stop()
  expect(isAlive(pid)).toBe(false)
  expect(() => postmasterPid()).toThrow('ENOENT')
  server = await startEmbeddedPostgres(directory)
  expect(await query(server.ownerUrl, 'SELECT value FROM kept')).toEqual([{ value: 'stop' }])
}, 60_000)

test('it is durable, checks its pages, and listens on no network', async () => {
  server = await startEmbeddedPostgres(directory)
  const [row] = await query(
    server.ownerUrl,
    "SELECT current_setting('fsync') AS fsync, current_setting('data_checksums') AS checksums, current_setting('listen_addresses') AS addresses, current_setting('server_encoding') AS encoding",
  )
  expect(row).toEqual({ fsync: 'on', checksums: 'on', addresses: '', encoding: 'UTF8' })
}, 60_000)

test('it never runs as root, and only our own user may log in', async () => {
  server = await startEmbeddedPostgres(directory)
  const uid = statSync(`/proc/${server.pid}`).uid
  expect(uid).not.toBe(0)
  expect(readFileSync(join(cluster, 'pg_hba.conf'), 'utf8')).toBe(
    'local all all peer map=colonnade\n',
  )
  const stranger = server.ownerUrl.replace('colonnade_owner', 'postgres')
  await expect(query(stranger, 'SELECT 1')).rejects.toMatchObject({ code: '28000' })
}, 60_000)

test("the roles' login owns nothing", async () => {
  server = await startEmbeddedPostgres(directory)
  const [row] = await query(
    server.appUrl,
    'SELECT rolsuper, rolbypassrls, rolinherit, rolcreaterole FROM pg_roles WHERE rolname = current_user',
  )
  expect(Object.values(row ?? {})).toEqual([false, false, false, false])
  await expect(query(server.appUrl, 'SELECT * FROM kept')).rejects.toMatchObject({ code: '42501' })
}, 60_000)

test('kill -9 of the server loses nothing that was committed', async () => {
  server = await startEmbeddedPostgres(directory)
  await query(server.ownerUrl, "INSERT INTO kept VALUES ('crash')")
  process.kill(server.pid, 'SIGKILL')
  await server.exited
  // Its workers end a moment after it; until then a new one is refused.
  const again = await startAgain()
  server = again
  const rows = await query(again.ownerUrl, 'SELECT value FROM kept ORDER BY value')
  expect(rows).toEqual([{ value: 'crash' }, { value: 'stop' }])
}, 60_000)

async function startAgain(attempts = 50): Promise<EmbeddedPostgres> {
  return await startEmbeddedPostgres(directory).catch((error: unknown) => {
    if (attempts === 0) throw error
    return startAgain(attempts - 1)
  })
}

test('a server whose parent was killed is ended by the next start', async () => {
  const script = `
    const { startEmbeddedPostgres } = await import(${JSON.stringify(join(import.meta.dirname, 'embedded.ts'))})
    const server = await startEmbeddedPostgres(${JSON.stringify(directory)})
    console.log(server.pid)
    setInterval(() => {}, 1000)`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(createInterface({ input: parent.stdout }), 'line')
  const orphan = Number(line)
  parent.kill('SIGKILL')
  await once(parent, 'exit')
  expect(isAlive(orphan)).toBe(true)
  server = await startEmbeddedPostgres(directory)
  expect(isAlive(orphan)).toBe(false)
  expect(server.pid).not.toBe(orphan)
}, 60_000)

test('a lock left by a crash does not matter when its number now belongs to another program', async () => {
  mkdirSync(cluster, { recursive: true })
  writeFileSync(join(cluster, 'postmaster.pid'), `${process.pid}\n${cluster}\n0\n`)
  server = await startEmbeddedPostgres(directory)
  expect(await query(server.ownerUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
}, 60_000)
