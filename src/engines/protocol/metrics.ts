/** An engine's load, read from what it publishes for Prometheus (text format 0.0.4). */
import { Fault } from '../../platform/fault.ts'
import type { EngineLoad } from '../engine.ts'
import type { EngineGet } from './connection.ts'

/** Names of gauges, each with those of older versions after it: the first that the engine publishes counts. */
export interface LoadGauges {
  readonly running: readonly string[]
  readonly waiting: readonly string[]
  /** 0 to 1. */
  readonly kvCacheUsage?: readonly string[]
}

/** For engines that publish their metrics at `/metrics`. One that has them switched off tells nothing, which is no failure. */
export function readPublishedLoad(
  gauges: LoadGauges,
): (get: EngineGet, signal: AbortSignal) => Promise<EngineLoad> {
  return async (get, signal) => {
    let text: string
    try {
      text = (await get('/metrics', signal)).toString('utf8')
    } catch (error) {
      if (error instanceof Fault && error.code === 'upstream.failed') return {}
      throw error
    }
    return toLoad(text, gauges)
  }
}

/** Requests are summed over an engine's ranks and models; of its caches, the fullest counts. */
export function toLoad(text: string, gauges: LoadGauges): EngineLoad {
  const samples = readSamples(text)
  const find = (names: readonly string[] = []): readonly number[] | undefined =>
    names.map((name) => samples.get(name)).find((values) => values !== undefined)
  const fullest = find(gauges.kvCacheUsage)?.reduce((most, value) => Math.max(most, value), 0)
  return {
    runningRequests: sum(find(gauges.running)),
    waitingRequests: sum(find(gauges.waiting)),
    kvCacheUsage: fullest === undefined ? undefined : Math.min(fullest, 1),
  }
}

function sum(values: readonly number[] | undefined): number | undefined {
  return values?.reduce((total, value) => total + value, 0)
}

/** `name{label="…"} value timestamp`: labels may hold anything in quotes, the timestamp may be missing. */
const sampleLine = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{.*\})?[ \t]+([^ \t]+)(?:[ \t]+-?\d+)?[ \t]*$/

/** The values of each metric, over all of its labels. Infinite ones, those below zero and lines of another form are left out. */
function readSamples(text: string): ReadonlyMap<string, readonly number[]> {
  const samples = new Map<string, number[]>()
  for (const line of text.split('\n')) {
    const [, name, written] = sampleLine.exec(line) ?? []
    const value = Number(written)
    if (name === undefined || !Number.isFinite(value) || value < 0) continue
    const known = samples.get(name)
    if (known) known.push(value)
    else samples.set(name, [value])
  }
  return samples
}
