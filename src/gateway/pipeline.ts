/**
 * The life of a call, top to bottom. Each step's result is the next step's argument, so none can be left out. The scope ends at the last byte
 * or at the client's departure, and leaving it settles the bill.
 */
import type { Endpoint } from './endpoint.ts'
import type { Exchange } from './exchange.ts'
import type { GatewayDeps } from './deps.ts'
import { admit } from './stages/admit.ts'
import { authenticate } from './stages/authenticate.ts'
import { dispatch } from './stages/dispatch.ts'
import { resolveModel } from './stages/resolve-model.ts'

export async function serve(
  endpoint: Endpoint,
  exchange: Exchange,
  deps: GatewayDeps,
): Promise<void> {
  const caller = authenticate(exchange, deps)
  const work = endpoint.parse(await exchange.readBody())
  const model = resolveModel(caller, work, deps)
  await using admission = await admit({ caller, model, work, exchange }, deps)
  const answer = await dispatch({ caller, model, work, exchange, admission }, deps)
  const parts = admission.meter(answer)
  await endpoint.respond({ exchange, work, model, parts, deps })
}
