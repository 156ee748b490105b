/** A public address as data. Billable endpoints become routes too, by way of the pipeline. */
import type { GatewayDeps } from './deps.ts'
import type { Endpoint } from './endpoint.ts'
import type { Exchange } from './exchange.ts'
import type { OperationDoc } from './openapi/operation.ts'
import { perform, serve } from './pipeline.ts'
import { authenticate } from './stages/authenticate.ts'
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
    handle: (exchange, deps) =>
      endpoint.forCaller
        ? serveCaller(endpoint, endpoint.forCaller, exchange, deps)
        : serve(endpoint, exchange, deps),
  }
}

/** For endpoints that differ by what their caller has left here. */
async function serveCaller(
  endpoint: Endpoint,
  forCaller: NonNullable<Endpoint['forCaller']>,
  exchange: Exchange,
  deps: GatewayDeps,
): Promise<void> {
  const caller = authenticate(exchange, deps)
  const body = await exchange.readBody(endpoint.body)
  await perform({ endpoint: forCaller(caller, deps), exchange, caller, body }, deps)
}
