/**
 * Learns from this gateway's own traffic how long answers take: the wait for the first token, and the time for each further one, for each key and model. The
 * same decaying histograms as for lengths of answers (src/limits/output-estimate.ts). Pure.
 */
import { createOutputEstimator } from '../limits/output-estimate.ts'

export interface LatencyEstimator {
  /** A streamed answer that was whole. */
  learn(apiKeyId: string, modelId: string, answer: StreamedAnswer): void
  /** What a share of `q` of the answers did not exceed, for one of so many tokens; `undefined` while too few were seen. */
  estimate(
    apiKeyId: string,
    modelId: string,
    of: { readonly q: number; readonly outputTokens: number },
  ): LatencyEstimate | undefined
}

export interface StreamedAnswer {
  readonly timeToFirstTokenMs: number
  readonly durationMs: number
  readonly outputTokens: number
}

export interface LatencyEstimate {
  readonly timeToFirstTokenMs: number
  /** `undefined` while no answer of several tokens was seen. */
  readonly totalMs: number | undefined
}

/** A token in 20 µs is told from one in 10 µs; one may take 10 s. */
const tokenUnitMs = 0.01

export function createLatencyEstimator(options: { readonly entriesMax: number }): LatencyEstimator {
  const firsts = createOutputEstimator(options)
  const tokens = createOutputEstimator(options)
  return {
    learn(apiKeyId, modelId, { timeToFirstTokenMs, durationMs, outputTokens }) {
      firsts.learn(apiKeyId, modelId, timeToFirstTokenMs)
      if (outputTokens < 2) return
      const tokenMs = (durationMs - timeToFirstTokenMs) / (outputTokens - 1)
      tokens.learn(apiKeyId, modelId, tokenMs / tokenUnitMs)
    },
    estimate(apiKeyId, modelId, { q, outputTokens }) {
      const timeToFirstTokenMs = firsts.quantile(apiKeyId, modelId, q)
      if (timeToFirstTokenMs === undefined) return undefined
      const tokenUnits = tokens.quantile(apiKeyId, modelId, q)
      if (tokenUnits === undefined) return { timeToFirstTokenMs, totalMs: undefined }
      const further = Math.max(0, outputTokens - 1) * tokenUnits * tokenUnitMs
      return { timeToFirstTokenMs, totalMs: Math.round(timeToFirstTokenMs + further) }
    },
  }
}
