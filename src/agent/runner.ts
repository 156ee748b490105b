/**
 * One deployment on this node, from its weights to an engine that serves, again and again until it is wanted no more. The only failure
 * that it passes on is in its report.
 */
import { join } from 'node:path'
import { rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Engine, EngineAdapter } from '../engines/engine.ts'
import { Fault } from '../platform/fault.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import { readGgufFacts, type GgufFacts } from './gguf.ts'
import { touchLease } from './lease.ts'
import { isRunning, killOrphans, startProcess, stopProcess } from './process.ts'
import type { AgentReport } from './protocol.ts'
import {
  fingerprint,
  hasFailed,
  quickFailuresMax,
  restartDelayMs,
  steadyAfterMs,
  type Deployment,
} from './reconcile.ts'
import { sizeEngine } from './sizing.ts'
import type { RunningEngine } from './state-file.ts'

export type ReplicaStatus = AgentReport['replicas'][number]

/** Brings a deployment's weights to this machine. `progress` is called with 0..1 and what is happening. */
export type PullWeights = (
  deployment: Deployment,
  progress: (fraction: number | undefined, detail: string) => void,
  signal: AbortSignal,
) => Promise<{ readonly path: string; readonly sha256: string }>

export interface RunnerDeps {
  readonly adapter: EngineAdapter
  readonly pull: PullWeights
  /** Where engines listen, and where gateways find them. */
  readonly host: string
  /** Threads that a new engine may use. */
  readonly threads: () => number
  /** Sequences that an engine decodes at once, unless its deployment says otherwise. */
  readonly parallel: number
  /** Bounds the window of every engine; `undefined` for what fits. */
  readonly contextWindowTokensMax: number | undefined
  /** Bytes of memory that a new engine may spend on its cache. */
  readonly cacheBytes: () => number
  readonly logDirectory: string
  readonly leaseDirectory: string
  readonly processEnv: Readonly<Record<string, string>>
  readonly clock: Clock
  readonly log: Logger
  /** Called at each change of the status or of what runs. */
  readonly changed: () => void
}

export interface Runner {
  readonly modelId: string
  readonly fingerprint: string
  status(): ReplicaStatus
  /** The live engine, for the state file. */
  running(): RunningEngine | undefined
  /** Ends the work and the engine, and resolves when both are gone. */
  stop(): Promise<void>
  /** Ends the work and leaves the engine alone. */
  release(): void
}

/** Large weights take minutes to load from a slow disk. */
const startupTimeoutMs = 600_000
const startupPollMs = 200
const watchPollMs = 1_000
const healthEveryMs = 5_000
const healthTimeoutMs = 5_000
/** Missed in a row: an engine that is silent for half a minute hangs. */
const healthMissesMax = 6
const detailLengthMax = 500

