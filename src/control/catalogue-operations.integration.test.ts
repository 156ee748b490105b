/** Models, prices, engines and agents through their operations, on real PostgreSQL, with a real server as engine. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import { importShippedCatalogue, loadCatalogRecords } from '../catalog/catalog.ts'
import { createCatalogue } from '../catalog/catalogue.ts'
import { detectKind } from '../engines/detect.ts'
import { findAdapter } from '../engines/registry.ts'
import { engineKeyContext, loadReplicaRecords } from '../fleet/fleet.ts'
import { systemClock } from '../platform/clock.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'
import { createSeal } from '../platform/seal.ts'
import { getDesiredState } from './endpoints/agent/desired.ts'
import { postAgentReport } from './endpoints/agent/report.ts'
import { createEngine } from './endpoints/engines/create.ts'
import { listEngines } from './endpoints/engines/list.ts'
import { createModel } from './endpoints/models/create.ts'
import { disableModelOperation } from './endpoints/models/disable.ts'
import { enableModelOperation } from './endpoints/models/enable.ts'
import { getModelOperation } from './endpoints/models/get.ts'
import { listModelsOperation } from './endpoints/models/list.ts'
import { setPriceOperation } from './endpoints/prices/set.ts'
import { parseEngineUrl } from './engine-target.ts'
import type { Operation } from './operation.ts'

const key = 'engine-key'
const seal = createSeal(Buffer.alloc(32, 7))
const engine = createServer((request, response) => {
  const allowed = request.headers.authorization === `Bearer ${key}`
  response.setHeader('content-type', 'application/json')
  response.statusCode = allowed ? 200 : 401
  const data = ['org/chat-model', 'nomic-embed-text'].map((id) => ({ id, object: 'model' }))
  response.end(JSON.stringify(allowed ? { object: 'list', data } : { error: {} }))
})
let created: TestDatabase
let database: Database
let url = ''
beforeAll(async () => {
  created = await (await postgresForTests()).createDatabase()
  database = openDatabase({
    url: created.appUrl,
    connectionsMax: 2,
    statementTimeoutMs: 10_000,
    applicationName: 'test',
    onError: () => {},
  })
  await database.transaction(platformScope, (tx) => importShippedCatalogue(tx, []))
  await new Promise<void>((resolve) => engine.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(engine.address() as AddressInfo).port}`
})
afterAll(async () => {
  engine.closeAllConnections()
  engine.close()
  await database?.close()
  await created?.close()
})

/** As the runner does: parse what comes in, handle in a transaction, and let through what the result's schema names. */
async function call(
  operation: Operation,
  input: { readonly params?: unknown; readonly query?: unknown; readonly body?: unknown } = {},
): Promise<Answer> {
  const parsed = {
    params: operation.params?.parse(input.params ?? {}),
    query: operation.query?.parse(input.query ?? {}),
    body: operation.body?.parse(input.body ?? {}),
  }
  const result = await database.transaction(platformScope, (tx) =>
    operation.handle(parsed, {
      tx,
      actor: { tokenId: 'tok_1', role: 'operator', tenantId: undefined, ip: '127.0.0.1' },
      deps: { clock: systemClock, seal, findAdapter, detectKind },
      afterCommit: () => {},
    }),
  )
  // The schema of each operation has checked what is there.
  return operation.result.parse(result) as Answer
}

/** What the tests read of the answers. */
interface Answer {
  readonly data: readonly { readonly id: string; readonly modelId: string }[]
  readonly hasMore: boolean
  readonly nodeId: string
  readonly prices: unknown
}

test('a connected server offers its models at once, with prices, and its key stays sealed', async () => {
  const { data } = await call(createEngine, { body: { url: `${url}/v1/`, key } })
  expect(data.map((entry) => entry.modelId)).toEqual(['org/chat-model', 'nomic-embed-text'])
  const [records, replicas] = await database.transaction(platformScope, async (tx) => [
    await loadCatalogRecords(tx),
    await loadReplicaRecords(tx),
  ])
  const catalogue = createCatalogue(records)
  expect(catalogue.resolve('nomic-embed-text')?.category).toBe('embedding')
  expect(catalogue.priceOf('standard', 'org/chat-model', Date.now())?.outputNanos).toBe(4_000n)
  const replica = replicas.find((entry) => entry.modelId === 'org/chat-model')
  expect(replica).toMatchObject({ baseUrl: url, engineModel: 'org/chat-model' })
  const sealed = Buffer.from(replica?.sealedKey ?? '', 'base64')
  expect(sealed.includes(key)).toBe(false)
  expect(seal.open(sealed, engineKeyContext(replica?.id ?? ''))?.toString()).toBe(key)
  expect(seal.open(sealed, engineKeyContext('rep_other'))).toBeUndefined()
  const shown = await call(listEngines)
  expect(JSON.stringify(shown)).not.toContain(key)
  expect(shown.data).toHaveLength(2)
})

