/**
 * `POST /v1/messages/count_tokens`: how long a message's prompt is. Nothing is run, taken or billed. The engine that would answer counts, where it can, and
 * the header `x-token-count` says whether it did; where it cannot, or is slow, our own estimate stands in, by what engines have counted before.
 */
import type { ChatTask, EngineRequest } from '../../engines/engine.ts'
import type { Principal } from '../../identity/principal.ts'
import { toFault } from '../../platform/fault.ts'
import { parseBoundedJson } from '../../platform/http/json-limits.ts'
import { ratioScale } from '../admission.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Exchange } from '../exchange.ts'
import { countTokensDoc } from '../openapi/operations/messages.ts'
import type { Replica } from '../replicas.ts'
import { defineRoute } from '../route.ts'
import { authenticate } from '../stages/authenticate.ts'
import { resolveModel, type OfferedModel } from '../stages/resolve-model.ts'
import { toChatBody } from '../wire/anthropic/chat-body.ts'
import { anthropicErrors } from '../wire/anthropic/errors.ts'
import { parseCountRequest } from '../wire/anthropic/request.ts'
import { toChatWork } from './chat-completions.ts'

type CountDeps = Pick<
  GatewayDeps,
  'keys' | 'clock' | 'keyUsed' | 'catalogue' | 'replicas' | 'inputs' | 'log'
>

/** Agents count before each turn, and wait for it. */
const exactCountMs = 2_000
const medianQuantile = 0.5

export const countTokens = defineRoute({
  method: 'POST',
  path: '/v1/messages/count_tokens',
  errors: anthropicErrors,
  doc: countTokensDoc,
  handle: sendCount,
})

async function sendCount(exchange: Exchange, deps: CountDeps): Promise<void> {
  const caller = authenticate(exchange, deps)
  const request = parseCountRequest(parseBoundedJson(await exchange.readBody('json')))
  const work = toChatWork(toChatBody(request))
  const model = resolveModel(caller, work, deps)
  const exact = await countExactly(model, { caller, exchange }, deps)
  const ratio = deps.inputs.quantile(caller.apiKeyId, model.model.id, medianQuantile)
  const estimate = work.estimatedInputTokens * (ratio === undefined ? 1 : ratio / ratioScale)
  const tokens = exact ?? Math.min(work.inputTokensMax, Math.max(1, Math.round(estimate)))
  await exchange.send(
    200,
    {
      'content-type': 'application/json',
      'x-token-count': exact === undefined ? 'estimated' : 'exact',
    },
    JSON.stringify({ input_tokens: tokens }),
  )
}

async function countExactly(
  { model, task }: OfferedModel,
  { caller, exchange }: { readonly caller: Principal; readonly exchange: Exchange },
  deps: CountDeps,
): Promise<number | undefined> {
  const replica = deps.replicas
    .plan(model.id, caller.allowedLocations)
    .find((each) => each.engine.countTokens)
  if (!replica || task.kind !== 'chat') return undefined
  const late = new AbortController()
  const cancel = deps.clock.after(exactCountMs, () => late.abort())
  try {
    return await count(replica, task, {
      signal: AbortSignal.any([exchange.signal, late.signal]),
      requestId: exchange.requestId,
    })
  } catch (error) {
    const { code, internal } = toFault(error)
    deps.log.info({ requestId: exchange.requestId, code, internal }, 'a count was estimated')
    return undefined
  } finally {
    cancel()
  }
}

async function count(
  { engine, engineModel }: Replica,
  task: ChatTask,
  call: { readonly signal: AbortSignal; readonly requestId: string },
): Promise<number | undefined> {
  const request: EngineRequest<ChatTask> = {
    model: engineModel,
    task,
    stream: false,
    cacheSalt: undefined,
  }
  return await engine.countTokens?.(request, call)
}