/** Starts with `adopted`, an engine that an earlier agent left running, if there is one. */
export async function startRunner(
  deployment: Deployment,
  adopted: RunningEngine | undefined,
  deps: RunnerDeps,
): Promise<Runner> {
  const { modelId } = deployment
  // An engine that serves all the while is never reported as anything but ready.
  const servesAlready = adopted !== undefined && (await probe(adopted, deps))
  const ending = new AbortController()
  let running = adopted
  let status: ReplicaStatus = {
    modelId,
    state: servesAlready ? 'ready' : 'pending',
    engineKind: deps.adapter.kind,
    engineModel: modelId,
    baseUrl: adopted?.baseUrl ?? null,
    detail: null,
    progress: null,
    weightSha256: adopted?.weightSha256 ?? null,
    contextWindowTokens: adopted?.contextWindowTokens ?? null,
    embeddings: adopted?.embeddings ?? null,
  }
  const show = (change: Partial<ReplicaStatus>): void => {
    const next = { ...status, detail: null, progress: null, ...change }
    if (JSON.stringify(next) === JSON.stringify(status)) return
    status = next
    deps.changed()
  }

  /** Resolves when the engine has ended, or was ended for hanging. Throws when it never became ready. */
  const serve = async (engine: RunningEngine): Promise<string> => {
    const connection = deps.adapter.connect({ baseUrl: engine.baseUrl })
    try {
      await waitUntilReady(engine, connection)
      show({ state: 'ready', baseUrl: engine.baseUrl })
      deps.log.info({ modelId, baseUrl: engine.baseUrl }, 'engine ready')
      return await watch(engine, connection)
    } finally {
      await connection.close()
    }
  }

  const waitUntilReady = async (engine: RunningEngine, connection: Engine): Promise<void> => {
    const deadlineMs = deps.clock.monotonicMs() + startupTimeoutMs
    while (deps.clock.monotonicMs() < deadlineMs) {
      if (!(await isRunning(engine)))
        throw startFailed('the engine ended while it was starting', deps, modelId)
      if (await answersFor(connection, modelId, ending.signal)) return
      await sleep(startupPollMs, undefined, { signal: ending.signal })
    }
    throw startFailed('the engine was not ready within 10 minutes', deps, modelId)
  }

  const watch = async (engine: RunningEngine, connection: Engine): Promise<string> => {
    let misses = 0
    let nextHealthMs = deps.clock.monotonicMs() + healthEveryMs
    while (misses < healthMissesMax) {
      await sleep(watchPollMs, undefined, { signal: ending.signal })
      if (!(await isRunning(engine)))
        return `the engine ended; its log is ${logPathOf(deps, modelId)}`
      if (deps.clock.monotonicMs() < nextHealthMs) continue
      nextHealthMs = deps.clock.monotonicMs() + healthEveryMs
      misses = (await answersFor(connection, modelId, ending.signal)) ? 0 : misses + 1
    }
    return 'the engine did not answer for 30 s and was stopped'
  }

  const launch = async (): Promise<RunningEngine> => {
    show({ state: 'pulling', baseUrl: null, detail: 'looking for the weights' })
    const weights = await deps.pull(
      deployment,
      (fraction, detail) =>
        show({ state: 'pulling', detail: bounded(detail), progress: fraction ?? null }),
      ending.signal,
    )
    const facts = await readFacts(weights.path)
    const plan = planLaunch(deployment, facts, deps)
    show({
      state: 'starting',
      weightSha256: weights.sha256,
      contextWindowTokens: plan.contextWindowTokens ?? null,
      embeddings: plan.embeddings,
    })
    const port = await freePort(deps.host)
    const spec = deps.adapter.launch?.({
      ...plan,
      weightsPath: weights.path,
      host: deps.host,
      port,
    })
    if (!spec) throw new Error(`${deps.adapter.kind} engines cannot be launched`)
    const leasePath = join(deps.leaseDirectory, `engine-${port}.lease`)
    await touchLease(leasePath, deps.clock.nowMs())
    const identity = await startProcess({
      spec,
      logPath: logPathOf(deps, modelId),
      leasePath,
      env: deps.processEnv,
    })
    deps.log.info({ modelId, enginePid: identity.pid, port }, 'engine started')
    return {
      ...identity,
      leasePath,
      modelId,
      fingerprint: fingerprint(deployment),
      engineKind: deps.adapter.kind,
      baseUrl: `http://${deps.host.includes(':') ? `[${deps.host}]` : deps.host}:${port}`,
      weightSha256: weights.sha256,
      contextWindowTokens: plan.contextWindowTokens ?? null,
      embeddings: plan.embeddings,
    }
  }

  let released = false
  const end = async (engine: RunningEngine | undefined): Promise<void> => {
    if (!engine) return
    await stopProcess(engine)
    await killOrphans(engine)
    await rm(engine.leasePath, { force: true })
    running = undefined
    deps.changed()
  }

  const live = async (): Promise<void> => {
    let failures = 0
    // Without weights there is nothing to start: waiting a little does not help, so the replica has failed at once.
    let hadWeights = false
    while (!ending.signal.aborted) {
      let startedMs = deps.clock.monotonicMs()
      let reason: string
      try {
        hadWeights = running !== undefined
        running ??= await launch()
        hadWeights = true
        startedMs = deps.clock.monotonicMs()
        deps.changed()
        if (running !== adopted || !servesAlready) show({ state: 'starting' })
        reason = await serve(running)
      } catch (error) {
        if (ending.signal.aborted) break
        reason = reasonOf(error)
      }
      // What is not ready serves nobody: the address goes first, then the process.
      const lived = deps.clock.monotonicMs() - startedMs > steadyAfterMs && status.state === 'ready'
      failures = lived ? 1 : Math.max(failures + 1, hadWeights ? 0 : quickFailuresMax)
      show({
        state: hasFailed(failures) ? 'failed' : 'starting',
        baseUrl: null,
        detail: bounded(reason),
      })
      deps.log.warn({ modelId, failures, reason }, 'engine is not running')
      await end(running)
      await sleep(restartDelayMs(failures), undefined, { signal: ending.signal }).catch(() => {
        // Woken to end; the loop's condition sees it.
      })
    }
    if (released) return
    show({ state: 'stopped', baseUrl: null })
    await end(running)
  }

  const life = live().catch((error: unknown) => {
    deps.log.error({ modelId, error }, 'a runner ended with a bug')
    show({ state: 'failed', baseUrl: null, detail: 'internal error of the agent; see its log' })
  })
  return {
    modelId,
    fingerprint: fingerprint(deployment),
    status: () => status,
    running: () => running,
    async stop() {
      ending.abort()
      await life
    },
    release() {
      released = true
      ending.abort()
    },
  }
}

