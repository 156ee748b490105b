/** The replicas that this gateway can reach: their engines, and what it knows of them from its own traffic. */
import type { Engine, StreamPart } from '../engines/engine.ts'
import { mayGoTo } from '../identity/residency.ts'
import { planAttempts, type Candidate } from '../router/router.ts'
import type { Clock } from '../platform/clock.ts'
import type { ReplicaRecord } from '../fleet/fleet.ts'

export interface Replica {
  readonly id: string
  readonly modelId: string
  readonly engineModel: string
  /** Where prompts go that are sent to it; `undefined` when nobody has said. */
  readonly location: string | undefined
  readonly engine: Engine
}

/** A replica's answer, from the moment that its engine accepted the request. */
export interface EngineAnswer {
  readonly replicaId: string
  readonly parts: AsyncIterable<StreamPart>
  /** Called once, when no more is read: whether the end was seen, and what went wrong if something did. */
  closed(isWhole: boolean, error?: unknown): void
}

export interface Replicas {
  /** Replaces the known set; engines that stay keep their connections and their record. */
  apply(records: readonly ReplicaRecord[]): void
  /** The attempts for a model, best first, at places where the caller's prompts may go; empty when no such replica serves it. */
  plan(modelId: string, allowedLocations: readonly string[]): readonly Replica[]
  /** Whether the model is served, but only where the caller's prompts may not go. */
  isDenied(modelId: string, allowedLocations: readonly string[]): boolean
  began(replica: Replica): void
  ended(replica: Replica): void
  succeeded(replica: Replica): void
  failed(replica: Replica): void
  inFlight(): ReadonlyMap<string, number>
  close(): Promise<void>
}

interface Entry {
  readonly replica: Replica
  readonly fingerprint: string
  inFlight: number
  failuresInARow: number
  failedAtMs: number
}

export function createReplicas(options: {
  readonly connect: (record: ReplicaRecord) => Engine
  readonly clock: Clock
  readonly onCloseError: (error: unknown) => void
}): Replicas {
  const { clock } = options
  let entries = new Map<string, Entry>()
  let byModel = new Map<string, Entry[]>()
  let turn = 0

  const retire = (entry: Entry): void => {
    // Its streams go on; the connections close when the last one has ended.
    if (entry.inFlight === 0) entry.replica.engine.close().catch(options.onCloseError)
  }
  const isCurrent = (entry: Entry): boolean => entries.get(entry.replica.id) === entry
  /** Retired entries are still found by the requests that they serve. */
  const owners = new WeakMap<Replica, Entry>()

  return {
    apply(records) {
      const before = entries
      entries = new Map()
      byModel = new Map()
      for (const record of records) {
        const fingerprint = JSON.stringify([
          record.baseUrl,
          record.engineKind,
          record.engineModel,
          record.sealedKey,
          record.location,
          record.settings,
        ])
        const known = before.get(record.id)
        const entry = known?.fingerprint === fingerprint ? known : open(record, fingerprint)
        entries.set(record.id, entry)
        byModel.set(record.modelId, [...(byModel.get(record.modelId) ?? []), entry])
      }
      for (const entry of before.values()) if (!isCurrent(entry)) retire(entry)
    },
    isDenied(modelId, allowedLocations) {
      const known = byModel.get(modelId)
      return (
        known !== undefined &&
        !known.some(({ replica }) => mayGoTo(replica.location, allowedLocations))
      )
    },
    plan(modelId, allowedLocations) {
      const all = byModel.get(modelId) ?? []
      const known = all.filter(({ replica }) => mayGoTo(replica.location, allowedLocations))
      if (known.length === 1 && known[0]) return [known[0].replica]
      turn += 1
      const candidates: Candidate[] = known.map((entry) => ({
        replicaId: entry.replica.id,
        inFlight: entry.inFlight,
        failuresInARow: entry.failuresInARow,
        failedAtMs: entry.failedAtMs,
      }))
      return planAttempts(candidates, clock.monotonicMs(), turn).flatMap(
        (id) => entries.get(id)?.replica ?? [],
      )
    },
    began(replica) {
      const entry = owners.get(replica)
      if (entry) entry.inFlight += 1
    },
    ended(replica) {
      const entry = owners.get(replica)
      if (!entry) return
      entry.inFlight -= 1
      if (!isCurrent(entry)) retire(entry)
    },
    succeeded(replica) {
      const entry = owners.get(replica)
      if (entry) entry.failuresInARow = 0
    },
    failed(replica) {
      const entry = owners.get(replica)
      if (!entry) return
      entry.failuresInARow += 1
      entry.failedAtMs = clock.monotonicMs()
    },
    inFlight: () =>
      new Map([...entries.values()].map((entry) => [entry.replica.id, entry.inFlight])),
    async close() {
      await Promise.all([...entries.values()].map((entry) => entry.replica.engine.close()))
    },
  }

  function open(record: ReplicaRecord, fingerprint: string): Entry {
    const replica = {
      id: record.id,
      modelId: record.modelId,
      engineModel: record.engineModel,
      location: record.location,
      engine: options.connect(record),
    }
    const entry = { replica, fingerprint, inFlight: 0, failuresInARow: 0, failedAtMs: 0 }
    owners.set(replica, entry)
    return entry
  }
}
