/**
 * One line of a batch, run as any other request is: by its key's rights and limits, at the batch's price. Its idempotency key makes every run that
 * may have cost something a leg of one request, so that together they are charged once.
 */
import type { ClaimedLine, LineResult } from '../../batches/queue.ts'
import { batchDiscountBasisPoints } from '../../billing/rating.ts'
import { idempotencyHeader } from '../../idempotency/key.ts'
import type { Principal } from '../../identity/principal.ts'
import type { TokenUsage } from '../../engines/engine.ts'
import { assert } from '../../platform/assert.ts'
import { Fault, toFault } from '../../platform/fault.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Endpoint } from '../endpoint.ts'
import { perform } from '../pipeline.ts'
import { openLineExchange } from './line-exchange.ts'

/** The longest that one line may run. */
export const lineTimeoutMs = 600_000
const terms = { discountBasisPoints: batchDiscountBasisPoints }
const noUsage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }

export interface LineRun {
  readonly result: LineResult
  readonly fault: Fault | undefined
  /** Known to have cost nothing, as all runs before it: the next one need not be a leg of the same request. */
  readonly costNothing: boolean
}

/** Never throws: a failure has a result too, if it stays one. */
export async function runLine(
  line: ClaimedLine,
  call: {
    readonly endpoint: Endpoint
    readonly caller: Principal
    readonly signal: AbortSignal
  },
  deps: GatewayDeps,
): Promise<LineRun> {
  const { endpoint, caller, signal } = call
  const headers = {
    'content-type': 'application/json',
    [idempotencyHeader]: line.idempotencyKey,
  }
  using exchange = openLineExchange({
    headers,
    body: [line.body],
    timeoutMs: lineTimeoutMs,
    signal,
    clock: deps.clock,
  })
  let usage: TokenUsage = noUsage
  let isVoided = false
  const settled: GatewayDeps['metrics']['settled'] = (request) => {
    usage = request.usage
    isVoided = request.outcome === 'voided'
    deps.metrics.settled(request)
  }
  const own = { ...deps, metrics: { ...deps.metrics, settled } }
  try {
    await perform({ endpoint, exchange, caller, terms }, own)
    const { answer, requestId } = exchange
    assert(answer, 'an endpoint that is asked for JSON answers')
    const body: unknown = JSON.parse(answer.body)
    const response = { statusCode: answer.status, requestId, body }
    const result = { failed: answer.status >= 400, response, usage }
    return { result, fault: undefined, costNothing: false }
  } catch (error) {
    const fault = exchange.isLate ? tooLate(error) : toFault(error)
    const { requestId } = exchange
    const statusCode = endpoint.errors.status(fault)
    const body = endpoint.errors.body(fault, requestId)
    const result = { failed: true, response: { statusCode, requestId, body }, usage }
    return { result, fault, costNothing: isVoided && !exchange.isFurtherLeg }
  }
}

function tooLate(cause: unknown): Fault {
  return new Fault({
    code: 'upstream.timeout',
    public: `The answer took longer than ${lineTimeoutMs / 60_000} minutes.`,
    cause,
  })
}
