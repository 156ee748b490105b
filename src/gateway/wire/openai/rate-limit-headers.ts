/**
 * OpenAI's rate-limit headers. A request passes several rules; the headers show the one of each kind with the least left, since that is the one
 * that will refuse first. Rules without a window have no reset, and shadow rules refuse nothing, so they are not shown.
 */
import type { Standing } from '../../../limits/limits.ts'
import type { Measure } from '../../../limits/rule.ts'
import { formatDuration } from '../../limit-fault.ts'

const kinds: readonly (readonly [name: string, measures: readonly Measure[]])[] = [
  ['requests', ['requests']],
  ['tokens', ['tokens', 'output_tokens', 'input_tokens']],
]

export function rateLimitHeaders(standings: readonly Standing[]): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, measures] of kinds) {
    const tightest = findTightest(standings, measures)
    if (!tightest) continue
    headers[`x-ratelimit-limit-${name}`] = String(tightest.limit)
    headers[`x-ratelimit-remaining-${name}`] = String(tightest.remaining)
    if (tightest.resetsInMs !== undefined)
      headers[`x-ratelimit-reset-${name}`] = formatDuration(tightest.resetsInMs)
  }
  return headers
}

/** Of the rules on these measures. */
export function findTightest(
  standings: readonly Standing[],
  measures: readonly Measure[],
): Standing | undefined {
  let tightest: Standing | undefined
  for (const standing of standings) {
    const { rule } = standing
    if (rule.enforcement === 'shadow' || !measures.includes(rule.measure)) continue
    if (!tightest || standing.remaining < tightest.remaining) tightest = standing
  }
  return tightest
}
