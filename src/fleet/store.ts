/** SQL of the fleet. */
import { sql } from 'kysely'
import type { Sql } from '../platform/postgres/database.ts'
import type { NodeLoad } from './placement.ts'
import type {
  DesiredReplica,
  ExternalEngine,
  Replica,
  ReplicaFilter,
  ReplicaRecord,
  ReplicaReport,
  ReplicaState,
} from './replica.ts'

export async function selectReady(tx: Sql<unknown>): Promise<ReplicaRecord[]> {
  const result = await sql<
    Omit<ReplicaRecord, 'sealedKey' | 'location'> & {
      sealedKey: Buffer | null
      location: string | null
      settings: Readonly<Record<string, string>>
    }
  >`
    SELECT id, model_id AS "modelId", engine_kind AS "engineKind", base_url AS "baseUrl", engine_model AS "engineModel",
      sealed_key AS "sealedKey", CASE WHEN node_id IS NULL THEN location ELSE 'local' END AS location, settings
    FROM replicas WHERE state = 'ready' AND base_url IS NOT NULL ORDER BY id`.execute(tx)
  return result.rows.map(({ settings, ...row }) => ({
    ...row,
    sealedKey: row.sealedKey?.toString('base64'),
    location: row.location ?? undefined,
    ...(Object.keys(settings).length > 0 && { settings }),
  }))
}

/** The attempt is part of the settings, so that an agent starts afresh when it changes; only a failure changes it. */
export async function upsertDeployment(
  tx: Sql<unknown>,
  modelId: string,
  settings: Readonly<Record<string, unknown>>,
): Promise<void> {
  await sql`
    INSERT INTO deployments (model_id, settings) VALUES (${modelId}, ${JSON.stringify(settings)}::jsonb || '{"attempt": 1}')
    ON CONFLICT (model_id) DO UPDATE SET settings = excluded.settings || jsonb_build_object('attempt',
      (deployments.settings->>'attempt')::int + (SELECT count(*) FROM replicas
        WHERE replicas.model_id = deployments.model_id AND node_id IS NOT NULL AND state = 'failed')::int)`.execute(
    tx,
  )
}

export async function deleteDeployment(tx: Sql<unknown>, modelId: string): Promise<void> {
  await sql`DELETE FROM deployments WHERE model_id = ${modelId}`.execute(tx)
}

export async function selectDeployedModels(tx: Sql<unknown>): Promise<string[]> {
  const result = await sql<{ modelId: string }>`
    SELECT model_id AS "modelId" FROM deployments ORDER BY created_at, model_id`.execute(tx)
  return result.rows.map((row) => row.modelId)
}

/** Returns the id of the node of that name: the one given, if the name is new. */
export async function upsertNode(
  tx: Sql<unknown>,
  node: {
    readonly id: string
    readonly name: string
    readonly hardware: Readonly<Record<string, unknown>>
    readonly heartbeatAtMs: number
  },
): Promise<string> {
  const result = await sql<{ id: string }>`
    INSERT INTO nodes (id, name, hardware, heartbeat_at)
    VALUES (${node.id}, ${node.name}, ${JSON.stringify(node.hardware)}::jsonb, ${new Date(node.heartbeatAtMs)})
    ON CONFLICT (name) DO UPDATE SET hardware = excluded.hardware, heartbeat_at = excluded.heartbeat_at
    RETURNING id`.execute(tx)
  return result.rows[0]?.id ?? node.id
}

export async function selectNodeId(
  tx: Sql<unknown>,
  nodeName: string,
): Promise<string | undefined> {
  const result = await sql<{ id: string }>`SELECT id FROM nodes WHERE name = ${nodeName}`.execute(
    tx,
  )
  return result.rows[0]?.id
}

export async function selectNodeReplicas(
  tx: Sql<unknown>,
  nodeId: string,
): Promise<(ReplicaReport & { readonly id: string })[]> {
  const result = await sql<ReplicaReport & { id: string }>`
    SELECT id, model_id AS "modelId", state, engine_kind AS "engineKind", engine_model AS "engineModel", base_url AS "baseUrl",
      detail, progress
    FROM replicas WHERE node_id = ${nodeId} ORDER BY id`.execute(tx)
  return result.rows
}

export async function insertNodeReplica(
  tx: Sql<unknown>,
  id: string,
  nodeId: string,
  report: ReplicaReport,
): Promise<void> {
  await sql`
    INSERT INTO replicas (id, model_id, node_id, engine_kind, base_url, engine_model, state, detail, progress)
    VALUES (${id}, ${report.modelId}, ${nodeId}, ${report.engineKind}, ${report.baseUrl}, ${report.engineModel}, ${report.state},
      ${report.detail}, ${report.progress})`.execute(tx)
}

export async function updateReplica(
  tx: Sql<unknown>,
  replicaId: string,
  report: ReplicaReport,
): Promise<void> {
  await sql`
    UPDATE replicas SET engine_kind = ${report.engineKind}, base_url = ${report.baseUrl}, engine_model = ${report.engineModel},
      state = ${report.state}, detail = ${report.detail}, progress = ${report.progress}, updated_at = now()
    WHERE id = ${replicaId}`.execute(tx)
}

export async function deleteReplica(tx: Sql<unknown>, replicaId: string): Promise<void> {
  await sql`DELETE FROM replicas WHERE id = ${replicaId}`.execute(tx)
}

