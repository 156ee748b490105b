/**
 * Takes what the request may cost: from its limits first, then as a hold that is durable before an engine hears of the request. Refuses with the
 * reason when there is no room.
 */
import { holdAmount } from '../../billing/rating.ts'
import type { OpenedRequest } from '../../billing/usage.ts'
import type { TaskKind } from '../../engines/engine.ts'
import type { LimitScope } from '../../limits/rule-book.ts'
import { Fault } from '../../platform/fault.ts'
import { Admission, ratioScale, type AdmissionJob } from '../admission.ts'
import type { GatewayDeps } from '../deps.ts'
import { forecast, type Bounds, type Forecast } from '../forecast.ts'
import { toLimitFault } from '../limit-fault.ts'
import type { Work } from '../work.ts'
import { rateLimitHeaders } from '../wire/openai/rate-limit-headers.ts'
import { unitsOf } from '../units.ts'
import type { OfferedModel } from './resolve-model.ts'

/** The longest tokens of common vocabularies are runs of 128 spaces. */
const tokenBytesMax = 128
/** Holds need an end even where the catalogue knows no context window. */
const contextWindowTokensDefault = 131_072
/** Three of four answers are no longer than what is reserved at first; the others take more as they go. */
const outputQuantile = 0.75
const inputQuantile = 0.9

export async function admit(
  job: AdmissionJob,
  deps: Pick<
    GatewayDeps,
    | 'billing'
    | 'limits'
    | 'outputs'
    | 'inputs'
    | 'latencies'
    | 'receipts'
    | 'quotaStatus'
    | 'clock'
    | 'metrics'
    | 'isDraining'
  >,
): Promise<Admission> {
  if (deps.isDraining()) {
    const text = 'This gateway is shutting down. Try again at once.'
    throw new Fault({ code: 'capacity.draining', public: text, retryAfterMs: 1_000 })
  }
  const { caller, model, work, exchange } = job
  const modelId = model.model.id
  const bounds = boundsOf(work, model)
  const { scope, expected } = foresee(job, bounds, deps)
  const decision = await deps.limits.reserve(scope, expected.need, expected.want)
  const standings = deps.limits.standings(scope)
  exchange.addHeaders(rateLimitHeaders(standings))
  if (work.limitHeaders) exchange.addHeaders(work.limitHeaders(standings, deps.clock.nowMs()))
  if (decision.outcome === 'refused')
    throw toLimitFault(decision.refusal, {
      currency: caller.currency,
      quotaStatus: deps.quotaStatus,
    })
  const { grip } = decision
  const ceiling = holdAmount(
    model.price,
    work.inputTokensMax,
    bounds.outputTokensMax,
    unitsOf(work, model, work.inputTokensMax),
  )
  const { alreadyChargedNanos } = job.leg
  const reserved = grip.reserved('amount')
  // With the last of a budget in hand, the charge is bound by what there was.
  const isLast = reserved !== undefined && reserved < (expected.want.amount ?? 0n)
  try {
    const opened: OpenedRequest = {
      requestId: exchange.requestId,
      leg: job.leg.leg,
      tenantId: caller.tenantId,
      projectId: caller.projectId,
      apiKeyId: caller.apiKeyId,
      modelId,
      endpoint: work.endpoint,
      streamed: work.streamed,
      price: model.price,
      estimatedInputTokens: work.estimatedInputTokens,
      maxOutputTokens: bounds.outputTokensMax,
      heldNanos: isLast ? smaller(reserved + alreadyChargedNanos, ceiling) : ceiling,
      startedAtMs: deps.clock.nowMs(),
      lifeId: grip.lifeId,
      takes: grip.takes,
      alreadyChargedNanos,
    }
    const hold = await deps.billing.open(opened)
    return new Admission({ hold, opened, grip, bounds, forecast: expected }, job, deps)
  } catch (error) {
    grip.settle(() => 0n)
    grip.release()
    throw error
  }
}

function smaller(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}

/** Whose limits a request must pass, and what it will probably take from them. */
export function foresee(
  { caller, model, work, exchange }: Omit<AdmissionJob, 'leg'>,
  bounds: Bounds,
  deps: Pick<GatewayDeps, 'inputs' | 'outputs'>,
): { readonly scope: LimitScope; readonly expected: Forecast } {
  const { tenantId, projectId, apiKeyId } = caller
  const modelId = model.model.id
  const ratio = deps.inputs.quantile(apiKeyId, modelId, inputQuantile)
  const expected = forecast({
    bounds,
    price: model.price,
    estimatedInputTokens: work.estimatedInputTokens,
    inputRatio: ratio === undefined ? undefined : ratio / ratioScale,
    usualOutputTokens: deps.outputs.quantile(apiKeyId, modelId, outputQuantile),
    reasons: model.model.capabilities.includes('reasoning'),
    mayClamp: exchange.headers['x-on-limit'] === 'clamp',
    unitsFor: (inputTokens) => unitsOf(work, model, inputTokens),
  })
  return { scope: { tenantId, projectId, apiKeyId, modelId }, expected }
}

/** The most that the work may read and write. */
export function boundsOf(work: Work, offered: OfferedModel): Bounds {
  const window = offered.model.contextWindowTokens ?? contextWindowTokensDefault
  const inputTokensMax = work.inputTokensMax
  refuseHopeless(work, offered)
  if (work.choices === 0) return { inputTokensMax, outputTokensMax: 0 }
  const asked = work.maxOutputTokens
  if (asked !== undefined && offered.model.contextWindowTokens !== undefined && asked > window) {
    throw new Fault({
      code: 'client.context_length_exceeded',
      public: `This model's context window is ${window} tokens, and you asked for ${asked} output tokens. Lower max_tokens.`,
      param: 'max_tokens',
    })
  }
  return { inputTokensMax, outputTokensMax: Math.min(asked ?? window, window) * work.choices }
}

/** Where the caller wrote what is too long. */
const fieldOfTask: Readonly<Record<TaskKind, string>> = {
  chat: 'messages',
  completion: 'prompt',
  embedding: 'input',
  rerank: 'documents',
  moderation: 'input',
  transcription: 'prompt',
  speech: 'input',
  image: 'prompt',
}

/** A text that no vocabulary could press into the window never reaches a tokenizer, which may take seconds for it. */
function refuseHopeless(work: Work, offered: OfferedModel): void {
  const window = offered.model.contextWindowTokens
  if (window === undefined || work.longestTextBytes <= window * tokenBytesMax) return
  throw new Fault({
    code: 'client.context_length_exceeded',
    public: `This model's context window is ${window} tokens, and ${work.longestTextBytes} bytes of text cannot fit. Shorten it.`,
    param: fieldOfTask[offered.task.kind],
  })
}
