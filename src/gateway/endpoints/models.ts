/** `GET /v1/models` and `/v1/models/{id}`: what this key may use, and nothing of what it may not. */
import { tasksOf } from '../../catalog/abilities.ts'
import type { CatalogModel } from '../../catalog/catalogue.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Exchange } from '../exchange.ts'
import { listModelsDoc, retrieveModelDoc } from '../openapi/operations/models.ts'
import { defineRoute } from '../route.ts'
import { authenticate } from '../stages/authenticate.ts'
import { mayUse, modelNotFound } from '../stages/resolve-model.ts'

export const listModels = defineRoute({
  method: 'GET',
  path: '/v1/models',
  doc: listModelsDoc,
  handle: sendModels,
})

/** The id may hold `/` and `:`, encoded or not; the router has decoded it. */
export const retrieveModel = defineRoute({
  method: 'GET',
  path: '/v1/models/{model*}',
  doc: retrieveModelDoc,
  handle: (exchange, deps, { model = '' }) => sendModel(exchange, model, deps),
})

async function sendModels(exchange: Exchange, deps: GatewayDeps): Promise<void> {
  const caller = authenticate(exchange, deps)
  const data = deps
    .catalogue()
    .list()
    .filter((model) => mayUse(caller, model))
    .filter(({ id }) => !deps.replicas.isDenied(id, caller.allowedLocations))
    .map(toWireModel)
  await exchange.send(
    200,
    { 'content-type': 'application/json' },
    JSON.stringify({
      object: 'list',
      data,
      // Anthropic's clients page through lists; this one has a single page.
      has_more: false,
      first_id: data.at(0)?.id ?? null,
      last_id: data.at(-1)?.id ?? null,
    }),
  )
}

async function sendModel(exchange: Exchange, name: string, deps: GatewayDeps): Promise<void> {
  const caller = authenticate(exchange, deps)
  const model = deps.catalogue().resolve(name)
  const isShown =
    model &&
    mayUse(caller, model, name) &&
    !deps.replicas.isDenied(model.id, caller.allowedLocations)
  if (!isShown) throw modelNotFound()
  await exchange.send(
    200,
    { 'content-type': 'application/json' },
    JSON.stringify(toWireModel(model)),
  )
}

/** OpenAI's fields, and those of Anthropic that have other names; clients of each pass over the other's. */
function toWireModel(model: CatalogModel): {
  readonly id: string
  readonly [field: string]: unknown
} {
  return {
    id: model.id,
    object: 'model',
    created: Math.floor(model.createdAtMs / 1_000),
    owned_by: model.ownedBy ?? 'colonnade',
    type: 'model',
    display_name: model.id,
    created_at: new Date(model.createdAtMs).toISOString(),
    context_window: model.contextWindowTokens ?? null,
    // What it does, and what it takes beside.
    capabilities: [...new Set<string>([...tasksOf(model), ...model.capabilities])],
    conformance: toWireBadge(model),
  }
}

function toWireBadge({ conformance }: CatalogModel): Record<string, unknown> | null {
  return conformance
    ? {
        verdict: conformance.verdict,
        date: conformance.date,
        suite_version: conformance.suiteVersion,
      }
    : null
}
