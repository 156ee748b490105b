/** A public address as data. Billable endpoints become routes too, by way of the pipeline. */
import type { GatewayDeps } from './deps.ts'
import type { Endpoint } from './endpoint.ts'
import type { Exchange } from './exchange.ts'
import type { OperationDoc } from './openapi/operation.ts'
import { serve } from './pipeline.ts'
import { openAiErrors, type ErrorDialect } from './wire/openai/errors.ts'

export type RouteParams = Readonly<Record<string, string>>

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** As metrics, logs and people name it: `/v1/files/{file_id}`. `{model*}` takes all that follows, slashes included. */
  readonly path: string
  readonly errors: ErrorDialect
  /** What the published description says of it. */
  readonly doc?: OperationDoc | undefined
  handle(exchange: Exchange, deps: GatewayDeps, params: RouteParams): Promise<void>
}

export function defineRoute(
  route: Omit<Route, 'errors'> & { readonly errors?: ErrorDialect },
): Route {
  return { errors: openAiErrors, ...route }
}

export function toRoute(endpoint: Endpoint): Route {
  return {
    method: 'POST',
    path: endpoint.path,
    errors: endpoint.errors,
    doc: endpoint.doc,
    handle: (exchange, deps) => serve(endpoint, exchange, deps),
  }
}
