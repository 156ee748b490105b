/** A replica: one engine that serves one model at one address. Pure. */
export const replicaStates = [
  'pending',
  'pulling',
  'starting',
  'ready',
  'failed',
  'stopped',
] as const
export type ReplicaState = (typeof replicaStates)[number]

/** A replica as people see it. */
export interface Replica {
  readonly id: string
  readonly modelId: string
  /** `null` for an engine that somebody else runs. */
  readonly nodeName: string | null
  readonly engineKind: string
  readonly engineModel: string
  readonly baseUrl: string | null
  /** Where prompts go: `local` for machines of our own; `null` when nobody has said. */
  readonly location: string | null
  /** Who runs it: `own`, or a provider. */
  readonly operator: string
  readonly settings: Readonly<Record<string, string>>
  readonly state: ReplicaState
  readonly detail: string | null
  readonly progress: number | null
  /** Its node has been silent: the state is the last that was heard. */
  readonly stale: boolean
  readonly updatedAtMs: number
}

/** What an agent says about one of its replicas. */
export interface ReplicaReport {
  readonly modelId: string
  readonly state: ReplicaState
  readonly engineKind: string
  readonly engineModel: string
  readonly baseUrl: string | null
  readonly detail: string | null
  readonly progress: number | null
}

/** A replica that a gateway may send work to, in a form that survives JSON. */
export interface ReplicaRecord {
  readonly id: string
  readonly modelId: string
  readonly engineKind: string
  readonly baseUrl: string
  /** The name that the engine itself gives the model. */
  readonly engineModel: string
  /** Where prompts go: `local` for machines of our own; `undefined` when nobody has said. */
  readonly location: string | undefined
  /** What the adapter needs to know beside: region, API version. */
  readonly settings?: Readonly<Record<string, string>> | undefined
  /** The engine's key in base64, sealed for the context that `engineKeyContext` names. */
  readonly sealedKey: string | undefined
}

export interface DesiredReplica {
  readonly modelId: string
  readonly settings: Readonly<Record<string, unknown>>
}

export interface ReplicaFilter {
  readonly modelIds?: readonly string[] | undefined
  /** The last id of the page before. */
  readonly after?: string | undefined
  readonly limit: number
}

export interface ExternalEngine {
  readonly modelId: string
  readonly engineKind: string
  readonly baseUrl: string
  readonly engineModel: string
  /** Seals the engine's key for this replica; `undefined` for an engine without one. */
  readonly sealKey: ((context: string) => Buffer) | undefined
  /** Where prompts go, and who reads them; left out, they are what the address tells (`placeOf`). */
  readonly location?: string | undefined
  readonly operator?: string | undefined
  readonly settings?: Readonly<Record<string, string>> | undefined
}

/** Who speaks plain HTTP is on our own network; of others, only an operator knows the place. */
export function placeOf(baseUrl: string): 'local' | undefined {
  return baseUrl.startsWith('http://') ? 'local' : undefined
}

/** An agent reports every 5 s; after six missed reports its word is old. */
export const staleAfterMs = 30_000

export function isStale(heartbeatAtMs: number | undefined, nowMs: number): boolean {
  return heartbeatAtMs === undefined || nowMs - heartbeatAtMs > staleAfterMs
}

/** Whole percents: finer steps would be written for nobody. */
export function coarseProgress(progress: number | null): number | null {
  return progress === null ? null : Math.floor(progress * 100) / 100
}
