/** A refused limit in words for people and facts for programs: which rule, which window, when it clears, which plan would let it pass. Pure. */
import type { Refusal } from '../limits/refusal.ts'
import type { LimitWindow, Measure } from '../limits/rule.ts'
import { Fault, type FaultCode } from '../platform/fault.ts'

const nouns: Readonly<Record<Measure, string>> = {
  requests: 'requests',
  input_tokens: 'input tokens',
  output_tokens: 'output tokens',
  tokens: 'tokens',
  concurrency: 'requests at once',
  amount: '',
}
const spans: Readonly<Record<LimitWindow, string>> = {
  minute: ' a minute',
  hour: ' an hour',
  day: ' a day',
  month: ' a month',
  lifetime: '',
}
const owners = { tenant: 'this account', project: 'this project', key: 'this API key' } as const

export function toLimitFault(
  refusal: Refusal,
  context: { readonly currency: string; readonly quotaStatus: 402 | 429 },
): Fault {
  const { rule, cause } = refusal
  return new Fault({
    code: codeOf(refusal, context.quotaStatus),
    public: cause === 'unavailable' ? unavailableText : sentence(refusal, context.currency),
    internal: `${cause}: ${rule.ruleId} of ${rule.subject}, ${refusal.needed} needed, ${refusal.remaining} of ${refusal.limit} left`,
    retryAfterMs: refusal.clearsInMs,
    details: toFacts(refusal),
  })
}

const unavailableText =
  'Your limits cannot be checked at the moment, and what was set aside for you is used up. Try again shortly.'

/** Money does not come back by waiting for it: programs should not repeat the request by themselves. */
function codeOf({ cause, rule }: Refusal, quotaStatus: 402 | 429): FaultCode {
  if (cause === 'unavailable') return 'limits.unavailable'
  if (rule.measure !== 'amount') return 'limits.rate_exceeded'
  return quotaStatus === 402 ? 'limits.payment_required' : 'limits.quota_exhausted'
}

function sentence(refusal: Refusal, currency: string): string {
  const { rule, limit, needed, remaining } = refusal
  const name = (value: bigint): string =>
    rule.measure === 'amount'
      ? `${formatNanos(value)} ${currency}`
      : `${value.toLocaleString('en-US')} ${value === 1n ? nouns[rule.measure].replace(/s(?= |$)/, '') : nouns[rule.measure]}`
  const who = owners[rule.per] + (rule.modelId === undefined ? '' : ' with this model')
  const what =
    rule.ruleId === 'credit'
      ? `The prepaid credit of this account (${name(limit)}) is used up`
      : `The limit of ${name(limit)}${spans[rule.window]} for ${who} is reached`
  const facts = `this request needs ${name(needed)}, and ${name(remaining)} ${rule.measure === 'amount' || remaining === 1n ? 'is' : 'are'} left`
  return `${what}: ${facts}. ${advice(refusal)}`
}

function advice({ rule, cause, clearsInMs, planThatAllows, resetsAtMs }: Refusal): string {
  const plan = planThatAllows === undefined ? '' : ` The plan '${planThatAllows}' would allow it.`
  if (cause === 'too_large') {
    const shorten =
      rule.measure === 'amount' ? 'Lower max_tokens' : 'Shorten it or lower max_tokens'
    return `It can never pass: it is larger than the limit. ${shorten}.${plan}`
  }
  if (rule.ruleId === 'credit') return `Ask your provider for more credit.${plan}`
  if (clearsInMs === undefined) return `Ask your administrator to raise it.${plan}`
  const at = resetsAtMs === undefined ? '' : `, at ${new Date(resetsAtMs).toISOString()}`
  return `Try again in ${formatDuration(clearsInMs)}${at}.${plan}`
}

/** For programs. Amounts are strings, because money in nano-units can be larger than a program's exact numbers. */
export function toFacts(refusal: Refusal): Readonly<Record<string, string | number | null>> {
  const { rule, clearsInMs, resetsAtMs } = refusal
  return {
    rule: rule.ruleId,
    scope: rule.per,
    subject: rule.subject,
    model: rule.modelId ?? null,
    measure: rule.measure,
    window: rule.window,
    limit: String(refusal.limit),
    needed: String(refusal.needed),
    remaining: String(refusal.remaining),
    cause: refusal.cause,
    resets_at: resetsAtMs === undefined ? null : new Date(resetsAtMs).toISOString(),
    clears_in_ms: clearsInMs === undefined ? null : Math.ceil(clearsInMs),
    plan_that_allows: refusal.planThatAllows ?? null,
  }
}

/** Nano-units with the two decimals that people expect, and more where they say something. */
export function formatNanos(nanos: bigint): string {
  const sign = nanos < 0n ? '-' : ''
  const absolute = nanos < 0n ? -nanos : nanos
  const fraction = String(absolute % 1_000_000_000n)
    .padStart(9, '0')
    .replace(/0+$/, '')
  return `${sign}${absolute / 1_000_000_000n}.${fraction.padEnd(2, '0')}`
}

/** As OpenAI writes durations in headers: `120ms`, `1s`, `6m0s`, `1h0m0s`. */
export function formatDuration(ms: number): string {
  if (ms <= 0) return '0s'
  if (ms < 1_000) return `${Math.ceil(ms)}ms`
  const seconds = Math.ceil(ms / 1_000)
  const hours = Math.floor(seconds / 3_600)
  const minutes = Math.floor((seconds % 3_600) / 60)
  const rest = seconds % 60
  if (hours > 0) return `${hours}h${minutes}m${rest}s`
  return minutes > 0 ? `${minutes}m${rest}s` : `${rest}s`
}
