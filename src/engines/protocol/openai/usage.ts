import type { TokenUsage } from '../../engine.ts'
import { isRecord, toNumber } from '../answer.ts'

/** Keeps the numbers as they came, right or wrong: billing judges them (settlement.ts). Absent ones are NaN or 0 by their meaning. */
export function fromWireUsage(wire: Record<string, unknown>): TokenUsage {
  const promptDetails = isRecord(wire['prompt_tokens_details']) ? wire['prompt_tokens_details'] : {}
  const outputDetails = isRecord(wire['completion_tokens_details'])
    ? wire['completion_tokens_details']
    : {}
  return {
    inputTokens: toNumber(wire['prompt_tokens'], NaN),
    cachedInputTokens: toNumber(promptDetails['cached_tokens'], 0),
    outputTokens: toNumber(wire['completion_tokens'], 0),
    reasoningTokens: toNumber(outputDetails['reasoning_tokens'], 0),
  }
}
