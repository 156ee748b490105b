/**
 * `POST /v1/estimate`: what a request would probably take and cost, and how long it would run, before it is sent. The body is that of the request itself.
 * Nothing is run, taken or billed, and no engine hears of it.
 */
import { toDecimal } from '../../billing/report.ts'
import { holdAmount, rate } from '../../billing/rating.ts'
import { Fault } from '../../platform/fault.ts'
import { parseBoundedJson } from '../../platform/http/json-limits.ts'
import { ratioScale } from '../admission.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Exchange } from '../exchange.ts'
import { outputTokensDefault, type Bounds } from '../forecast.ts'
import { toFacts } from '../limit-fault.ts'
import { estimateDoc } from '../openapi/operations/estimate.ts'
import { defineRoute } from '../route.ts'
import { boundsOf, foresee } from '../stages/admit.ts'
import { authenticate } from '../stages/authenticate.ts'
import { resolveModel, type OfferedModel } from '../stages/resolve-model.ts'
import { unitsOf } from '../units.ts'
import type { Work } from '../work.ts'
import { toChatWork } from './chat-completions.ts'
import { toCompletionsWork } from './completions.ts'
import { toEmbeddingsWork } from './embeddings.ts'
import { toModerationWork } from './moderations.ts'
import { toRerankWork } from './rerank.ts'

type EstimateDeps = Pick<
  GatewayDeps,
  'keys' | 'clock' | 'keyUsed' | 'catalogue' | 'inputs' | 'outputs' | 'latencies' | 'limits'
>

/** Of ten requests like this, one is below `low`, half are below `expected`, one is above `high`. */
interface Interval {
  readonly low: number
  readonly expected: number
  readonly high: number
}

type Basis = 'learned' | 'default'

const quantiles = { low: 0.1, expected: 0.5, high: 0.9 }
/** How far the estimate of a text may be off where no engine has counted yet (billing/estimate.ts). */
const inputRatiosDefault: Interval = { low: 0.65, expected: 1, high: 1.5 }
/** Nine of ten answers are no longer than this, on public traces of conversations. */
const outputTokensHighDefault = 1_024

const works: Readonly<Record<string, (value: unknown) => Work>> = {
  '/v1/chat/completions': toChatWork,
  '/v1/completions': toCompletionsWork,
  '/v1/embeddings': toEmbeddingsWork,
  '/v1/rerank': toRerankWork,
  '/v1/moderations': toModerationWork,
}
const endpointOf: Readonly<Record<string, string>> = {
  chat: '/v1/chat/completions',
  embedding: '/v1/embeddings',
  rerank: '/v1/rerank',
  moderation: '/v1/moderations',
}

export const estimate = defineRoute({
  method: 'POST',
  path: '/v1/estimate',
  doc: estimateDoc,
  handle: sendEstimate,
})

async function sendEstimate(exchange: Exchange, deps: EstimateDeps): Promise<void> {
  const caller = authenticate(exchange, deps)
  const work = parse(parseBoundedJson(await exchange.readBody('json')), deps)
  const model = resolveModel(caller, work, deps)
  const bounds = boundsOf(work, model)
  const { apiKeyId } = caller
  const modelId = model.model.id
  const input = inputTokens(work, bounds, (q) => deps.inputs.quantile(apiKeyId, modelId, q))
  const output = outputTokens(work, bounds, (q) => deps.outputs.quantile(apiKeyId, modelId, q))
  const latency = (q: number, tokens: number) =>
    deps.latencies.estimate(apiKeyId, modelId, { q, outputTokens: tokens })
  const usual = latency(quantiles.expected, output.expected)
  const slow = latency(quantiles.high, output.high)
  const { scope, expected } = foresee({ caller, model, work, exchange }, bounds, deps)
  const refusal = deps.limits.preview(scope, expected.need)
  await exchange.send(
    200,
    { 'content-type': 'application/json' },
    JSON.stringify({
      object: 'estimate',
      model: modelId,
      endpoint: work.endpoint,
      input_tokens: input,
      output_tokens: output,
      // As this gateway sees it now: whoever comes first may take what is left.
      would_be_admitted: refusal === undefined,
      limit: refusal && toFacts(refusal),
      price: prices(work, model, { input, output, bounds }),
      time_to_first_token_ms: usual &&
        slow && { expected: usual.timeToFirstTokenMs, high: slow.timeToFirstTokenMs },
      total_ms:
        usual?.totalMs === undefined || slow?.totalMs === undefined
          ? undefined
          : { expected: usual.totalMs, high: slow.totalMs },
    }),
  )
}

