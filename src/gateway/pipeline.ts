/**
 * The life of a call, top to bottom. Each step's result is the next step's argument, so none can be left out. The scope ends at the last byte
 * or at the client's departure, and leaving it settles the bill.
 */
import type { Principal } from '../identity/principal.ts'
import type { Seal } from '../platform/seal.ts'
import type { Endpoint } from './endpoint.ts'
import type { Exchange } from './exchange.ts'
import type { GatewayDeps } from './deps.ts'
import { claimLeg, type ClaimedLeg } from './idempotency.ts'
import { openResponseMemory, type ResponseMemory } from './response-memory.ts'
import { admit } from './stages/admit.ts'
import { authenticate } from './stages/authenticate.ts'
import { dispatch } from './stages/dispatch.ts'
import { resolveModel, type OfferedModel, type Terms } from './stages/resolve-model.ts'
import type { Work } from './work.ts'

export async function serve(
  endpoint: Endpoint,
  exchange: Exchange,
  deps: GatewayDeps,
): Promise<void> {
  const caller = authenticate(exchange, deps)
  await perform({ endpoint, exchange, caller }, deps)
}

/** The part that is the same for whoever brings the body: a request of its own, a message of a socket, a line of a batch. */
export async function perform(call: Call, deps: GatewayDeps): Promise<void> {
  const { endpoint, exchange, caller } = call
  const { work, model, leg } = await understand(call, deps)
  const job = { caller, model, work, exchange, leg }
  await using admission = await leg.open(() => admit(job, deps))
  const answer = await dispatch({ caller, model, exchange, admission }, deps)
  const parts = admission.meter(answer)
  const receipt = (): string | undefined => admission.receipt
  await endpoint.respond({ exchange, work, model, task: model.task, parts, receipt, deps })
}

export interface Call {
  readonly endpoint: Endpoint
  readonly exchange: Exchange
  readonly caller: Principal
  readonly terms?: Terms
}

/** What is asked for, of which model, and which run of the request this is. The body is let go when it is known: an answer may last for minutes. */
async function understand(
  { endpoint, exchange, caller, terms }: Call,
  deps: GatewayDeps,
): Promise<{ work: Work; model: OfferedModel; leg: ClaimedLeg }> {
  const body = await exchange.readBody(endpoint.body)
  const { headers } = exchange
  const seal = (): Seal => deps.sealFor(caller.tenantId)
  const memory = (): ResponseMemory | undefined => openResponseMemory(caller, deps)
  const { fieldPolicy } = deps
  const work = await endpoint.parse(body, { headers, fieldPolicy, seal, memory })
  const model = resolveModel(caller, work, deps, terms)
  const same = { endpoint: endpoint.path, body: work.sameAs ? [work.sameAs] : body }
  const leg = await claimLeg({ caller, exchange, ...same }, deps)
  return { work, model, leg }
}
