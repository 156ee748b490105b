/** `serve` as processes: what stands after a start, what comes back after kill -9, and what is left after an end. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, afterEach, expect, test } from 'vitest'
import { environment } from '../../test/e2e/platform.ts'
import { descendantsOf, isAlive } from '../../test/e2e/processes.ts'
import { until } from '../../test/e2e/until.ts'
import { startEmbeddedPostgres } from '../platform/postgres/embedded.ts'
import { readEndpoints } from './leftovers.ts'

const root = mkdtempSync(join(tmpdir(), 'colonnade-serve-'))
const dataDirectory = join(root, 'data')
const mainPath = join(import.meta.dirname, '../main.ts')
const startTimeoutMs = 60_000
const running = new Set<ChildProcess>()

interface Event {
  readonly event: string
  readonly [field: string]: unknown
}
interface Serve {
  readonly child: ChildProcess
  readonly events: readonly Event[]
  errors(): string
  ended(): Promise<number | null>
}

afterEach(async () => {
  for (const child of running) {
    child.kill('SIGINT')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  }
  running.clear()
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

async function spawnServe(
  args: readonly string[] = [],
  extra: Readonly<Record<string, string>> = {},
): Promise<Serve> {
  const child = spawn(
    process.execPath,
    [mainPath, 'serve', '--json', '--data', dataDirectory, '--no-default-models', ...args],
    { env: await environment({ environment: extra }), stdio: ['ignore', 'pipe', 'pipe'] },
  )
  running.add(child)
  const events: Event[] = []
  let errors = ''
  // What the program prints under --json is one event a line.
  createInterface({ input: child.stdout }).on('line', (line) =>
    events.push(JSON.parse(line) as Event),
  )
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString('utf8')))
  const exit = once(child, 'close')
  return {
    child,
    events,
    errors: () => errors,
    ended: async () => {
      const [code] = await exit
      running.delete(child)
      return typeof code === 'number' ? code : null
    },
  }
}

async function startServe(
  ...given: Parameters<typeof spawnServe>
): Promise<Serve & { ready: Event }> {
  const serve = await spawnServe(...given)
  const ready = await until('ready', startTimeoutMs, () => {
    if (serve.child.exitCode !== null) throw new Error(serve.errors())
    return serve.events.find(({ event }) => event === 'ready')
  })
  return { ...serve, ready }
}

function rolesNow(): Readonly<Record<string, number>> {
  const roles = Object.entries(readEndpoints(dataDirectory)?.roles ?? {})
  return Object.fromEntries(roles.map(([name, { pid }]) => [name, pid]))
}

async function isReady(url: unknown): Promise<boolean> {
  return (await fetch(`${String(url)}/ready`, { signal: AbortSignal.timeout(1_000) })).ok
}

test('the first start shows its secrets, a second one never again, and Ctrl-C leaves nothing running', async () => {
  const first = await startServe()
  expect(first.ready).toMatchObject({ apiKey: expect.any(String), adminToken: expect.any(String) })
  const models = await fetch(`${String(first.ready['apiUrl'])}/models`, {
    headers: { authorization: `Bearer ${String(first.ready['apiKey'])}` },
  })
  expect(models.status).toBe(200)
  const below = descendantsOf(first.child.pid ?? 0)
  first.child.kill('SIGINT')
  expect(await first.ended()).toBe(0)
  expect(below.filter(({ pid }) => isAlive(pid))).toEqual([])
  expect(first.events.at(-1)).toEqual({ event: 'stopped' })
  expect(readEndpoints(dataDirectory)).toBeUndefined()

  const second = await startServe()
  expect(second.ready).not.toHaveProperty('apiKey')
  expect(second.ready).not.toHaveProperty('adminToken')
}, 120_000)

test('a taken port is named with the flag that helps, and nothing is left running', async () => {
  const blocker = createServer()
  await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve))
  // Listening on TCP, so the address is not a path.
  const { port } = blocker.address() as AddressInfo
  for (const flag of ['--port', '--control-port']) {
    const serve = await spawnServe([flag, String(port)])
    expect(await serve.ended()).toBe(1)
    expect(serve.errors()).toContain(`Port ${port}`)
    expect(serve.errors()).toContain(`${flag} `)
    expect(serve.events).toEqual([])
  }
  blocker.close()
}, 60_000)

test('two gateways share a port; each role that is killed comes back alone, and the others go on', async () => {
  const serve = await startServe(['--gateways', '2'])
  const before = rolesNow()
  expect(Object.keys(before).toSorted()).toEqual(['agent', 'control', 'gateway 1', 'gateway 2'])
  for (const role of ['gateway 2', 'control', 'agent']) {
    process.kill(before[role] ?? 0, 'SIGKILL')
    await until(`${role} is back`, startTimeoutMs, () =>
      serve.events.some((event) => event.event === 'role-restarted' && event['role'] === role),
    )
    const stopped = { event: 'role-stopped', role, reason: 'signal SIGKILL', restartInMs: 200 }
    expect(serve.events).toContainEqual(stopped)
  }
  const after = rolesNow()
  expect(after['gateway 1']).toBe(before['gateway 1'])
  for (const role of ['gateway 2', 'control', 'agent']) expect(after[role]).not.toBe(before[role])
  expect(await isReady(String(serve.ready['apiUrl']).replace(/\/v1$/, ''))).toBe(true)
  expect(await isReady(serve.ready['controlUrl'])).toBe(true)
}, 120_000)

test('PostgreSQL that is killed comes back, and control with it', async () => {
  const serve = await startServe()
  const server = descendantsOf(serve.child.pid ?? 0).find(({ command }) =>
    / -D .*cluster/.test(command),
  )
  process.kill(server?.pid ?? 0, 'SIGKILL')
  await until('PostgreSQL is back', startTimeoutMs, () =>
    serve.events.some((event) => event.event === 'role-restarted' && event['role'] === 'database'),
  )
  await until('control answers', startTimeoutMs, () => isReady(serve.ready['controlUrl']))
}, 120_000)

test('a second start on the same data folder is refused; after kill -9 it is not, roles end by themselves, and the ports are free', async () => {
  const first = await startServe()
  const refused = await spawnServe()
  expect(await refused.ended()).toBe(1)
  expect(refused.errors()).toContain('uses the data folder')

  const below = descendantsOf(first.child.pid ?? 0)
  first.child.kill('SIGKILL')
  const ports = [first.ready['apiUrl'], first.ready['controlUrl']].map(
    (url) => new URL(String(url)).port,
  )
  const args = ['--port', ports[0] ?? '', '--control-port', ports[1] ?? '']
  const second = await startServe(args)
  expect(second.ready['apiUrl']).toBe(first.ready['apiUrl'])
  for (const { command, pid } of below) {
    await until(`${command} ended`, startTimeoutMs, () => !isAlive(pid))
  }
}, 120_000)

test('with a database of the operator, roles get a login that owns nothing', async () => {
  const server = await startEmbeddedPostgres(join(root, 'given'))
  try {
    const own = ['--data', join(root, 'data-of-given')]
    const serve = await startServe(own, { DATABASE_URL: server.ownerUrl })
    const below = descendantsOf(serve.child.pid ?? 0)
    expect(below.some(({ command }) => / -D .*cluster/.test(command))).toBe(false)
    expect(await isReady(serve.ready['controlUrl'])).toBe(true)
    serve.child.kill('SIGINT')
    expect(await serve.ended()).toBe(0)
  } finally {
    await server.stop()
  }
}, 120_000)

test('an address that others can reach is refused without TLS', async () => {
  const serve = await spawnServe(['--host', '0.0.0.0'])
  expect(await serve.ended()).toBe(1)
  expect(serve.errors()).toContain('--tls-cert')
}, 60_000)
