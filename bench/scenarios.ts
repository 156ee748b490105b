/** What is measured. A scenario turns one run against one proxy into named numbers; rounds and medians are run.ts's. */
import { readFileSync } from 'node:fs'
import { loadRequests, type RequestLoad } from './load/requests.ts'
import { loadStreams, type StreamLoad } from './load/streams.ts'
import type { Peer, RunningPeer } from './peers/peer.ts'
import { residentBytes } from './process.ts'
import type { Cores } from './process.ts'
import { watchUsage, type Usage } from './usage.ts'

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
  | 'held'
  | 'short'
  | 'heldBytes'
  | 'foreignShare'
  | 'loadShare'

export type Metrics = Readonly<Partial<Record<Metric, number>>>

export interface Scenario {
  readonly id: string
  readonly title: string
  /** What one unit of `cpuMicros` and `perSecond` is. */
  readonly unit: 'request' | 'event'
  readonly suits: (peer: Peer) => boolean
  readonly measure: (peer: RunningPeer, place: Place) => Promise<Measured>
}

export interface Measured {
  readonly metrics: Metrics
  /** About requests and streams that failed. */
  readonly complaints: readonly string[]
}

export interface Place {
  readonly cores: Cores
  readonly workDirectory: string
}

export interface Durations {
  readonly warmUpS: number
  readonly requestsS: number
  readonly streamsS: number
}

const smallBytes = 60
const largeBytes = 400_000
/** Of each stream. The mock engine is started with it. */
export const tokensPerSecond = 50
/** As long as this again and again, until all keys were used. */
const eachKeyS = 5
const always = (): boolean => true

export function scenarios(durations: Durations): readonly Scenario[] {
  const manyConnections = { connections: 32, promptBytes: smallBytes }
  const oneConnection = { connections: 1, promptBytes: smallBytes }
  const largePrompts = { connections: 8, promptBytes: largeBytes }
  return [
    requests('requests', 'Small chat requests, 32 connections', manyConnections, durations),
    requests('latency', 'Small chat requests, 1 connection', oneConnection, durations),
    requests('large', 'Prompts of 400 KB, 8 connections', largePrompts, durations),
    streams(20, always, durations),
    streams(200, (peer) => peer.streamsMax >= 200, durations),
    streams(1_000, (peer) => peer.streamsMax >= 1_000, durations),
  ]
}

/** Of peers with many keys. Longer than the others: some windows of limits begin anew meanwhile. */
export function limitScenarios(durations: Durations): readonly Scenario[] {
  const load = { connections: 32, promptBytes: smallBytes, keys: 'random' } as const
  const longer = { ...durations, requestsS: durations.requestsS * 5 }
  return [requests('limits', 'Small chat requests with keys at random', load, longer)]
}

/** Each key once: what a gateway learns or fetches at a key's first request is there. */
export async function useEachKey(peer: RunningPeer, keysFile: string, place: Place): Promise<void> {
  const at = { core: place.cores.load, workDirectory: place.workDirectory }
  const lines = readFileSync(keysFile, 'utf8').trimEnd().split('\n').length
  for (let fromLine = 0; fromLine < lines;) {
    const load = { connections: 32, promptBytes: smallBytes, seconds: eachKeyS }
    const { requests } = await loadRequests(peer, { ...load, keys: { fromLine } }, at)
    if (requests === 0) throw new Error('no request was answered')
    fromLine += requests
  }
}

/** Half of the time whole answers, then streams, so that both paths are compiled before they are measured. */
export async function warmUp(peer: RunningPeer, seconds: number, place: Place): Promise<void> {
  const at = { core: place.cores.load, workDirectory: place.workDirectory }
  const requestSeconds = Math.ceil(seconds / 2)
  await loadRequests(
    peer,
    { connections: 16, promptBytes: smallBytes, seconds: requestSeconds },
    at,
  )
  await loadStreams(peer, { streams: 20, tokensPerSecond, seconds: seconds / 2 }, place.cores)
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
    suits: always,
    async measure(peer, { cores, workDirectory }) {
      const at = { core: cores.load, workDirectory }
      await loadRequests(peer, { ...load, seconds: durations.warmUpS }, at)
      const usageSince = watchUsage(peer, cores)
      const result = await loadRequests(peer, { ...load, seconds: durations.requestsS }, at)
      const { requests: count, seconds, ...told } = result
      const metrics = {
        ...shared(usageSince(), count),
        ...told,
        perSecond: count / seconds,
        heldBytes: residentBytes(peer.pids()),
      }
      return { metrics, complaints: [] }
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
    async measure(peer, { cores }) {
      const { usage, events, ended, ...result } = await loadStreams(peer, load, cores)
      const metrics = {
        ...shared(usage, events),
        perSecond: result.eventsPerSecond,
        p50Ms: ended.firstEventP50Ms,
        p99Ms: ended.firstEventP99Ms,
        gapP50Ms: result.gapP50Ms,
        gapP99Ms: result.gapP99Ms,
        lost: ended.lost,
        held: ended.heldMax,
        short: ended.short,
        heldBytes: result.heldBytes,
      }
      return { metrics, complaints: ended.complaints }
    },
  }
}

function shared(usage: Usage, count: number): Metrics {
  return {
    cpuMicros: (usage.own * 1e6) / count,
    otherCpuMicros: (usage.other * 1e6) / count,
    cpuShare: usage.own / usage.seconds,
    foreignShare: usage.foreignShare,
    loadShare: usage.loadShare,
  }
}
