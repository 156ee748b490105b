/** A real engine of this lane: what runs, what it offers, and what came of asking it. Types only. */

export type OfferedTask = 'chat' | 'embedding' | 'transcription'

/** A model behind the gateway, and the engine that serves it. */
export interface Offer {
  readonly task: OfferedTask
  /** Its id in Colonnade. */
  readonly model: string
  /** Of the engine itself. */
  readonly baseUrl: string
  /** The engine's process, where it is ours to look at. */
  readonly processId: number | undefined
}

export interface RealEngine {
  /** The adapter's kind, which detection must find. */
  readonly kind: string
  readonly name: string
  readonly version: string
  readonly offers: readonly Offer[]
}

/** `no`: the engine says, or is known, not to do it. `failed`: it should, and it does not. */
export interface Outcome {
  readonly state: 'yes' | 'no' | 'failed'
  readonly note?: string | undefined
}

export interface Row {
  readonly engine: string
  readonly version: string
  readonly outcomes: Readonly<Record<string, Outcome>>
}