test('one model of a server can get a name of its own', async () => {
  const body = { url, key, models: ['org/chat-model'], name: 'house-model' }
  const { data } = await call(createEngine, { body })
  expect(data).toMatchObject([{ modelId: 'house-model', engineModel: 'org/chat-model' }])
})

test.each([
  ['a wrong key', { key: 'wrong' }, 'upstream.unreachable'],
  ['nobody at the address', { url: 'http://127.0.0.1:9' }, 'upstream.unreachable'],
  ['a model that is not there', { models: ['other'] }, 'client.invalid_request'],
  ['one name for two models', { name: 'x' }, 'client.invalid_request'],
  ['an unknown kind', { kind: 'other' }, 'client.invalid_request'],
])('%s is refused, and nothing is kept', async (_name, change, code) => {
  const before = await call(listEngines)
  await expect(call(createEngine, { body: { url, key, ...change } })).rejects.toMatchObject({
    code,
  })
  expect(await call(listEngines)).toEqual(before)
})

test.each([
  ['http://host:8000', 'http://host:8000'],
  ['http://host:8000/v1/', 'http://host:8000'],
  ['https://host/prefix/v1?x=1#y', 'https://host/prefix'],
])('%s is the engine at %s', (text, expected) => {
  expect(parseEngineUrl(text)).toBe(expected)
})

test.each(['file:///etc/passwd', 'ftp://host', 'host:8000', 'http://user:key@host', ''])(
  'the address "%s" is refused',
  (text) => {
    expect(() => parseEngineUrl(text)).toThrow('client.invalid_request')
  },
)

test('from a new model to an engine that serves it, by way of an agent', async () => {
  const model = { id: 'mine/small:1b', weightSources: ['file:/models/small model.gguf'] }
  expect(await call(createModel, { body: model })).toMatchObject({
    id: 'mine/small:1b',
    category: 'chat',
    enabled: true,
    deployed: true,
    state: null,
  })
  const report = { nodeName: 'here', hardware: { cores: 2 } }
  const first = await call(postAgentReport, { body: { ...report, replicas: [] } })
  expect(await call(getDesiredState, { query: { node: 'here' } })).toMatchObject({
    nodeId: first.nodeId,
    deployments: [
      { modelId: 'mine/small:1b', weightSources: model.weightSources, embeddings: false },
    ],
  })
  const replica = {
    modelId: 'mine/small:1b',
    state: 'ready',
    engineKind: 'llama-cpp',
    engineModel: 'mine/small:1b',
    baseUrl: 'http://127.0.0.1:5000',
    detail: null,
    progress: null,
    weightSha256: 'c'.repeat(64),
    contextWindowTokens: 4_096,
    embeddings: false,
  }
  await call(postAgentReport, { body: { ...report, replicas: [replica] } })
  const params = { modelId: 'mine/small:1b' }
  expect(await call(getModelOperation, { params })).toMatchObject({
    state: 'ready',
    contextWindowTokens: 4_096,
    weightSha256: 'c'.repeat(64),
  })
  await call(disableModelOperation, { params })
  expect(await call(getDesiredState, { query: { node: 'here' } })).toMatchObject({
    deployments: [],
  })
})

test('a shipped model without weights is not deployed without a source', async () => {
  const params = { modelId: 'gpt-oss:20b' }
  const without = call(enableModelOperation, { params, body: { deploy: true } })
  await expect(without).rejects.toMatchObject({ code: 'client.invalid_request' })
  const body = { deploy: true, weightSources: ['hf:a/b/c.gguf'] }
  expect(await call(enableModelOperation, { params, body })).toMatchObject({ deployed: true })
})

test('a node that never reported is told so, and stops nothing', async () => {
  const asking = call(getDesiredState, { query: { node: 'nobody' } })
  await expect(asking).rejects.toMatchObject({ code: 'client.not_found' })
})

test('prices are set in exact nano-units and shown in force', async () => {
  const body = { modelId: 'gemma3:27b', priceListId: 'standard', amounts: { input_token: '7' } }
  await call(setPriceOperation, { body })
  const shown = await call(getModelOperation, { params: { modelId: 'gemma3:27b' } })
  expect(shown.prices).toMatchObject([{ unit: 'input_token', amountNanos: '7', currency: 'EUR' }])
  for (const amount of ['-1', '0.5', '1e3', '1'.repeat(16)]) {
    const wrong = { ...body, amounts: { input_token: amount } }
    await expect(call(setPriceOperation, { body: wrong })).rejects.toThrow()
  }
})

test('models are listed by pages, and one is found by its id', async () => {
  const page = await call(listModelsOperation, { query: { limit: '2' } })
  expect(page.data).toHaveLength(2)
  expect(page.hasMore).toBe(true)
  const after = page.data[1]?.id ?? ''
  const next = await call(listModelsOperation, { query: { limit: '2', after } })
  expect((next.data[0]?.id ?? '') > after).toBe(true)
  const found = await call(listModelsOperation, { query: { id: 'org/chat-model' } })
  expect(found.data).toMatchObject([{ id: 'org/chat-model', state: 'ready', enabled: true }])
})
