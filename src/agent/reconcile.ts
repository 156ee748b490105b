/** Desired and actual → what to do. Pure: the agent looks, asks here, and acts. */
import type { DesiredState } from './protocol.ts'

export type Deployment = DesiredState['deployments'][number]

/** What decides whether a running engine is the one that is wanted. What an agent reports back itself is left out. */
export function fingerprint(deployment: Deployment): string {
  return JSON.stringify([
    deployment.modelId,
    deployment.weightSources,
    Object.entries(deployment.settings).toSorted(([a], [b]) => (a < b ? -1 : 1)),
  ])
}

export type Action =
  | { readonly kind: 'start'; readonly deployment: Deployment }
  /** Stop first, start when it is gone: the model's memory may not fit twice. */
  | { readonly kind: 'replace'; readonly deployment: Deployment }
  | { readonly kind: 'stop'; readonly modelId: string }

/** `actual` maps each model that has a runner to the fingerprint that it was started with. */
export function reconcile(
  desired: readonly Deployment[],
  actual: ReadonlyMap<string, string>,
): Action[] {
  const actions: Action[] = []
  const wanted = new Set(desired.map((deployment) => deployment.modelId))
  // Stops come first: they free memory and threads for what starts.
  for (const modelId of actual.keys()) {
    if (!wanted.has(modelId)) actions.push({ kind: 'stop', modelId })
  }
  for (const deployment of desired) {
    const running = actual.get(deployment.modelId)
    if (running === undefined) actions.push({ kind: 'start', deployment })
    else if (running !== fingerprint(deployment)) actions.push({ kind: 'replace', deployment })
  }
  return actions
}

/** An engine that lived this long had started well; its end begins a new count. */
export const steadyAfterMs = 60_000
/** After this many quick failures the replica counts as failed, and is tried at a slow pace. */
export const quickFailuresMax = 5
const firstDelayMs = 500
const slowDelayMs = 30_000
const slowDelayMsMax = 300_000

/** How long to wait before attempt `failures + 1`: 0.5, 1, 2, 4 s, then 30 s, doubling up to 5 minutes. */
export function restartDelayMs(failures: number): number {
  if (failures <= 0) return 0
  if (failures < quickFailuresMax) return firstDelayMs * 2 ** (failures - 1)
  return Math.min(slowDelayMs * 2 ** Math.min(failures - quickFailuresMax, 10), slowDelayMsMax)
}

export function hasFailed(failures: number): boolean {
  return failures >= quickFailuresMax
}

/** One core stays for gateways and database. More threads than cores ruin decoding. */
export function threadsOfMachine(cores: number): number {
  return Math.max(1, cores - 1)
}

/** An engine's share of the machine's threads. */
export function threadsForEngine(threads: number, engines: number): number {
  return Math.max(1, Math.floor(threads / Math.max(1, engines)))
}
