/** Reports, placement and external engines on real PostgreSQL. */
import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import {
  openDatabase,
  platformScope,
  type Database,
  type Sql,
} from '../platform/postgres/database.ts'
import {
  addExternalEngine,
  applyReport,
  deployModel,
  desiredReplicas,
  listReplicas,
  loadReplicaRecords,
  removeExternalEngine,
  withdrawModel,
  type ReplicaReport,
} from './fleet.ts'

let created: TestDatabase
let database: Database
beforeAll(async () => {
  created = await (await postgresForTests()).createDatabase()
  database = openDatabase({
    url: created.appUrl,
    connectionsMax: 2,
    statementTimeoutMs: 10_000,
    applicationName: 'test',
    onError: () => {},
  })
})
afterAll(async () => {
  await database?.close()
  await created?.close()
})
beforeEach(async () => {
  await run(async (tx) => {
    for (const table of ['replicas', 'deployments', 'nodes', 'models']) {
      await sql`DELETE FROM ${sql.table(table)}`.execute(tx)
    }
    await sql`INSERT INTO models (id, category) VALUES ('a', 'chat'), ('b', 'chat')`.execute(tx)
  })
})

function run<Result>(work: (tx: Sql<unknown>) => Promise<Result>): Promise<Result> {
  return database.transaction(platformScope, work)
}

const nowMs = 1_800_000_000_000

function replica(modelId: string, change: Partial<ReplicaReport> = {}): ReplicaReport {
  return {
    modelId,
    state: 'ready',
    engineKind: 'llama-cpp',
    engineModel: modelId,
    baseUrl: 'http://127.0.0.1:5000',
    detail: null,
    progress: null,
    ...change,
  }
}

function report(nodeName: string, replicas: readonly ReplicaReport[] = [], atMs = nowMs) {
  return run((tx) => applyReport(tx, { nodeName, hardware: { cores: 2 }, replicas }, atMs))
}

async function wanted(nodeName: string): Promise<string[] | undefined> {
  const desired = await run((tx) => desiredReplicas(tx, nodeName))
  return desired?.replicas.map((entry) => entry.modelId)
}

async function snapshotVersion(): Promise<string> {
  return await run(async (tx) => {
    const result = await sql<{
      value: bigint
    }>`SELECT version AS value FROM snapshot_state`.execute(tx)
    return String(result.rows[0]?.value)
  })
}

test('a deployed model goes to a node with its next report, and to gateways once it is ready', async () => {
  expect(await wanted('one')).toBeUndefined()
  await run((tx) => deployModel(tx, 'a', { parallel: 2 }))
  const nodeId = await report('one')
  expect(nodeId).toMatch(/^node_/)
  expect(await run((tx) => desiredReplicas(tx, 'one'))).toEqual({
    nodeId,
    replicas: [{ modelId: 'a', settings: { parallel: 2, attempt: 1 } }],
  })
  await report('one', [
    replica('a', { state: 'pulling', baseUrl: null, progress: 0.5, detail: 'x' }),
  ])
  expect(await run(loadReplicaRecords)).toEqual([])
  await report('one', [replica('a')])
  expect(await run(loadReplicaRecords)).toMatchObject([
    {
      modelId: 'a',
      engineKind: 'llama-cpp',
      baseUrl: 'http://127.0.0.1:5000',
      sealedKey: undefined,
    },
  ])
})

test('deploying again starts a new attempt after a failure, and disturbs nothing that runs', async () => {
  const attempt = async () => {
    const desired = await run((tx) => desiredReplicas(tx, 'one'))
    return desired?.replicas[0]?.settings['attempt']
  }
  await run((tx) => deployModel(tx, 'a'))
  await report('one')
  await report('one', [replica('a')])
  await run((tx) => deployModel(tx, 'a'))
  expect(await attempt()).toBe(1)
  await report('one', [replica('a', { state: 'failed', baseUrl: null })])
  await run((tx) => deployModel(tx, 'a'))
  expect(await attempt()).toBe(2)
})

test('models spread over the nodes that report, and stay where they are', async () => {
  await report('one')
  await report('two')
  await report('dead', [], nowMs - 60_000)
  await run(async (tx) => {
    await deployModel(tx, 'a')
    await deployModel(tx, 'b')
  })
  await report('one')
  const first = [await wanted('one'), await wanted('two'), await wanted('dead')]
  expect(new Set(first.flat())).toEqual(new Set(['a', 'b']))
  expect(first[2]).toEqual([])
  expect(first[0]).toHaveLength(1)
  await report('two')
  expect([await wanted('one'), await wanted('two'), await wanted('dead')]).toEqual(first)
})

