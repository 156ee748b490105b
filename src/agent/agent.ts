/**
 * The agent of one node: asks control what shall run, makes it so, and tells what runs. It is on nobody's path: engines go on
 * without it, and it goes on without control.
 *
 * An engine lives in a process group of its own, under a lease file that its agent touches. The agent's crash leaves the engine
 * running; the next agent knows it by pid and start time and takes it over. If no agent comes within a minute, the engine ends.
 */
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ControlClient } from './client.ts'
import type { Hardware } from './hardware.ts'
import { leaseTouchMs, touchLease } from './lease.ts'
import { isRunning, stopProcess } from './process.ts'
import type { AgentReport } from './protocol.ts'
import { fingerprint, reconcile, threadsForEngine, type Deployment } from './reconcile.ts'
import { startRunner, type Runner, type RunnerDeps } from './runner.ts'
import { readState, writeState, type RunningEngine } from './state-file.ts'

export interface AgentOptions extends Pick<
  RunnerDeps,
  | 'adapter'
  | 'pull'
  | 'host'
  | 'parallel'
  | 'contextWindowTokensMax'
  | 'processEnv'
  | 'clock'
  | 'log'
> {
  readonly nodeName: string
  readonly control: ControlClient
  readonly hardware: Hardware
  /** For all engines together. */
  readonly threads: number
  /** Holds `agent/` (state, leases) and `engines/` (logs). */
  readonly dataDirectory: string
}

export interface Agent {
  /** Whether control has been heard within the last poll or two. */
  isConnected(): boolean
  statuses(): AgentReport['replicas']
  /** Stops every engine, and says so to control if it listens. */
  stop(): Promise<void>
  /** Leaves the engines to the next agent, or to the end of their leases a minute from now. */
  release(): Promise<void>
}

const pollMs = 2_000
const reportMs = 5_000
const gatherMs = 100
const pullingGatherMs = 1_000
/** How long a starting agent waits for control before it runs what was wanted last. */
const firstAnswerMs = 10_000
const farewellTimeoutMs = 2_000
/** An eighth of the memory for the caches of all engines: weights, database and gateways need the rest. */
const cacheShare = 0.125

