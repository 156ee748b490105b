/** The gateway's Prometheus metrics. Labels are model ids of the catalogue and fixed words, so their number is bounded. */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'
import type { Outcome } from '../billing/usage.ts'
import type { TokenUsage } from '../engines/engine.ts'

export interface GatewayMetrics {
  answered(endpoint: string, status: number, durationMs: number): void
  failed(code: string): void
  firstToken(model: string, ms: number): void
  settled(request: {
    readonly model: string
    readonly outcome: Outcome
    readonly usage: TokenUsage
    /** From the first token to the settlement. */
    readonly decodeMs: number | undefined
  }): void
  render(): Promise<string>
  readonly contentType: string
}

/** What is read at the moment of a scrape. */
export interface GatewayGauges {
  readonly openRequests: () => number
  readonly journalLagRecords: () => number
  readonly journalBytes: () => number
  readonly snapshotAgeMs: () => number
  readonly inFlight: () => ReadonlyMap<string, number>
  readonly limitWaiters: () => number
  readonly limitsAway: () => boolean
}

const secondsOfRequests = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
const secondsOfTokens = [0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1]

export function createGatewayMetrics(gauges: GatewayGauges): GatewayMetrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry, prefix: 'colonnade_gateway_' })
  const requests = new Counter({
    name: 'colonnade_requests_total',
    help: 'Requests answered, by endpoint and status.',
    labelNames: ['endpoint', 'status'],
    registers,
  })
  const durations = new Histogram({
    name: 'colonnade_request_duration_seconds',
    help: 'From the request to the last byte.',
    labelNames: ['endpoint'],
    buckets: secondsOfRequests,
    registers,
  })
  const errors = new Counter({
    name: 'colonnade_errors_total',
    help: 'Faults, by code (docs/failure-modes.md).',
    labelNames: ['code'],
    registers,
  })
  const firstTokens = new Histogram({
    name: 'colonnade_time_to_first_token_seconds',
    help: 'From the request to the first token.',
    labelNames: ['model'],
    buckets: secondsOfRequests,
    registers,
  })
  const interToken = new Histogram({
    name: 'colonnade_inter_token_latency_seconds',
    help: 'Mean time between the tokens of one answer.',
    labelNames: ['model'],
    buckets: secondsOfTokens,
    registers,
  })
  const tokens = new Counter({
    name: 'colonnade_tokens_total',
    help: 'Billed tokens, by class.',
    labelNames: ['model', 'class'],
    registers,
  })
  const outcomes = new Counter({
    name: 'colonnade_settled_total',
    help: 'Settled requests, by outcome.',
    labelNames: ['model', 'outcome'],
    registers,
  })
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  }
  gauge('colonnade_open_requests', 'Requests that hold an amount now.', gauges.openRequests)
  gauge(
    'colonnade_journal_lag_records',
    'Journal records that the ledger has not applied.',
    gauges.journalLagRecords,
  )
  gauge(
    'colonnade_journal_bytes',
    'Bytes that the journal takes on disk, spare segments included.',
    gauges.journalBytes,
  )
  gauge(
    'colonnade_snapshot_age_seconds',
    'Time since the snapshot was last known to be current.',
    () => gauges.snapshotAgeMs() / 1_000,
  )
  gauge(
    'colonnade_limit_waiters',
    'Requests that wait for a lease of a limit.',
    gauges.limitWaiters,
  )
  gauge(
    'colonnade_limits_away',
    '1 while leases of limits cannot be refilled: what is held is spent, then hard limits refuse.',
    () => (gauges.limitsAway() ? 1 : 0),
  )
  new Gauge({
    name: 'colonnade_replica_in_flight',
    help: 'Requests under way, by replica.',
    labelNames: ['replica'],
    registers,
    collect() {
      this.reset()
      for (const [replica, count] of gauges.inFlight()) this.set({ replica }, count)
    },
  })

  return {
    answered(endpoint, status, durationMs) {
      requests.inc({ endpoint, status })
      durations.observe({ endpoint }, durationMs / 1_000)
    },
    failed: (code) => errors.inc({ code }),
    firstToken: (model, ms) => firstTokens.observe({ model }, ms / 1_000),
    settled({ model, outcome, usage, decodeMs }) {
      outcomes.inc({ model, outcome })
      tokens.inc({ model, class: 'input' }, usage.inputTokens - usage.cachedInputTokens)
      tokens.inc({ model, class: 'cached_input' }, usage.cachedInputTokens)
      tokens.inc({ model, class: 'output' }, usage.outputTokens - usage.reasoningTokens)
      tokens.inc({ model, class: 'reasoning' }, usage.reasoningTokens)
      if (decodeMs !== undefined && usage.outputTokens > 1) {
        interToken.observe({ model }, decodeMs / 1_000 / (usage.outputTokens - 1))
      }
    },
    render: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