export async function selectUnplacedModels(tx: Sql<unknown>): Promise<string[]> {
  const result = await sql<{ modelId: string }>`
    SELECT model_id AS "modelId" FROM deployments
    WHERE NOT EXISTS (SELECT FROM replicas WHERE replicas.model_id = deployments.model_id AND replicas.node_id IS NOT NULL)
    ORDER BY created_at, model_id`.execute(tx)
  return result.rows.map((row) => row.modelId)
}

export async function selectNodeLoads(
  tx: Sql<unknown>,
): Promise<(NodeLoad & { readonly heartbeatAtMs: number | undefined })[]> {
  const result = await sql<{ nodeId: string; heartbeatAt: Date | null; replicas: number }>`
    SELECT nodes.id AS "nodeId", nodes.heartbeat_at AS "heartbeatAt", count(replicas.id)::int AS replicas
    FROM nodes LEFT JOIN replicas ON replicas.node_id = nodes.id
    GROUP BY nodes.id ORDER BY nodes.created_at, nodes.id`.execute(tx)
  return result.rows.map((row) => ({
    nodeId: row.nodeId,
    replicas: row.replicas,
    heartbeatAtMs: row.heartbeatAt?.getTime(),
  }))
}

export async function selectDesired(tx: Sql<unknown>, nodeId: string): Promise<DesiredReplica[]> {
  const result = await sql<DesiredReplica>`
    SELECT deployments.model_id AS "modelId", deployments.settings
    FROM deployments JOIN replicas ON replicas.model_id = deployments.model_id AND replicas.node_id = ${nodeId}
    ORDER BY deployments.created_at, deployments.model_id`.execute(tx)
  return result.rows
}

type ReplicaRow = Omit<Replica, 'stale'> & { readonly heartbeatAtMs: number | undefined }

export async function selectReplicas(
  tx: Sql<unknown>,
  filter: ReplicaFilter,
): Promise<ReplicaRow[]> {
  const modelIds = filter.modelIds ? [...filter.modelIds] : null
  const result = await sql<{
    id: string
    modelId: string
    nodeName: string | null
    engineKind: string
    engineModel: string
    baseUrl: string | null
    location: string | null
    operator: string
    settings: Readonly<Record<string, string>>
    state: ReplicaState
    detail: string | null
    progress: number | null
    updatedAt: Date
    heartbeatAt: Date | null
  }>`
    SELECT replicas.id, model_id AS "modelId", nodes.name AS "nodeName", engine_kind AS "engineKind", engine_model AS "engineModel",
      base_url AS "baseUrl", CASE WHEN node_id IS NULL THEN location ELSE 'local' END AS location, operator, replicas.settings,
      state, detail, progress, updated_at AS "updatedAt", nodes.heartbeat_at AS "heartbeatAt"
    FROM replicas LEFT JOIN nodes ON nodes.id = replicas.node_id
    WHERE (${modelIds}::text[] IS NULL OR model_id = ANY(${modelIds}::text[]))
      AND (${filter.after ?? null}::text IS NULL OR replicas.id COLLATE "C" > ${filter.after ?? null}::text)
    ORDER BY replicas.id COLLATE "C" LIMIT ${filter.limit}`.execute(tx)
  return result.rows.map(({ updatedAt, heartbeatAt, ...row }) => ({
    ...row,
    updatedAtMs: updatedAt.getTime(),
    heartbeatAtMs: heartbeatAt?.getTime(),
  }))
}

export async function selectExternalReplicaId(
  tx: Sql<unknown>,
  modelId: string,
  baseUrl: string,
): Promise<string | undefined> {
  const result = await sql<{ id: string }>`
    SELECT id FROM replicas WHERE model_id = ${modelId} AND node_id IS NULL AND base_url = ${baseUrl}`.execute(
    tx,
  )
  return result.rows[0]?.id
}

export async function upsertExternalReplica(
  tx: Sql<unknown>,
  replica: Omit<ExternalEngine, 'sealKey'> & {
    readonly id: string
    readonly sealedKey: Buffer | null
  },
): Promise<void> {
  await sql`
    INSERT INTO replicas (id, model_id, engine_kind, base_url, engine_model, sealed_key, state, location, operator, settings)
    VALUES (${replica.id}, ${replica.modelId}, ${replica.engineKind}, ${replica.baseUrl}, ${replica.engineModel},
      ${replica.sealedKey}, 'ready', ${replica.location ?? null}, ${replica.operator ?? 'own'},
      ${JSON.stringify(replica.settings ?? {})}::jsonb)
    ON CONFLICT (id) DO UPDATE SET engine_kind = excluded.engine_kind, engine_model = excluded.engine_model,
      sealed_key = excluded.sealed_key, location = excluded.location, operator = excluded.operator, settings = excluded.settings,
      state = 'ready', detail = NULL, updated_at = now()`.execute(tx)
}

export async function selectReplicaOwner(
  tx: Sql<unknown>,
  replicaId: string,
): Promise<{ readonly modelId: string; readonly nodeId: string | null } | undefined> {
  const result = await sql<{ modelId: string; nodeId: string | null }>`
    SELECT model_id AS "modelId", node_id AS "nodeId" FROM replicas WHERE id = ${replicaId}`.execute(
    tx,
  )
  return result.rows[0]
}