export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { control, log, clock, nodeName } = options
  const statePath = join(options.dataDirectory, 'agent', 'replicas.json')
  const leaseDirectory = join(options.dataDirectory, 'agent', 'leases')
  const logDirectory = join(options.dataDirectory, 'engines')
  await mkdir(leaseDirectory, { recursive: true, mode: 0o700 })
  await mkdir(logDirectory, { recursive: true, mode: 0o700 })

  const before = await readState(statePath)
  const orphans = new Map<string, RunningEngine>()
  for (const engine of before.engines) {
    if (await isRunning(engine)) orphans.set(engine.modelId, engine)
  }
  await sweepLeases(leaseDirectory, [...orphans.values()])
  const runners = new Map<string, Runner>()
  let wanted: readonly Deployment[] | undefined
  let connected = false
  const ending = new AbortController()
  let wakeReporter: (() => void) | undefined

  const engines = (): RunningEngine[] => [
    ...orphans.values(),
    ...[...runners.values()].flatMap((runner) => runner.running() ?? []),
  ]
  const statuses = (): AgentReport['replicas'] =>
    [...runners.values()].map((runner) => runner.status())
  const deps: RunnerDeps = {
    ...options,
    leaseDirectory,
    logDirectory,
    threads: () => threadsForEngine(options.threads, wanted?.length ?? 1),
    cacheBytes: () => {
      const chats = wanted?.filter((deployment) => !deployment.embeddings).length ?? 1
      return (options.hardware.memoryBytes * cacheShare) / Math.max(1, chats)
    },
    changed: () => wakeReporter?.(),
  }

  const start = async (deployment: Deployment): Promise<void> => {
    const orphan = orphans.get(deployment.modelId)
    const fits = orphan?.fingerprint === fingerprint(deployment)
    if (orphan && !fits) await stopProcess(orphan)
    const runner = await startRunner(deployment, fits ? orphan : undefined, deps)
    runners.set(deployment.modelId, runner)
    orphans.delete(deployment.modelId)
    log.info({ modelId: deployment.modelId, adopted: fits }, 'deployment taken')
  }
  const stop = async (modelId: string): Promise<void> => {
    await runners.get(modelId)?.stop()
    runners.delete(modelId)
    log.info({ modelId }, 'deployment ended')
  }

  const apply = async (deployments: readonly Deployment[]): Promise<void> => {
    wanted = deployments
    const actual = new Map([...runners].map(([modelId, runner]) => [modelId, runner.fingerprint]))
    for (const action of reconcile(deployments, actual)) {
      if (action.kind === 'stop') await stop(action.modelId)
      if (action.kind === 'replace') await stop(action.deployment.modelId)
      if (action.kind !== 'stop') await start(action.deployment)
    }
    for (const [modelId, orphan] of orphans) {
      await stopProcess(orphan)
      orphans.delete(modelId)
    }
    deps.changed()
  }

  const poll = async (): Promise<void> => {
    const startedMs = clock.monotonicMs()
    while (!ending.signal.aborted) {
      try {
        // A node that control does not know yet makes itself known.
        if (wanted === undefined) await control.report(currentReport(), ending.signal)
        const desired = await control.desired(nodeName, ending.signal)
        if (!connected) log.info({ nodeName }, 'connected to control')
        connected = true
        await apply(desired.deployments)
      } catch (error) {
        if (ending.signal.aborted) return
        if (connected || wanted === undefined)
          log.warn({ error }, 'control is away; what runs goes on')
        connected = false
        const waitedMs = clock.monotonicMs() - startedMs
        if (wanted === undefined && waitedMs > firstAnswerMs && before.deployments) {
          await apply(before.deployments)
        }
      }
      await pause(pollMs, ending.signal)
    }
  }

  const currentReport = (): AgentReport => ({
    nodeName,
    hardware: { ...options.hardware },
    replicas: statuses(),
  })
  const saveState = (): Promise<void> =>
    writeState(statePath, {
      version: 1,
      deployments: wanted ? [...wanted] : before.deployments,
      engines: engines(),
    })
  const report = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      const woken = new AbortController()
      wakeReporter = () => woken.abort()
      try {
        await saveState()
        if (connected) await control.report(currentReport(), ending.signal)
      } catch (error) {
        if (!ending.signal.aborted) log.warn({ error }, 'the report was not delivered')
      }
      await pause(reportMs, AbortSignal.any([ending.signal, woken.signal]))
      // Changes in a row are told together; progress alone once a second.
      const isPulling = statuses().some((status) => status.state === 'pulling')
      await pause(isPulling ? pullingGatherMs : gatherMs, ending.signal)
    }
  }

  const touch = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      for (const engine of engines()) {
        await touchLease(engine.leasePath, clock.nowMs()).catch((error: unknown) =>
          log.error({ error }, 'a lease cannot be touched; its engine will end'),
        )
      }
      await pause(leaseTouchMs, ending.signal)
    }
  }

  const loops = [poll(), report(), touch()]
  return {
    isConnected: () => connected,
    statuses,
    async stop() {
      ending.abort()
      await Promise.all(loops)
      await Promise.all([...runners.values()].map((runner) => runner.stop()))
      await Promise.all([...orphans.values()].map((orphan) => stopProcess(orphan)))
      orphans.clear()
      await saveState()
      await control
        .report(currentReport(), AbortSignal.timeout(farewellTimeoutMs))
        .catch(() => log.debug('control did not hear the farewell'))
      await control.close()
    },
    async release() {
      ending.abort()
      await Promise.all(loops)
      await saveState()
      for (const runner of runners.values()) runner.release()
      await control.close()
    },
  }
}

/** An engine that nobody knows ends soon after its lease is gone. */
async function sweepLeases(directory: string, known: readonly RunningEngine[]): Promise<void> {
  const kept = new Set(known.map((engine) => engine.leasePath))
  for (const name of await readdir(directory)) {
    const path = join(directory, name)
    if (!kept.has(path)) await rm(path, { force: true })
  }
}

/** Resolves after the time, or at once when the signal is aborted. */
async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  await sleep(durationMs, undefined, { signal }).catch(() => {
    // Woken early; the caller looks at the signal.
  })
}
