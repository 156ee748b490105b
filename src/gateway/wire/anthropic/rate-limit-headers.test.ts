import { expect, test } from 'vitest'
import type { Standing } from '../../../limits/limits.ts'
import type { BoundRule } from '../../../limits/rule-book.ts'
import type { Measure } from '../../../limits/rule.ts'
import { anthropicRateLimitHeaders } from './rate-limit-headers.ts'

const nowMs = Date.UTC(2026, 0, 31, 23, 59, 58, 1)

function standing(measure: Measure, remaining: bigint, rest: Partial<Standing> = {}): Standing {
  const rule: BoundRule = {
    ruleId: 'rul_1',
    subject: 'key',
    tenantId: 'ten_1',
    per: 'key',
    modelId: undefined,
    measure,
    window: 'minute',
    limit: 1_000n,
    enforcement: 'hard',
    onOutage: 'closed',
    planId: undefined,
  }
  return { rule, limit: 1_000n, remaining, resetsInMs: 1_500, ...rest }
}

test('each kind has its limit, what remains of it, and the moment at which it is whole again', () => {
  const standings = [
    standing('requests', 7n, { limit: 10n, resetsInMs: 999 }),
    standing('input_tokens', 600n),
    standing('output_tokens', 300n, { resetsInMs: 60_000 }),
  ]
  expect(anthropicRateLimitHeaders(standings, nowMs)).toEqual({
    'anthropic-ratelimit-requests-limit': '10',
    'anthropic-ratelimit-requests-remaining': '7',
    'anthropic-ratelimit-requests-reset': '2026-01-31T23:59:59Z',
    'anthropic-ratelimit-tokens-limit': '1000',
    'anthropic-ratelimit-tokens-remaining': '300',
    'anthropic-ratelimit-tokens-reset': '2026-02-01T00:00:59Z',
    'anthropic-ratelimit-input-tokens-limit': '1000',
    'anthropic-ratelimit-input-tokens-remaining': '600',
    'anthropic-ratelimit-input-tokens-reset': '2026-02-01T00:00:00Z',
    'anthropic-ratelimit-output-tokens-limit': '1000',
    'anthropic-ratelimit-output-tokens-remaining': '300',
    'anthropic-ratelimit-output-tokens-reset': '2026-02-01T00:00:59Z',
  })
})

test('a kind without a rule has no header, one without a window has no reset, and a shadow rule is not told', () => {
  const shadow = standing('input_tokens', 1n)
  const standings = [
    standing('tokens', 5n, { resetsInMs: undefined }),
    { ...shadow, rule: { ...shadow.rule, enforcement: 'shadow' as const } },
  ]
  expect(anthropicRateLimitHeaders(standings, nowMs)).toEqual({
    'anthropic-ratelimit-tokens-limit': '1000',
    'anthropic-ratelimit-tokens-remaining': '5',
  })
})
