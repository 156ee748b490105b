/**
 * Anthropic's rate-limit headers (platform.claude.com/docs/en/api/rate-limits), of the same rules as OpenAI's: of each kind the one with the least left.
 * `tokens` speaks of the tightest rule on any tokens. A reset is a moment, in RFC 3339; a rule without a window has none.
 */
import type { Standing } from '../../../limits/limits.ts'
import type { Measure } from '../../../limits/rule.ts'
import { findTightest } from '../openai/rate-limit-headers.ts'

const kinds: readonly (readonly [name: string, measures: readonly Measure[]])[] = [
  ['requests', ['requests']],
  ['tokens', ['tokens', 'output_tokens', 'input_tokens']],
  ['input-tokens', ['input_tokens']],
  ['output-tokens', ['output_tokens']],
]

export function anthropicRateLimitHeaders(
  standings: readonly Standing[],
  nowMs: number,
): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, measures] of kinds) {
    const tightest = findTightest(standings, measures)
    if (!tightest) continue
    headers[`anthropic-ratelimit-${name}-limit`] = String(tightest.limit)
    headers[`anthropic-ratelimit-${name}-remaining`] = String(tightest.remaining)
    if (tightest.resetsInMs !== undefined)
      headers[`anthropic-ratelimit-${name}-reset`] = toMoment(nowMs + tightest.resetsInMs)
  }
  return headers
}

/** In whole seconds, as Anthropic writes them; never before its time. */
function toMoment(ms: number): string {
  return new Date(Math.ceil(ms / 1_000) * 1_000).toISOString().replace('.000Z', 'Z')
}
