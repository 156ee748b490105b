/** The result of a bench as data: what was measured, on what, and how the rounds spread. Pure. */
import type { Metric, Metrics, Scenario } from '../scenarios.ts'

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly system: string
  readonly node: string
}

export interface MeasuredPeer {
  readonly name: string
  readonly version: string
  /** Resident memory after the start, before any load. */
  readonly idleBytes: number
}

export interface ScenarioResult {
  readonly id: string
  readonly title: string
  readonly unit: Scenario['unit']
  /** By the name of the peer. */
  readonly peers: Readonly<Record<string, Readonly<Partial<Record<Metric, Spread>>>>>
}

export interface Report {
  readonly date: string
  readonly command: string
  readonly machine: Machine
  readonly rounds: number
  readonly peers: readonly MeasuredPeer[]
  readonly scenarios: readonly ScenarioResult[]
  /** What the mock engine counted. */
  readonly mock: {
    readonly requests: number
    readonly violations: number
    readonly reasons: object
  }
  /** Peers that could not be measured, and why. */
  readonly missing: readonly { readonly name: string; readonly reason: string }[]
}

export function spreadOf(rounds: readonly Metrics[]): Partial<Record<Metric, Spread>> {
  const names = new Set(rounds.flatMap((round) => Object.keys(round)))
  const entries = [...names].map((name) => {
    // The keys of Metrics are metrics.
    const values = rounds.map((round) => round[name as Metric] ?? 0).toSorted((a, b) => a - b)
    return [name, { median: median(values), min: values.at(0) ?? 0, max: values.at(-1) ?? 0 }]
  })
  return Object.fromEntries(entries)
}

/** The lower of the two in the middle when their number is even. */
function median(sorted: readonly number[]): number {
  return sorted[(sorted.length - 1) >> 1] ?? 0
}

export function scenarioOf(report: Report, id: string): ScenarioResult | undefined {
  return report.scenarios.find((scenario) => scenario.id === id)
}

export function medianOf(
  scenario: ScenarioResult | undefined,
  peer: string,
  metric: Metric,
): number | undefined {
  return scenario?.peers[peer]?.[metric]?.median
}
