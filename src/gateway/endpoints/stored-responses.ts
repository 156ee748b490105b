/** `/v1/responses/{response_id}`: responses that their tenant wants kept, for the project that made them. For all others there are none. */
import {
  deleteResponseDoc,
  listInputItemsDoc,
  retrieveResponseDoc,
} from '../openapi/operations/stored-responses.ts'
import { defineRoute } from '../route.ts'
import { authenticate } from '../stages/authenticate.ts'
import { toWireList } from '../wire/openai/files.ts'
import { readKept } from '../wire/responses/kept-response.ts'
import {
  conversationTooLong,
  pageOfInput,
  parseInputItemsQuery,
  refuseReplay,
  responseNotFound,
} from '../wire/responses/stored-responses.ts'

const json = { 'content-type': 'application/json' }

export const retrieveResponse = defineRoute({
  method: 'GET',
  path: '/v1/responses/{response_id}',
  doc: retrieveResponseDoc,
  async handle(exchange, deps, { response_id: id = '' }) {
    const caller = authenticate(exchange, deps)
    refuseReplay(exchange.query)
    const stored = await deps.responses.find(caller, id)
    if (!stored) throw responseNotFound()
    await exchange.send(200, json, JSON.stringify(readKept(stored).response))
  },
})

export const deleteResponse = defineRoute({
  method: 'DELETE',
  path: '/v1/responses/{response_id}',
  doc: deleteResponseDoc,
  async handle(exchange, deps, { response_id: id = '' }) {
    const isDeleted = await deps.responses.delete(authenticate(exchange, deps), id)
    if (!isDeleted) throw responseNotFound()
    await exchange.send(200, json, JSON.stringify({ id, object: 'response', deleted: true }))
  },
})

export const listInputItems = defineRoute({
  method: 'GET',
  path: '/v1/responses/{response_id}/input_items',
  doc: listInputItemsDoc,
  async handle(exchange, deps, { response_id: id = '' }) {
    const caller = authenticate(exchange, deps)
    const page = parseInputItemsQuery(exchange.query)
    const conversation = await deps.responses.conversation(caller, id)
    if (conversation.outcome === 'absent') throw responseNotFound()
    if (conversation.outcome === 'too_long') throw conversationTooLong()
    const { items, hasMore } = pageOfInput(conversation.responses.map(readKept), page)
    await exchange.send(200, json, JSON.stringify(toWireList(items, hasMore)))
  },
})
