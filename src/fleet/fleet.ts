/** The fleet's front door: what shall run, what runs, and what a gateway may send work to. */
import { Fault } from '../platform/fault.ts'
import { newId } from '../platform/ids.ts'
import type { Sql } from '../platform/postgres/database.ts'
import { placeModels } from './placement.ts'
import {
  coarseProgress,
  isStale,
  placeOf,
  type DesiredReplica,
  type ExternalEngine,
  type Replica,
  type ReplicaFilter,
  type ReplicaRecord,
  type ReplicaReport,
} from './replica.ts'
import * as store from './store.ts'

export type {
  DesiredReplica,
  ExternalEngine,
  Replica,
  ReplicaFilter,
  ReplicaRecord,
  ReplicaReport,
  ReplicaState,
} from './replica.ts'
export { placeOf, replicaStates } from './replica.ts'

/** What an engine's key is sealed for, so that it opens for this replica alone. */
export function engineKeyContext(replicaId: string): string {
  return `replicas|sealed_key|${replicaId}`
}

/** Ready replicas. One whose node went silent stays: a dead agent must not stop streams. */
export async function loadReplicaRecords(tx: Sql<unknown>): Promise<ReplicaRecord[]> {
  return await store.selectReady(tx)
}

/** Wants a model to run on a node of ours; a node takes it with its next report. One that has failed is tried anew, at once. */
export async function deployModel(
  tx: Sql<unknown>,
  modelId: string,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await store.upsertDeployment(tx, modelId, settings)
}

/** Wants a model to run nowhere; its node stops it, and its weights stay on disk. */
export async function withdrawModel(tx: Sql<unknown>, modelId: string): Promise<void> {
  await store.deleteDeployment(tx, modelId)
}

export interface NodeReport {
  readonly nodeName: string
  readonly hardware: Readonly<Record<string, unknown>>
  readonly replicas: readonly ReplicaReport[]
}

/**
 * Takes over what a node says about itself, and gives it its share of the models that nobody runs. Writes only what changed.
 * Returns the node's id.
 */
export async function applyReport(
  tx: Sql<unknown>,
  report: NodeReport,
  nowMs: number,
): Promise<string> {
  const nodeId = await store.upsertNode(tx, {
    id: newId('node'),
    name: report.nodeName,
    hardware: report.hardware,
    heartbeatAtMs: nowMs,
  })
  const deployed = await store.selectDeployedModels(tx)
  const known = await store.selectNodeReplicas(tx, nodeId)
  for (const replica of report.replicas) {
    // A model that is gone from the catalogue, or wanted no more, is on its way out: its last words are not kept.
    if (!deployed.includes(replica.modelId)) continue
    const next = { ...replica, progress: coarseProgress(replica.progress) }
    const before = known.find((entry) => entry.modelId === replica.modelId)
    if (!before) await store.insertNodeReplica(tx, newId('rep'), nodeId, next)
    else if (!sameReport(before, next)) await store.updateReplica(tx, before.id, next)
  }
  for (const entry of known) {
    if (!deployed.includes(entry.modelId)) await store.deleteReplica(tx, entry.id)
  }
  await placeUnplaced(tx, nowMs)
  return nodeId
}

function sameReport(before: ReplicaReport, next: ReplicaReport): boolean {
  return (
    before.state === next.state &&
    before.engineKind === next.engineKind &&
    before.engineModel === next.engineModel &&
    before.baseUrl === next.baseUrl &&
    before.detail === next.detail &&
    coarseProgress(before.progress) === next.progress
  )
}

/** A pending replica is the mark that a node was given the model. */
async function placeUnplaced(tx: Sql<unknown>, nowMs: number): Promise<void> {
  const unplaced = await store.selectUnplacedModels(tx)
  if (unplaced.length === 0) return
  const nodes = await store.selectNodeLoads(tx)
  const alive = nodes.filter((node) => !isStale(node.heartbeatAtMs, nowMs))
  for (const [modelId, nodeId] of placeModels(unplaced, alive)) {
    await store.insertNodeReplica(tx, newId('rep'), nodeId, {
      modelId,
      state: 'pending',
      engineKind: 'unknown',
      engineModel: modelId,
      baseUrl: null,
      detail: 'waiting for the agent',
      progress: null,
    })
  }
}

/** What a node shall run; `undefined` for a node that has never reported. */
export async function desiredReplicas(
  tx: Sql<unknown>,
  nodeName: string,
): Promise<{ readonly nodeId: string; readonly replicas: readonly DesiredReplica[] } | undefined> {
  const nodeId = await store.selectNodeId(tx, nodeName)
  if (nodeId === undefined) return undefined
  return { nodeId, replicas: await store.selectDesired(tx, nodeId) }
}

export async function listReplicas(
  tx: Sql<unknown>,
  filter: ReplicaFilter,
  nowMs: number,
): Promise<Replica[]> {
  const rows = await store.selectReplicas(tx, filter)
  return rows.map(({ heartbeatAtMs, ...replica }) => ({
    ...replica,
    stale: replica.nodeName !== null && isStale(heartbeatAtMs, nowMs),
  }))
}

export async function listDeployedModels(tx: Sql<unknown>): Promise<readonly string[]> {
  return await store.selectDeployedModels(tx)
}

/** Adds an engine that somebody else runs, ready for work. Adding it again renews its key, its place and its settings. Returns the replica's id. */
export async function addExternalEngine(tx: Sql<unknown>, engine: ExternalEngine): Promise<string> {
  const known = await store.selectExternalReplicaId(tx, engine.modelId, engine.baseUrl)
  const id = known ?? newId('rep')
  const sealedKey = engine.sealKey?.(engineKeyContext(id)) ?? null
  await store.upsertExternalReplica(tx, {
    ...engine,
    id,
    sealedKey,
    location: engine.location ?? placeOf(engine.baseUrl),
  })
  return id
}

/** Forgets an engine that somebody else runs. One of our own is stopped by taking its model out of service. */
export async function removeExternalEngine(
  tx: Sql<unknown>,
  replicaId: string,
): Promise<{ readonly modelId: string }> {
  const replica = await store.selectReplicaOwner(tx, replicaId)
  if (!replica) {
    throw new Fault({
      code: 'client.not_found',
      public: 'No engine has that id. See the list with GET /api/v1/engines.',
      param: 'replicaId',
    })
  }
  if (replica.nodeId !== null) {
    throw new Fault({
      code: 'client.conflict',
      public: `This engine is run by one of our nodes. Disable or remove its model instead: ${replica.modelId}.`,
      param: 'replicaId',
    })
  }
  await store.deleteReplica(tx, replicaId)
  return { modelId: replica.modelId }
}
