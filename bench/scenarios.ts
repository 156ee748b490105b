/** What is measured. A scenario turns one run against one proxy into named numbers; rounds and medians are run.ts's. */
import { loadRequests, type RequestLoad } from './load/requests.ts'
import { loadStreams, type StreamLoad } from './load/streams.ts'
import type { Peer, RunningPeer } from './peers/peer.ts'
import { cpuSeconds, residentBytes } from './process.ts'

export type Metric =
  | 'cpuMicros'
  | 'otherCpuMicros'
  | 'perSecond'
  | 'p50Ms'
  | 'p95Ms'
  | 'p99Ms'
  | 'failures'
  | 'cpuShare'
  | 'gapP50Ms'
  | 'gapP99Ms'
  | 'lost'
  | 'short'
  | 'heldBytes'

export type Metrics = Readonly<Partial<Record<Metric, number>>>

export interface Scenario {
  readonly id: string
  readonly title: string
  /** What one unit of `cpuMicros` and `perSecond` is. */
  readonly unit: 'request' | 'event'
  readonly suits: (peer: Peer) => boolean
  readonly measure: (peer: RunningPeer, place: Place) => Promise<Metrics>
}

export interface Place {
  readonly loadCore: number
  readonly workDirectory: string
}

export interface Durations {
  readonly warmUpS: number
  readonly requestsS: number
  readonly streamsS: number
}

const smallBytes = 60
const largeBytes = 400_000
const tokensPerSecond = 50
const ideal = (): boolean => true

export function scenarios(durations: Durations): readonly Scenario[] {
  const manyConnections = { connections: 32, promptBytes: smallBytes }
  const oneConnection = { connections: 1, promptBytes: smallBytes }
  const largePrompts = { connections: 8, promptBytes: largeBytes }
  return [
    requests('requests', 'Small chat requests, 32 connections', manyConnections, durations),
    requests('latency', 'Small chat requests, 1 connection', oneConnection, durations),
    requests('large', 'Prompts of 400 KB, 8 connections', largePrompts, durations),
    streams(20, ideal, durations),
    streams(200, (peer) => peer.streamsMax >= 200, durations),
    streams(1_000, (peer) => peer.streamsMax >= 1_000, durations),
  ]
}

function requests(
  id: string,
  title: string,
  load: Omit<RequestLoad, 'seconds'>,
  durations: Durations,
): Scenario {
  return {
    id,
    title,
    unit: 'request',
    suits: ideal,
    async measure(peer, { loadCore, workDirectory }) {
      const at = { core: loadCore, workDirectory }
      await loadRequests(peer, { ...load, seconds: durations.warmUpS }, at)
      const before = { own: cpuSeconds(peer.pids()), other: cpuSeconds(peer.otherPids()) }
      const result = await loadRequests(peer, { ...load, seconds: durations.requestsS }, at)
      const own = cpuSeconds(peer.pids()) - before.own
      const other = cpuSeconds(peer.otherPids()) - before.other
      return {
        cpuMicros: (own * 1e6) / result.requests,
        otherCpuMicros: (other * 1e6) / result.requests,
        perSecond: result.requests / result.seconds,
        p50Ms: result.p50Ms,
        p95Ms: result.p95Ms,
        p99Ms: result.p99Ms,
        failures: result.failures,
        cpuShare: own / result.seconds,
        heldBytes: residentBytes(peer.pids()),
      }
    },
  }
}

function streams(count: number, suits: Scenario['suits'], durations: Durations): Scenario {
  const load: StreamLoad = { streams: count, tokensPerSecond, seconds: durations.streamsS }
  return {
    id: `streams-${count}`,
    title: `${count} streams at once, ${tokensPerSecond} tokens/s each`,
    unit: 'event',
    suits,
    async measure(peer, { loadCore }) {
      const result = await loadStreams(peer, load, loadCore)
      return {
        cpuMicros: result.cpuMicrosPerEvent,
        otherCpuMicros: result.otherCpuMicrosPerEvent,
        perSecond: result.eventsPerSecond,
        p50Ms: result.firstEventP50Ms,
        p99Ms: result.firstEventP99Ms,
        gapP50Ms: result.gapP50Ms,
        gapP99Ms: result.gapP99Ms,
        lost: result.lost,
        short: result.short,
        cpuShare: result.cpuShare,
        heldBytes: result.heldBytes,
      }
    },
  }
}
