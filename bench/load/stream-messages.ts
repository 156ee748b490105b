/** What the bench and its stream client say to each other. */

export interface StreamOrder {
  readonly host: string
  readonly port: number
  readonly headers: Readonly<Record<string, string>>
  readonly model: string
  readonly streams: number
  readonly tokens: number
  /** The streams are opened evenly within this time. */
  readonly rampMs: number
}

/** `mark` begins a window: it answers with what came so far, and forgets the gaps measured before. */
export type ToClient =
  | { readonly type: 'start'; readonly order: StreamOrder }
  | { readonly type: 'mark' }

export interface Marked {
  readonly type: 'marked'
  readonly atMs: number
  readonly events: number
  /** Between two events of one stream. */
  readonly gapP50Ms: number
  readonly gapP99Ms: number
}

export interface Ended {
  readonly type: 'ended'
  readonly complete: number
  readonly lost: number
  /** The most streams that had begun and not ended at one time. */
  readonly heldMax: number
  /** Streams that ended with [DONE] but brought fewer events than tokens. */
  readonly short: number
  readonly firstEventP50Ms: number
  readonly firstEventP99Ms: number
  /** Of the streams that failed, the first few. */
  readonly complaints: readonly string[]
}

export type FromClient = { readonly type: 'holding' } | Marked | Ended
