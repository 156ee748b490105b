/** The agent with real processes: a small engine in Node, and a control that speaks the protocol over HTTP. */
import { createServer, type Server } from 'node:http'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { connectEngine } from '../engines/protocol/connection.ts'
import type { EngineAdapter } from '../engines/engine.ts'
import { systemClock } from '../platform/clock.ts'
import { Fault } from '../platform/fault.ts'
import { createLogger } from '../platform/log.ts'
import { startAgent, type Agent } from './agent.ts'
import { createControlClient } from './client.ts'
import type { AgentReport, DesiredState } from './protocol.ts'
import type { Deployment } from './reconcile.ts'
import type { PullWeights } from './runner.ts'

const joinToken = 'join'
const engineSource = `
import { createServer } from 'node:http'
const [model, port] = process.argv.slice(2)
createServer((request, response) => {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ object: 'list', data: [{ id: model, object: 'model' }] }))
}).listen(Number(port), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
`

const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

function deployment(modelId: string, change: Partial<Deployment> = {}): Deployment {
  return {
    modelId,
    weightSources: ['file:/weights.gguf'],
    weightSha256: null,
    weightBytes: null,
    embeddings: false,
    contextWindowTokens: null,
    settings: {},
    ...change,
  }
}

async function startControl() {
  const state = {
    desired: [] as Deployment[],
    reports: [] as AgentReport[],
    away: false,
  }
  const server: Server = createServer((request, response) => {
    if (state.away || request.headers.authorization !== `Bearer ${joinToken}`) {
      response.writeHead(state.away ? 503 : 401).end('{}')
      return
    }
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      if (request.method === 'POST') {
        state.reports.push(JSON.parse(Buffer.concat(chunks).toString()) as AgentReport)
      }
      const desired: DesiredState = { nodeId: 'node_1', deployments: state.desired }
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify(desired))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { state, url }
}

async function createNode(controlUrl: string, change: { readonly pull?: PullWeights } = {}) {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'colonnade-agent-'))
  const enginePath = join(dataDirectory, 'engine.mjs')
  const weightsPath = join(dataDirectory, 'weights.gguf')
  await writeFile(enginePath, engineSource)
  await writeFile(weightsPath, tinyGguf)
  const adapter: EngineAdapter = {
    kind: 'fixture',
    connect: (address) =>
      connectEngine(address, {
        kind: 'fixture',
        dialects: {},
        continuousUsage: false,
        cacheSalt: false,
        relaysErrorTexts: false,
      }),
    launch: (spec) => ({
      command: process.execPath,
      args: [enginePath, spec.modelId, String(spec.port)],
      env: {},
    }),
  }
  const start = async (): Promise<Agent> =>
    await startAgent({
      nodeName: 'here',
      control: createControlClient({ controlUrl, joinToken }),
      hardware: { architecture: 'x64', cpuModel: 'x', cores: 2, memoryBytes: 1e9, gpus: [] },
      dataDirectory,
      adapter,
      pull: change.pull ?? (async () => ({ path: weightsPath, sha256: 'ab' })),
      host: '127.0.0.1',
      threads: 1,
      parallel: 2,
      contextWindowTokensMax: undefined,
      processEnv: { PATH: '/usr/bin:/bin' },
      clock: systemClock,
      log: createLogger('agent', 'silent'),
    })
  const statePath = join(dataDirectory, 'agent', 'replicas.json')
  const enginePids = async (): Promise<number[]> => {
    const state = JSON.parse(await readFile(statePath, 'utf8')) as { engines: { pid: number }[] }
    return state.engines.map((engine) => engine.pid)
  }
  return { start, enginePids, statePath }
}

/** The bytes of a GGUF without a single pair. */
const tinyGguf = Buffer.concat([Buffer.from('GGUF'), Buffer.from([3, 0, 0, 0]), Buffer.alloc(16)])

async function until(what: () => boolean | Promise<boolean>, limitMs = 15_000): Promise<void> {
  for (let waitedMs = 0; !(await what()); waitedMs += 25) {
    if (waitedMs > limitMs) throw new Error('it did not happen in time')
    await sleep(25)
  }
}

function stateOf(agent: Agent, modelId: string): string | undefined {
  return agent.statuses().find((status) => status.modelId === modelId)?.state
}

test(
  'what is wanted runs and is reported, what is wanted no more is stopped',
  { timeout: 40_000 },
  async () => {
    const control = await startControl()
    const node = await createNode(control.url)
    control.state.desired = [deployment('a'), deployment('b')]
    const agent = await node.start()
    closers.push(() => agent.stop())
    await until(() => stateOf(agent, 'a') === 'ready' && stateOf(agent, 'b') === 'ready')
    await until(() => {
      const last = control.state.reports.at(-1)
      return last?.replicas.filter((replica) => replica.state === 'ready').length === 2
    })
    const reported = control.state.reports.at(-1)?.replicas[0]
    expect(reported).toMatchObject({ modelId: 'a', engineKind: 'fixture', weightSha256: 'ab' })
    const models = await fetch(`${reported?.baseUrl}/v1/models`)
    expect(await models.json()).toMatchObject({ data: [{ id: 'a' }] })

    control.state.desired = [deployment('b')]
    await until(() => stateOf(agent, 'a') === undefined)
    await until(async () => (await node.enginePids()).length === 1)
    expect(stateOf(agent, 'b')).toBe('ready')
  },
)

