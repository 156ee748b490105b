/**
 * Sends the work to a replica. Another one is tried only while no engine has accepted the request, so nothing is ever generated, or billed,
 * twice. Once an engine accepted, its stream is the answer, whatever becomes of it.
 */
import type { EngineTask } from '../../engines/engine.ts'
import type { Principal } from '../../identity/principal.ts'
import { Fault, toFault, type FaultCode } from '../../platform/fault.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Exchange } from '../exchange.ts'
import type { EngineAnswer, Replica } from '../replicas.ts'
import type { Admission } from '../admission.ts'
import type { OfferedModel } from './resolve-model.ts'

const attemptsMax = 2

/** The engine did not start the work, so another replica may. */
const retryable: ReadonlySet<FaultCode> = new Set([
  'upstream.unreachable',
  'upstream.failed',
  'capacity.overloaded',
  'capacity.engine_rate_limited',
])

export async function dispatch(
  job: {
    readonly caller: Principal
    readonly model: OfferedModel
    readonly exchange: Exchange
    readonly admission: Admission
  },
  deps: Pick<GatewayDeps, 'replicas' | 'cacheSalt' | 'log'>,
): Promise<EngineAnswer> {
  const { model, caller } = job
  const plan = deps.replicas.plan(model.model.id, caller.allowedLocations).slice(0, attemptsMax)
  let last: Fault | undefined
  for (const replica of plan) {
    try {
      return await attempt(replica, job, deps)
    } catch (error) {
      last = withWindow(toFault(error), model)
      if (!retryable.has(last.code) || job.exchange.signal.aborted) throw last
      deps.log.warn(
        {
          requestId: job.exchange.requestId,
          replica: replica.id,
          code: last.code,
          internal: last.internal,
        },
        'an attempt failed before the engine accepted it',
      )
    }
  }
  if (last) throw last
  throw deps.replicas.isDenied(model.model.id, caller.allowedLocations)
    ? residencyDenied(model)
    : noReplica(model)
}

async function attempt(
  replica: Replica,
  job: {
    readonly caller: Principal
    readonly model: OfferedModel
    readonly exchange: Exchange
    readonly admission: Admission
  },
  deps: Pick<GatewayDeps, 'replicas' | 'cacheSalt'>,
): Promise<EngineAnswer> {
  const { exchange, admission } = job
  const call = { signal: exchange.signal, requestId: exchange.requestId }
  const { engine, engineModel } = replica
  deps.replicas.began(replica)
  try {
    const request = {
      model: engineModel,
      task: job.model.task,
      stream: admission.streamsFromEngine,
      cacheSalt: engine.capabilities.cacheSalt ? deps.cacheSalt(job.caller.tenantId) : undefined,
    }
    const parts = await engine.run(request, call)
    letGo(request.task)
    return {
      replicaId: replica.id,
      parts,
      closed(isWhole, error) {
        if (isWhole) deps.replicas.succeeded(replica)
        else if (isReplicaFailure(error)) deps.replicas.failed(replica)
        deps.replicas.ended(replica)
      },
    }
  } catch (error) {
    if (isReplicaFailure(error)) deps.replicas.failed(replica)
    deps.replicas.ended(replica)
    throw error
  }
}

/** An answer may last for minutes, and nobody needs the prompt for that long. */
function letGo(task: EngineTask): void {
  if (task.kind !== 'chat' && task.kind !== 'completion') return
  const { messages: _chat, prompt: _completion, ...rest } = task.body
  task.body = rest
}

function isReplicaFailure(error: unknown): boolean {
  return (
    error instanceof Fault &&
    error.code.startsWith('upstream.') &&
    error.code !== 'upstream.rejected'
  )
}

/** Engines whose words stay behind do not say how long is too long; the catalogue does. */
function withWindow(fault: Fault, { model }: OfferedModel): Fault {
  const window = model.contextWindowTokens
  const isMute = fault.code === 'client.context_length_exceeded' && !/\d/.test(fault.public)
  if (!isMute || window === undefined) return fault
  return new Fault({
    code: fault.code,
    public: `This model's context window is ${window} tokens, and the prompt with the answer asked for is longer. Shorten it.`,
    param: fault.param,
    internal: fault.internal,
    cause: fault,
  })
}

function residencyDenied(offered: OfferedModel): Fault {
  return new Fault({
    code: 'catalog.residency_denied',
    public:
      'This model runs only where your prompts may not go. Choose another model, or ask your provider to change where they may go.',
    internal: `${offered.model.id} is served only at places that the tenant's policy does not name: colonnade engine list, colonnade tenant get`,
    param: 'model',
  })
}

function noReplica(offered: OfferedModel): Fault {
  return new Fault({
    code: 'capacity.no_replica',
    public: 'No engine serves this model at the moment. Try again shortly, or ask your provider.',
    internal: `no ready replica of ${offered.model.id}: colonnade engine list`,
    retryAfterMs: 5_000,
  })
}
