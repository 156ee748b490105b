/** The catalogue on real PostgreSQL, as a gateway sees it in the end. */
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { postgresForTests, type TestDatabase } from '../../test/postgres-for-tests.ts'
import {
  openDatabase,
  platformScope,
  type Database,
  type Sql,
} from '../platform/postgres/database.ts'
import {
  addModel,
  currentPrices,
  disableModel,
  enableModel,
  getModel,
  importShippedCatalogue,
  listModels,
  loadCatalogRecords,
  noteWeights,
  removeModel,
  setAlias,
  setPrice,
  setWeightSources,
  type DefaultModel,
  type NewModel,
} from './catalog.ts'
import { createCatalogue } from './catalogue.ts'

const defaultModel: DefaultModel = {
  id: 'tiny:1b',
  publisher: 'Somebody',
  category: 'chat',
  contextWindowTokens: 2_048,
  licence: 'Apache-2.0',
  weightSources: ['hf:a/b/c.gguf'],
  weightSha256: 'a'.repeat(64),
  weightBytes: 98_000_000,
}
const priced = { unpriced: false }

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
  await run((tx) => importShippedCatalogue(tx, [defaultModel]))
})
afterAll(async () => {
  await database?.close()
  await created?.close()
})

function run<Result>(work: (tx: Sql<unknown>) => Promise<Result>): Promise<Result> {
  return database.transaction(platformScope, work)
}

function newModel(id: string, change: Partial<NewModel> = {}): NewModel {
  return {
    id,
    category: 'chat',
    contextWindowTokens: null,
    capabilities: [],
    weightSources: [],
    weightSha256: null,
    ...change,
  }
}

async function catalogue() {
  const records = await run(loadCatalogRecords)
  return createCatalogue(JSON.parse(JSON.stringify(records)) as typeof records)
}

test('the shipped models are listed by pages, and none is offered', async () => {
  const ids: string[] = []
  for (;;) {
    const page = await run((tx) => listModels(tx, { after: ids.at(-1), limit: 25 }))
    if (page.length === 0) break
    ids.push(...page.map((model) => model.id))
  }
  expect(new Set(ids).size).toBe(59)
  expect(await run((tx) => listModels(tx, { enabled: true, limit: 10 }))).toEqual([])
  const [embedder] = await run((tx) => listModels(tx, { category: 'embedding', limit: 1 }))
  expect(embedder).toMatchObject({
    id: 'bge-m3:567m',
    contextWindowTokens: 8_192,
    productionSince: '2025-10-18',
    endOfSupport: '2027-12-30',
    longTermSupport: true,
  })
})

test('an enabled model is offered at the prices of its class, on both lists', async () => {
  await run((tx) => enableModel(tx, 'qwen3:0.6b', priced))
  const { resolve, priceOf } = await catalogue()
  expect(resolve('qwen3:0.6b')).toMatchObject({ category: 'chat', ownedBy: 'Qwen Team' })
  expect(priceOf('standard', 'qwen3:0.6b', Date.now())).toMatchObject({
    currency: 'EUR',
    inputNanos: 900n,
    cachedInputNanos: 900n,
    outputNanos: 4_000n,
    reasoningNanos: 21_000n,
  })
  expect(priceOf('public-2026', 'qwen3:0.6b', Date.now())).toMatchObject({
    inputNanos: 1_800n,
    outputNanos: 8_000n,
    reasoningNanos: 8_000n,
  })
  await run((tx) => disableModel(tx, 'qwen3:0.6b'))
  expect((await catalogue()).resolve('qwen3:0.6b')).toBeUndefined()
})

test('an unpriced model has no price until somebody sets one', async () => {
  await run((tx) => addModel(tx, newModel('plain'), { unpriced: true }))
  expect((await catalogue()).priceOf('standard', 'plain', Date.now())).toBeUndefined()
  const nowMs = Date.now()
  const base = { priceListId: 'standard', modelId: 'plain', effectiveFromMs: nowMs }
  await run(async (tx) => {
    await setPrice(tx, { ...base, unit: 'input_token', amountNanos: 5n }, nowMs)
    await setPrice(tx, { ...base, unit: 'output_token', amountNanos: 7n }, nowMs)
  })
  expect((await catalogue()).priceOf('standard', 'plain', Date.now())).toMatchObject({
    inputNanos: 5n,
    outputNanos: 7n,
  })
})

test('enabling again keeps the prices that somebody set', async () => {
  const nowMs = Date.now()
  await run((tx) => addModel(tx, newModel('special'), { unpriced: true }))
  await run((tx) =>
    setPrice(
      tx,
      {
        priceListId: 'standard',
        modelId: 'special',
        unit: 'input_token',
        amountNanos: 1n,
        effectiveFromMs: nowMs,
      },
      nowMs,
    ),
  )
  await run((tx) => enableModel(tx, 'special', priced))
  const prices = await run((tx) => currentPrices(tx, ['special']))
  const standard = prices.filter((price) => price.priceListId === 'standard')
  expect(Object.fromEntries(standard.map((price) => [price.unit, price.amountNanos]))).toEqual({
    input_token: 1n,
    output_token: 4_000n,
    reasoning_token: 21_000n,
  })
})

