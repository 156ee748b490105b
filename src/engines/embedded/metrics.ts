/** What Prometheus reads from this process. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { SchedulerState } from './scheduler.ts'

export interface EngineMetrics {
  readonly requests: Counter<'status'>
  readonly promptTokens: Counter
  readonly cachedTokens: Counter
  readonly generatedTokens: Counter
  readonly firstTokenSeconds: Histogram
  readonly contentType: string
  /** `state` is undefined for a process that only embeds. */
  render(state: SchedulerState | undefined): Promise<string>
}

const firstTokenBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

export function createEngineMetrics(): EngineMetrics {
  const registry = new Registry()
  const registers = [registry]
  const counter = (name: string, help: string): Counter =>
    new Counter({ name: `colonnade_engine_${name}`, help, registers })
  const gauge = (name: string, help: string): Gauge =>
    new Gauge({ name: `colonnade_engine_${name}`, help, registers })
  const running = gauge('sequences_running', 'Answers that are being computed.')
  const waiting = gauge('sequences_waiting', 'Answers that wait for a free sequence.')
  const cells = gauge('kv_cache_tokens', 'Tokens whose keys and values are in the cache.')
  const usage = gauge('kv_cache_usage_ratio', 'Used part of the cache, 0 to 1.')
  return {
    requests: new Counter({
      name: 'colonnade_engine_requests_total',
      help: 'Requests by HTTP status; 499 means that the client left.',
      labelNames: ['status'],
      registers,
    }),
    promptTokens: counter('prompt_tokens_total', 'Prompt tokens that were computed.'),
    cachedTokens: counter('cached_prompt_tokens_total', 'Prompt tokens that were in the cache.'),
    generatedTokens: counter('generated_tokens_total', 'Tokens that were generated.'),
    firstTokenSeconds: new Histogram({
      name: 'colonnade_engine_time_to_first_token_seconds',
      help: 'From the queue to the first token.',
      buckets: firstTokenBuckets,
      registers,
    }),
    contentType: registry.contentType,
    render(state) {
      running.set(state?.running ?? 0)
      waiting.set(state?.waiting ?? 0)
      cells.set(state?.usedCells ?? 0)
      usage.set(state ? state.usedCells / state.totalCells : 0)
      return registry.metrics()
    },
  }
}
