/** What a proxy used of the machine between two moments, and who else was there. */
import type { RunningPeer } from './peers/peer.ts'
import { coreBusySeconds, cpuSeconds, type Cores } from './process.ts'

export interface Usage {
  readonly seconds: number
  /** CPU seconds of the proxy. */
  readonly own: number
  /** CPU seconds of what it keeps running beside the proxy. */
  readonly other: number
  /** The share of the proxy's core that neither the proxy nor idling used. High: the measurement was disturbed. */
  readonly foreignShare: number
  /** The share of the load's core that was busy. At 1, the load is the limit. */
  readonly loadShare: number
}

/** Starts to watch; the returned function tells what happened since. */
export function watchUsage(peer: RunningPeer, cores: Cores): () => Usage {
  const before = read(peer, cores)
  return () => {
    const after = read(peer, cores)
    const seconds = (after.atMs - before.atMs) / 1_000
    const own = after.own - before.own
    const proxyCore = after.proxyCore - before.proxyCore
    return {
      seconds,
      own,
      other: after.other - before.other,
      foreignShare: Math.max(0, proxyCore - own) / seconds,
      loadShare: (after.loadCore - before.loadCore) / seconds,
    }
  }
}

interface Reading {
  readonly atMs: number
  readonly own: number
  readonly other: number
  readonly proxyCore: number
  readonly loadCore: number
}

function read(peer: RunningPeer, cores: Cores): Reading {
  return {
    atMs: performance.now(),
    own: cpuSeconds(peer.pids()),
    other: cpuSeconds(peer.otherPids()),
    proxyCore: coreBusySeconds(cores.proxy),
    loadCore: coreBusySeconds(cores.load),
  }
}