test('an engine that dies is started again', { timeout: 40_000 }, async () => {
  const control = await startControl()
  const node = await createNode(control.url)
  control.state.desired = [deployment('a')]
  const agent = await node.start()
  closers.push(() => agent.stop())
  await until(async () => stateOf(agent, 'a') === 'ready' && (await pids(node)).length === 1)
  const [before = 0] = await node.enginePids()
  process.kill(-before, 'SIGKILL')
  await until(async () => {
    const [now] = await pids(node)
    return stateOf(agent, 'a') === 'ready' && now !== undefined && now !== before
  })
})

test('control away: what runs goes on', { timeout: 40_000 }, async () => {
  const control = await startControl()
  const node = await createNode(control.url)
  control.state.desired = [deployment('a')]
  const agent = await node.start()
  closers.push(() => agent.stop())
  await until(() => stateOf(agent, 'a') === 'ready')
  control.state.away = true
  await until(() => !agent.isConnected())
  expect(stateOf(agent, 'a')).toBe('ready')
  control.state.away = false
  await until(() => agent.isConnected())
  expect(stateOf(agent, 'a')).toBe('ready')
})

test(
  'an agent that leaves lets its engines serve, and the next one takes them over',
  { timeout: 40_000 },
  async () => {
    const control = await startControl()
    const node = await createNode(control.url)
    control.state.desired = [deployment('a')]
    const first = await node.start()
    await until(() => stateOf(first, 'a') === 'ready')
    await first.release()
    const [pid = 0] = await node.enginePids()
    expect(isAlive(pid)).toBe(true)
    control.state.reports.length = 0

    const second = await node.start()
    await until(() => stateOf(second, 'a') !== undefined)
    // Never anything but ready: gateways must not notice.
    const seen = control.state.reports.flatMap((report) => report.replicas.map((one) => one.state))
    expect(new Set([...seen, stateOf(second, 'a')])).toEqual(new Set(['ready']))
    await until(() => control.state.reports.some((report) => report.replicas.length === 1))
    expect(await node.enginePids()).toEqual([pid])
    await second.stop()
    expect(isAlive(pid)).toBe(false)
    expect(control.state.reports.at(-1)?.replicas[0]?.state).toBe('stopped')
  },
)

test(
  'an engine that is wanted no more when the next agent comes is stopped',
  { timeout: 40_000 },
  async () => {
    const control = await startControl()
    const node = await createNode(control.url)
    control.state.desired = [deployment('a')]
    const first = await node.start()
    await until(() => stateOf(first, 'a') === 'ready')
    await first.release()
    const [pid = 0] = await node.enginePids()
    control.state.desired = []
    const second = await node.start()
    closers.push(() => second.stop())
    await until(() => !isAlive(pid))
  },
)

test(
  'without control, a starting agent runs what was wanted last',
  { timeout: 40_000 },
  async () => {
    const control = await startControl()
    const node = await createNode(control.url)
    control.state.desired = [deployment('a')]
    const first = await node.start()
    await until(() => stateOf(first, 'a') === 'ready')
    await first.stop()
    control.state.away = true
    const second = await node.start()
    closers.push(() => second.stop())
    await until(() => stateOf(second, 'a') === 'ready', 20_000)
  },
)

test('weights that cannot be had fail at once, with the reason', { timeout: 40_000 }, async () => {
  const control = await startControl()
  const node = await createNode(control.url, {
    pull: async () => {
      throw new Fault({ code: 'upstream.unreachable', public: 'No source answered.' })
    },
  })
  control.state.desired = [deployment('a')]
  const agent = await node.start()
  closers.push(() => agent.stop())
  await until(() => stateOf(agent, 'a') === 'failed')
  expect(agent.statuses()[0]).toMatchObject({ detail: 'No source answered.', baseUrl: null })
})

test('progress of a pull is reported', { timeout: 40_000 }, async () => {
  const control = await startControl()
  const node = await createNode(control.url, {
    pull: async (_deployment, progress, signal) => {
      progress(0.25, 'downloading')
      await sleep(60_000, undefined, { signal })
      throw new Error('unreachable')
    },
  })
  control.state.desired = [deployment('a')]
  const agent = await node.start()
  closers.push(() => agent.stop())
  await until(() => control.state.reports.some((report) => report.replicas[0]?.progress === 0.25))
})

/** The file appears with the first change. */
async function pids(node: { enginePids(): Promise<number[]> }): Promise<number[]> {
  return await node.enginePids().catch(() => [])
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    // ESRCH: nobody there.
    return false
  }
}
