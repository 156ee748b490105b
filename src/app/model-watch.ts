/** Follows the models that this machine shall run, from the first byte of a pull until the engine answers. */
import { setTimeout as sleep } from 'node:timers/promises'
import { listAliases, listModels } from '../catalog/catalog.ts'
import { listDeployedModels, listReplicas, type Replica } from '../fleet/fleet.ts'
import type { Clock } from '../platform/clock.ts'
import { createHttpClient } from '../platform/http/client.ts'
import { platformScope, type Database } from '../platform/postgres/database.ts'

export interface ModelProgress {
  readonly model: string
  readonly state: Replica['state']
  /** 0..1, or `undefined` while it is not known. */
  readonly fraction: number | undefined
  readonly detail: string | undefined
}

const pollMs = 250
const probeTimeoutMs = 1_000
const replicasMax = 1_000

/**
 * Resolves with the chat model that answers, the one called `default` if it is among them; with `undefined` once each deployed chat model has failed, or
 * when there is none. Tells every change on the way. Goes on while the database is away.
 */
export async function waitForChatModel(options: {
  readonly database: Database
  readonly clock: Clock
  readonly onProgress: (progress: ModelProgress) => void
  readonly signal: AbortSignal
}): Promise<string | undefined> {
  const { database, clock, onProgress, signal } = options
  const told = new Map<string, string>()
  while (!signal.aborted) {
    const found = await look(database, clock).catch(() => undefined)
    for (const replica of found?.replicas ?? []) tellChange(replica, told, onProgress)
    if (found) {
      const answering = await filterAnswering(found.replicas)
      if (answering.length > 0) {
        return answering.find((model) => model === found.preferred) ?? answering[0]
      }
      const failed = found.replicas.filter(({ state }) => state === 'failed')
      if (found.deployed.every((model) => failed.some(({ modelId }) => modelId === model)))
        return undefined
    }
    await sleep(pollMs, undefined, { signal }).catch(() => {
      // Stopped while waiting.
    })
  }
  return undefined
}

/** Where engines are that this platform uses already. */
export async function listEngineAddresses(
  database: Database,
  clock: Clock,
): Promise<readonly (string | null)[]> {
  return database.transaction(platformScope, async (tx) => {
    const replicas = await listReplicas(tx, { limit: replicasMax }, clock.nowMs())
    return replicas.map(({ baseUrl }) => baseUrl)
  })
}

interface Found {
  readonly preferred: string | undefined
  readonly deployed: readonly string[]
  readonly replicas: readonly Replica[]
}

async function look(database: Database, clock: Clock): Promise<Found> {
  return database.transaction(platformScope, async (tx) => {
    const chat = await listModels(tx, { enabled: true, category: 'chat', limit: replicasMax })
    const known = await listDeployedModels(tx)
    const deployed = known.filter((model) => chat.some(({ id }) => id === model))
    const aliases = await listAliases(tx)
    const replicas = await listReplicas(
      tx,
      { modelIds: deployed, limit: replicasMax },
      clock.nowMs(),
    )
    return {
      preferred: aliases.find(({ alias }) => alias === 'default')?.modelId,
      deployed,
      replicas: replicas.filter(({ nodeName }) => nodeName !== null),
    }
  })
}

function tellChange(
  replica: Replica,
  told: Map<string, string>,
  onProgress: (progress: ModelProgress) => void,
): void {
  const { modelId: model, state, detail, progress } = replica
  const line = `${state} ${progress} ${detail}`
  if (told.get(model) === line) return
  told.set(model, line)
  onProgress({ model, state, fraction: progress ?? undefined, detail: detail ?? undefined })
}

/** A row may say `ready` from before a crash; the engine itself knows. */
async function filterAnswering(replicas: readonly Replica[]): Promise<readonly string[]> {
  const ready = replicas.filter(({ state, baseUrl }) => state === 'ready' && baseUrl !== null)
  const answers = await Promise.all(ready.map(({ baseUrl }) => isHealthy(baseUrl ?? '')))
  return ready.filter((_, index) => answers[index]).map(({ modelId }) => modelId)
}

async function isHealthy(baseUrl: string): Promise<boolean> {
  const client = createHttpClient(new URL(baseUrl).origin)
  try {
    const { status } = await client.open({
      method: 'GET',
      path: '/health',
      headers: {},
      signal: AbortSignal.timeout(probeTimeoutMs),
      firstByteTimeoutMs: probeTimeoutMs,
      idleTimeoutMs: probeTimeoutMs,
    })
    return status === 200
  } catch {
    return false
  } finally {
    await client.close()
  }
}