/** The endpoint is named, or the one that such a model serves. */
function parse(value: unknown, deps: Pick<GatewayDeps, 'catalogue'>): Work {
  const body: { readonly model?: unknown; readonly endpoint?: unknown } =
    typeof value === 'object' && value !== null ? value : {}
  const category =
    typeof body.model === 'string' ? deps.catalogue().resolve(body.model)?.category : undefined
  const endpoint = body.endpoint ?? endpointOf[category ?? 'chat'] ?? '/v1/chat/completions'
  const toWork = typeof endpoint === 'string' ? works[endpoint] : undefined
  if (toWork) return toWork(value)
  throw new Fault({
    code: 'client.unsupported_value',
    public: `'endpoint' takes one of ${Object.keys(works).join(', ')}.`,
    param: 'endpoint',
  })
}

function inputTokens(
  work: Work,
  bounds: Bounds,
  ratioAt: (q: number) => number | undefined,
): Interval & { readonly basis: Basis } {
  const learned = intervalOf(ratioAt, ratioScale)
  const ratios = learned ?? inputRatiosDefault
  const tokens = (ratio: number): number =>
    Math.min(bounds.inputTokensMax, Math.max(1, Math.round(work.estimatedInputTokens * ratio)))
  return {
    low: tokens(ratios.low),
    expected: tokens(ratios.expected),
    high: tokens(ratios.high),
    basis: learned ? 'learned' : 'default',
  }
}

function outputTokens(
  work: Work,
  bounds: Bounds,
  tokensAt: (q: number) => number | undefined,
): Interval & { readonly max: number; readonly basis: Basis } {
  const max = bounds.outputTokensMax
  if (work.choices === 0) return { low: 0, expected: 0, high: 0, max, basis: 'learned' }
  const learned = intervalOf(tokensAt, 1)
  const usual = learned ?? {
    low: 1,
    expected: outputTokensDefault,
    high: work.maxOutputTokens === undefined ? outputTokensHighDefault : max,
  }
  const bounded = (tokens: number): number => Math.min(max, tokens)
  return {
    low: bounded(usual.low),
    expected: bounded(usual.expected),
    high: bounded(usual.high),
    max,
    basis: learned ? 'learned' : 'default',
  }
}

function intervalOf(at: (q: number) => number | undefined, scale: number): Interval | undefined {
  const low = at(quantiles.low)
  const expected = at(quantiles.expected)
  const high = at(quantiles.high)
  if (low === undefined || expected === undefined || high === undefined) return undefined
  return { low: low / scale, expected: expected / scale, high: high / scale }
}

/** `low` counts each token in its cheapest class and `high` in its dearest; `expected` counts nothing as cached or reasoning. */
function prices(
  work: Work,
  offered: OfferedModel,
  tokens: { readonly input: Interval; readonly output: Interval; readonly bounds: Bounds },
): Record<string, unknown> {
  const { model, price } = offered
  const { input, output, bounds } = tokens
  const reasons = model.capabilities.includes('reasoning')
  const isCacheCheaper = price.cachedInputNanos < price.inputNanos
  const isReasoningCheaper = reasons && price.reasoningNanos < price.outputNanos
  const cost = (
    inputTokens: number,
    outputTokens: number,
    classes: { readonly cached: boolean; readonly reasoning: boolean },
  ): bigint =>
    rate(price, {
      units: unitsOf(work, offered, inputTokens),
      inputTokens,
      cachedInputTokens: classes.cached ? inputTokens : 0,
      outputTokens,
      reasoningTokens: classes.reasoning ? outputTokens : 0,
    })
  return {
    currency: price.currency,
    version: price.version,
    low: money(
      cost(input.low, output.low, { cached: isCacheCheaper, reasoning: isReasoningCheaper }),
    ),
    expected: money(cost(input.expected, output.expected, { cached: false, reasoning: false })),
    high: money(
      cost(input.high, output.high, {
        cached: price.cachedInputNanos > price.inputNanos,
        reasoning: reasons && price.reasoningNanos > price.outputNanos,
      }),
    ),
    // What is held while it runs: it can never cost more.
    max: money(
      holdAmount(
        price,
        bounds.inputTokensMax,
        bounds.outputTokensMax,
        unitsOf(work, offered, bounds.inputTokensMax),
      ),
    ),
  }
}

function money(nanos: bigint): { readonly nanos: string; readonly amount: string } {
  return { nanos: String(nanos), amount: toDecimal(String(nanos)) }
}
