/** `/v1/batches`: work of up to 24 hours at half the price, asked for here and done by the gateways' batch workers. */
import { parseBoundedJson } from '../../platform/http/json-limits.ts'
import {
  cancelBatchDoc,
  createBatchDoc,
  listBatchesDoc,
  retrieveBatchDoc,
} from '../openapi/operations/batches.ts'
import { creationKey } from '../idempotency.ts'
import { defineRoute } from '../route.ts'
import { authenticate } from '../stages/authenticate.ts'
import {
  batchNotFound,
  parseBatchQuery,
  parseBatchRequest,
  toWireBatch,
} from '../wire/openai/batches.ts'
import { toWireList } from '../wire/openai/files.ts'

const json = { 'content-type': 'application/json' }

export const createBatch = defineRoute({
  method: 'POST',
  path: '/v1/batches',
  doc: createBatchDoc,
  async handle(exchange, { batches, ...deps }) {
    const caller = authenticate(exchange, deps)
    const body = parseBoundedJson(await exchange.readBody('json'))
    const { apiKeyId } = caller
    const wanted = parseBatchRequest(body, batches.endpoints)
    const key = creationKey({ caller, exchange, request: [createBatchDoc.id, wanted] }, deps)
    const batch = await batches.create(caller, { ...wanted, apiKeyId }, key)
    await exchange.send(200, json, JSON.stringify(toWireBatch(batch)))
  },
})

export const listBatches = defineRoute({
  method: 'GET',
  path: '/v1/batches',
  doc: listBatchesDoc,
  async handle(exchange, deps) {
    const owner = authenticate(exchange, deps)
    const { batches, hasMore } = await deps.batches.list(owner, parseBatchQuery(exchange.query))
    await exchange.send(200, json, JSON.stringify(toWireList(batches.map(toWireBatch), hasMore)))
  },
})

export const retrieveBatch = defineRoute({
  method: 'GET',
  path: '/v1/batches/{batch_id}',
  doc: retrieveBatchDoc,
  async handle(exchange, deps, { batch_id: id = '' }) {
    const batch = await deps.batches.find(authenticate(exchange, deps), id)
    if (!batch) throw batchNotFound()
    await exchange.send(200, json, JSON.stringify(toWireBatch(batch)))
  },
})

export const cancelBatch = defineRoute({
  method: 'POST',
  path: '/v1/batches/{batch_id}/cancel',
  doc: cancelBatchDoc,
  async handle(exchange, deps, { batch_id: id = '' }) {
    const batch = await deps.batches.cancel(authenticate(exchange, deps), id)
    if (!batch) throw batchNotFound()
    await exchange.send(200, json, JSON.stringify(toWireBatch(batch)))
  },
})