async function probe(engine: RunningEngine, deps: RunnerDeps): Promise<boolean> {
  const connection = deps.adapter.connect({ baseUrl: engine.baseUrl })
  try {
    return await answersFor(connection, engine.modelId, AbortSignal.timeout(healthTimeoutMs))
  } finally {
    await connection.close()
  }
}

/** An engine that answers for another model is not ours, whatever its address. */
async function answersFor(engine: Engine, modelId: string, signal: AbortSignal): Promise<boolean> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(healthTimeoutMs)])
  try {
    await engine.checkHealth(limit)
    return (await engine.listModels(limit)).includes(modelId)
  } catch {
    // Not yet, or no more: the caller counts.
    return false
  }
}

interface LaunchPlan {
  readonly modelId: string
  readonly contextWindowTokens: number | undefined
  readonly threads: number
  readonly parallel: number
  readonly embeddings: boolean
}

function planLaunch(
  deployment: Deployment,
  facts: GgufFacts | undefined,
  deps: RunnerDeps,
): LaunchPlan {
  const { settings } = deployment
  const embeddings = deployment.embeddings || facts?.embeddings === true
  const sizing = sizeEngine({
    wantedTokens: positive(settings['contextWindowTokens']) ?? deps.contextWindowTokensMax,
    trainedTokens: facts?.contextWindowTokens ?? deployment.contextWindowTokens ?? undefined,
    // Embedding keeps nothing from one text to the next.
    cacheBytesPerToken: embeddings ? undefined : facts?.cacheBytesPerToken,
    cacheBytes: deps.cacheBytes(),
    parallelMax: positive(settings['parallel']) ?? deps.parallel,
  })
  return {
    ...sizing,
    modelId: deployment.modelId,
    threads: positive(settings['threads']) ?? deps.threads(),
    embeddings,
  }
}

function positive(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 ? value : undefined
}

/** The weights are verified, so a file that is no GGUF was none at its source. */
async function readFacts(path: string): Promise<GgufFacts | undefined> {
  const facts = await readGgufFacts(path)
  if (facts) return facts
  throw new Fault({
    code: 'client.unsupported_value',
    public: 'The weights are not a GGUF file. Choose a source with a .gguf file.',
  })
}

async function freePort(host: string): Promise<number> {
  const server = createServer()
  return await new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, host, () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

/** Model ids hold slashes and colons; file names do not. */
function logPathOf(deps: RunnerDeps, modelId: string): string {
  return join(deps.logDirectory, `${modelId.replaceAll(/[^A-Za-z0-9._-]/g, '_')}.log`)
}

function startFailed(what: string, deps: RunnerDeps, modelId: string): Fault {
  return new Fault({
    code: 'upstream.failed',
    public: `${what}; its log is ${logPathOf(deps, modelId)}`,
  })
}

function reasonOf(error: unknown): string {
  if (error instanceof Fault) return error.public
  return error instanceof Error ? error.message : 'unknown failure'
}

function bounded(text: string): string {
  return text.length > detailLengthMax ? `${text.slice(0, detailLengthMax - 1)}…` : text
}