test('a price can begin later, and never in the past', async () => {
  const nowMs = Date.now()
  const hourMs = 3_600_000
  await run((tx) => addModel(tx, newModel('later'), priced))
  const price = {
    priceListId: 'standard',
    modelId: 'later',
    unit: 'input_token',
    amountNanos: 1n,
  } as const
  await run((tx) => setPrice(tx, { ...price, effectiveFromMs: nowMs + hourMs }, nowMs))
  const { priceOf } = await catalogue()
  expect(priceOf('standard', 'later', nowMs + 1_000)?.inputNanos).toBe(900n)
  expect(priceOf('standard', 'later', nowMs + hourMs)?.inputNanos).toBe(1n)
  const past = run((tx) => setPrice(tx, { ...price, effectiveFromMs: nowMs - hourMs }, nowMs))
  await expect(past).rejects.toMatchObject({ code: 'client.invalid_request' })
  const twice = run((tx) => setPrice(tx, { ...price, effectiveFromMs: nowMs + hourMs }, nowMs))
  await expect(twice).rejects.toMatchObject({ code: 'client.conflict' })
  const unknown = run((tx) =>
    setPrice(tx, { ...price, priceListId: 'other', effectiveFromMs: nowMs }, nowMs),
  )
  await expect(unknown).rejects.toMatchObject({ code: 'client.not_found' })
})

test('an id is taken once, and an alias never takes the id of a model', async () => {
  await run((tx) => addModel(tx, newModel('mine'), priced))
  const again = run((tx) => addModel(tx, newModel('mine'), priced))
  await expect(again).rejects.toMatchObject({ code: 'client.conflict' })
  const hiding = run((tx) => setAlias(tx, 'qwen3:0.6b', 'mine'))
  await expect(hiding).rejects.toMatchObject({ code: 'client.conflict' })
  await run((tx) => setAlias(tx, 'default', 'mine'))
  expect((await catalogue()).resolve('default')?.id).toBe('mine')
})

test('a model of an operator is deleted for good, a shipped one only disabled', async () => {
  await run((tx) => addModel(tx, newModel('gone'), priced))
  expect(await run((tx) => removeModel(tx, 'gone'))).toBe('deleted')
  await expect(run((tx) => getModel(tx, 'gone'))).rejects.toMatchObject({
    code: 'client.not_found',
  })
  await run((tx) => enableModel(tx, 'tiny:1b', priced))
  expect(await run((tx) => removeModel(tx, 'tiny:1b'))).toBe('disabled')
  expect(await run((tx) => getModel(tx, 'tiny:1b'))).toMatchObject({ enabled: false })
})

test('importing again keeps what operators and agents decided', async () => {
  await run((tx) => enableModel(tx, 'qwen3:0.6b', priced))
  await run((tx) => setWeightSources(tx, 'qwen3:0.6b', ['file:/models/q.gguf']))
  const found = { weightSha256: 'b'.repeat(64), contextWindowTokens: 4_096, embeddings: false }
  await run((tx) => noteWeights(tx, 'qwen3:0.6b', found))
  await run((tx) => importShippedCatalogue(tx, [defaultModel]))
  expect(await run((tx) => getModel(tx, 'qwen3:0.6b'))).toMatchObject({
    enabled: true,
    weightSources: ['file:/models/q.gguf'],
    weightSha256: 'b'.repeat(64),
    contextWindowTokens: 4_096,
  })
  await run((tx) => disableModel(tx, 'qwen3:0.6b'))
})

test('weights that only embed make a model an embedding model, with its price', async () => {
  await run((tx) => addModel(tx, newModel('vectors'), { unpriced: true }))
  const found = { weightSha256: null, contextWindowTokens: 512, embeddings: true }
  await run((tx) => noteWeights(tx, 'vectors', found))
  expect(await run((tx) => getModel(tx, 'vectors'))).toMatchObject({
    category: 'embedding',
    contextWindowTokens: 512,
  })
})

test('what an agent says again changes no version of the snapshot', async () => {
  const found = { weightSha256: null, contextWindowTokens: 512, embeddings: true }
  await run((tx) => noteWeights(tx, 'vectors', found))
  const before = await snapshotVersion()
  await run((tx) => noteWeights(tx, 'vectors', found))
  expect(await snapshotVersion()).toBe(before)
})

async function snapshotVersion(): Promise<string> {
  return await run(async (tx) => {
    const result = await sql<{
      value: bigint
    }>`SELECT version AS value FROM snapshot_state`.execute(tx)
    return String(result.rows[0]?.value)
  })
}