test('a silent node is shown as stale, and its replicas stay in service', async () => {
  await run((tx) => deployModel(tx, 'a'))
  await report('one')
  await report('one', [replica('a')])
  const seen = async (atMs: number) => {
    const [entry] = await run((tx) => listReplicas(tx, { limit: 10 }, atMs))
    return entry
  }
  expect(await seen(nowMs + 30_000)).toMatchObject({ stale: false, nodeName: 'one' })
  expect(await seen(nowMs + 30_001)).toMatchObject({ stale: true, state: 'ready' })
  expect(await run(loadReplicaRecords)).toHaveLength(1)
})

test('a withdrawn model leaves the gateways with the next report, whatever that says', async () => {
  await run((tx) => deployModel(tx, 'a'))
  await report('one')
  await report('one', [replica('a')])
  await run((tx) => withdrawModel(tx, 'a'))
  await report('one', [replica('a')])
  expect(await run(loadReplicaRecords)).toEqual([])
  expect(await wanted('one')).toEqual([])
})

test('reports that say nothing new, and the progress of a pull, leave the snapshot alone', async () => {
  await run((tx) => deployModel(tx, 'a'))
  await report('one')
  const pulling = { state: 'pulling', baseUrl: null, progress: 0.501 } as const
  await report('one', [replica('a', pulling)])
  const before = await snapshotVersion()
  await report('one', [replica('a', pulling)])
  await report('one', [replica('a', { ...pulling, progress: 0.529 })])
  expect(await snapshotVersion()).toBe(before)
  const [shown] = await run((tx) => listReplicas(tx, { limit: 10 }, nowMs))
  expect(shown?.progress).toBe(0.52)
  await report('one', [replica('a')])
  expect(await snapshotVersion()).not.toBe(before)
})

test('a report for a model that is gone is no error', async () => {
  await report('one', [replica('nobody')])
  expect(await run((tx) => listReplicas(tx, { limit: 10 }, nowMs))).toEqual([])
})

test('an external engine serves at once; adding it again renews its key under the same id', async () => {
  const contexts: string[] = []
  const add = (key: string) =>
    run((tx) =>
      addExternalEngine(tx, {
        modelId: 'a',
        engineKind: 'openai-compatible',
        baseUrl: 'http://127.0.0.1:9000',
        engineModel: 'A',
        sealKey: (context) => {
          contexts.push(context)
          return Buffer.from(key)
        },
      }),
    )
  const id = await add('one')
  expect(await add('two')).toBe(id)
  expect(contexts).toEqual([`replicas|sealed_key|${id}`, `replicas|sealed_key|${id}`])
  expect(await run(loadReplicaRecords)).toEqual([
    {
      id,
      modelId: 'a',
      engineKind: 'openai-compatible',
      baseUrl: 'http://127.0.0.1:9000',
      engineModel: 'A',
      sealedKey: Buffer.from('two').toString('base64'),
      location: 'local',
    },
  ])
  expect(await run((tx) => removeExternalEngine(tx, id))).toEqual({ modelId: 'a' })
  const again = run((tx) => removeExternalEngine(tx, id))
  await expect(again).rejects.toMatchObject({ code: 'client.not_found' })
})

test('the place of an engine behind TLS is unknown until somebody says it; one on a node of ours is at home', async () => {
  const add = (change: Partial<Parameters<typeof addExternalEngine>[1]>): Promise<string> =>
    run((tx) =>
      addExternalEngine(tx, {
        modelId: 'a',
        engineKind: 'openai',
        baseUrl: 'https://engine.example',
        engineModel: 'A',
        sealKey: undefined,
        ...change,
      }),
    )
  const id = await add({})
  const place = async (): Promise<unknown> =>
    (await run(loadReplicaRecords)).find((record) => record.id === id)
  expect(await place()).toMatchObject({ location: undefined })
  expect(await add({ location: 'FR', operator: 'openai', settings: { project: 'p' } })).toBe(id)
  expect(await place()).toMatchObject({ location: 'FR', settings: { project: 'p' } })
  const [shown] = await run((tx) => listReplicas(tx, { limit: 10 }, nowMs))
  expect(shown).toMatchObject({ location: 'FR', operator: 'openai', settings: { project: 'p' } })
  await run((tx) => removeExternalEngine(tx, id))

  await run((tx) => deployModel(tx, 'a'))
  await report('one')
  const [own] = await run((tx) => listReplicas(tx, { limit: 10 }, nowMs))
  expect(own).toMatchObject({ location: 'local', operator: 'own' })
})

test('an engine of our own cannot be removed by hand', async () => {
  await run((tx) => deployModel(tx, 'a'))
  await report('one')
  const [entry] = await run((tx) => listReplicas(tx, { limit: 10 }, nowMs))
  const removing = run((tx) => removeExternalEngine(tx, entry?.id ?? ''))
  await expect(removing).rejects.toMatchObject({ code: 'client.conflict' })
})
