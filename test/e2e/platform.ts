/** Starts Colonnade as a user would, by `colonnade serve --json`, and talks to it as a user would. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export interface PlatformEvent {
  readonly event: string
  readonly [field: string]: unknown
}

export interface ReadyEvent extends PlatformEvent {
  /** With `/v1`, as SDKs want it. */
  readonly apiUrl: string
  readonly controlUrl: string
  /** Only on the first start of a data folder. */
  readonly apiKey?: string
  readonly adminToken?: string
}

export interface Platform {
  readonly child: ChildProcess
  readonly ready: ReadyEvent
  /** All events so far, the newest last. */
  readonly events: readonly PlatformEvent[]
  /** What the launcher and the program wrote to standard error, the last part of it. */
  errorOutput(): string
  /** SIGINT, as Ctrl-C does; resolves with the exit code. */
  stop(): Promise<number | null>
}

export const root = join(import.meta.dirname, '../..')
const launcher = join(root, 'bin/colonnade.mjs')
const startTimeoutMs = 280_000
const stopTimeoutMs = 30_000
const errorOutputBytesMax = 64 * 1024

export interface StartOptions {
  readonly dataDirectory: string
  readonly environment?: Readonly<Record<string, string>>
  readonly args?: readonly string[]
}

/** Resolves when the event `ready` came. A start that fails or hangs leaves no process behind. */
export async function startPlatform(options: StartOptions): Promise<Platform> {
  const child = spawn(
    process.execPath,
    [launcher, 'serve', '--json', '--data', options.dataDirectory, ...(options.args ?? [])],
    { cwd: root, env: await environment(options), stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const events: PlatformEvent[] = []
  let errors = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString('utf8')).slice(-errorOutputBytesMax)
  })
  const ready = new Promise<ReadyEvent>((resolve, reject) => {
    if (child.stdout) {
      createInterface({ input: child.stdout }).on('line', (line) => {
        const event = parseEvent(line)
        events.push(event)
        if (event.event === 'ready') resolve(toReady(event))
      })
    }
    child.once('exit', (code) => reject(new Error(`serve ended with ${code}: ${errors}`)))
    setTimeout(
      () => reject(new Error(`not ready within ${startTimeoutMs} ms: ${errors}`)),
      startTimeoutMs,
    ).unref()
  })
  try {
    return {
      child,
      ready: await ready,
      events,
      errorOutput: () => errors,
      stop: () => stop(child),
    }
  } catch (error) {
    await stop(child)
    throw error
  }
}

function parseEvent(line: string): PlatformEvent {
  const value: unknown = JSON.parse(line)
  if (typeof value !== 'object' || value === null || !('event' in value)) {
    throw new Error(`--json printed a line that is no event: ${line}`)
  }
  return { ...value, event: String(value.event) }
}

function toReady(event: PlatformEvent): ReadyEvent {
  const { apiUrl, controlUrl } = event
  if (typeof apiUrl !== 'string' || typeof controlUrl !== 'string') {
    throw new Error(`the event ready lacks an address: ${Object.keys(event).join(', ')}`)
  }
  return { ...event, apiUrl: `${apiUrl.replace(/\/v1$/, '')}/v1`, controlUrl }
}

async function stop(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
  const limit = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs)
  child.kill('SIGINT')
  await once(child, 'exit')
  clearTimeout(limit)
  return child.exitCode
}

/** The caller's environment without settings of Colonnade, and free ports. */
export async function environment(
  options: Pick<StartOptions, 'environment'>,
): Promise<NodeJS.ProcessEnv> {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('COLONNADE_') && name !== 'DATABASE_URL',
  )
  return {
    ...Object.fromEntries(inherited),
    COLONNADE_PORT: String(await freePort()),
    COLONNADE_CONTROL_PORT: String(await freePort()),
    ...options.environment,
  }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // Listening on TCP, so the address is not a path.
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Calls the control API with the administrator's token. Throws with the answer when it refuses. */
export async function control(
  at: { readonly controlUrl: string; readonly adminToken: string },
  method: string,
  path: string,
  body?: unknown,
): Promise<unknown> {
  const response = await fetch(`${at.controlUrl}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${at.adminToken}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(10_000),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
  return text === '' ? undefined : JSON.parse(text)
}
