/**
 * Colonnade with everything on, started as a user starts it: keys, limits, holds, the durable journal and the ledger. Only the gateway runs
 * on the core of the proxy; control plane, agent and PostgreSQL run beside the load, and their CPU is reported by itself.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { commandLine, output, startPinned, treeOf, type Pinned } from '../process.ts'
import { answers, type Peer, type PeerOptions, type RunningPeer } from './peer.ts'

const root = join(import.meta.dirname, '../..')
const launcher = join(root, 'bin/colonnade.mjs')
const startTimeoutMs = 120_000
const engineTimeoutMs = 20_000

interface Ready {
  readonly apiUrl: string
  readonly controlUrl: string
  readonly apiKey: string
  readonly adminToken: string
}

export const colonnade: Peer = {
  name: 'Colonnade',
  streamsMax: 1_000,
  // The launcher installs what is missing.
  install: () => Promise.resolve(),
  start: (options) => startColonnade(options),
}

/** `seed` may fill the platform before it is measured; it returns the path of a file with keys. */
export async function startColonnade(
  options: PeerOptions,
  seed?: (dataDirectory: string) => Promise<string>,
): Promise<RunningPeer> {
  const started = startPinned(command(options), { core: options.cores.load, env: environment() })
  try {
    const ready = await readReady(started)
    await addEngine(ready, options.mockUrl)
    const gateway = findGateway(started)
    // All threads, also those that were started before.
    await output('taskset', ['-a', '-cp', String(options.cores.proxy), String(gateway)])
    const peer: RunningPeer = {
      url: ready.apiUrl.replace(/\/v1$/, ''),
      headers: { authorization: `Bearer ${ready.apiKey}` },
      keysFile: await seed?.(dataDirectory(options)),
      model: 'mock',
      version: `Node ${process.versions.node}`,
      pids: () => [gateway],
      otherPids: () => treeOf(started.pid).filter((pid) => pid !== gateway),
      stop: started.stop,
    }
    await answers(withLastKey(peer), engineTimeoutMs, started.output)
    return peer
  } catch (error) {
    await started.stop()
    throw error
  }
}

/** The key that was made last: when it works, all of them do. */
function withLastKey(peer: RunningPeer): RunningPeer {
  if (peer.keysFile === undefined) return peer
  const key = readFileSync(peer.keysFile, 'utf8').trimEnd().split('\n').at(-1)
  return { ...peer, headers: { authorization: `Bearer ${key}` } }
}

function dataDirectory(options: PeerOptions): string {
  return join(options.workDirectory, 'data')
}

function command(options: PeerOptions): string[] {
  const ports = ['--port', String(options.port), '--control-port', String(options.port + 1)]
  const data = ['--data', dataDirectory(options)]
  const start = ['serve', '--json', '--gateways', '1', '--no-default-models']
  return [process.execPath, launcher, ...start, ...data, ...ports]
}

/** Settings of the user's own platform are not ours. */
function environment(): NodeJS.ProcessEnv {
  const foreign = (name: string): boolean =>
    name.startsWith('COLONNADE_') || name === 'DATABASE_URL'
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign(name)))
}

function readReady(started: Pinned): Promise<Ready> {
  return new Promise((resolve, reject) => {
    const { stdout } = started.child
    if (!stdout) throw new Error('started without a pipe')
    const timer = setTimeout(
      () => reject(new Error(`not ready:\n${started.output()}`)),
      startTimeoutMs,
    )
    started.child.once('exit', () => reject(new Error(`it ended:\n${started.output()}`)))
    createInterface({ input: stdout }).on('line', (line) => {
      if (!line.includes('"event":"ready"')) return
      clearTimeout(timer)
      // The schema of this event is documented.
      resolve(JSON.parse(line) as Ready)
    })
  })
}

async function addEngine(ready: Ready, mockUrl: string): Promise<void> {
  const response = await fetch(`${ready.controlUrl}/api/v1/engines`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ready.adminToken}`, 'content-type': 'application/json' },
    body: JSON.stringify({ url: mockUrl, models: ['mock'], category: 'chat' }),
    signal: AbortSignal.timeout(engineTimeoutMs),
  })
  if (!response.ok) throw new Error(`the engine was refused: ${await response.text()}`)
}

function findGateway(started: Pinned): number {
  const gateway = treeOf(started.pid).find((pid) => / gateway\b/.test(commandLine(pid)))
  if (gateway === undefined) throw new Error(`no gateway among its processes:\n${started.output()}`)
  return gateway
}
