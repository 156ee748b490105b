/** What a kind of source has to do: one file of sources/ for each. Types only. */

export interface WeightSettings {
  /** Where weights are kept. */
  readonly directory: string
  /** The Hugging Face hub, or a mirror that speaks like it. */
  readonly hubEndpoint: string
  readonly hubToken?: string | undefined
  /** How pip is called, such as `/opt/python/bin/pip` or `python3.12 -m pip`; looked for when left out. */
  readonly pipCommand?: string | undefined
  readonly proxy: {
    readonly http?: string | undefined
    readonly https?: string | undefined
    readonly no?: string | undefined
  }
  /** The environment of this process, for pip, which has settings of its own there. What is Colonnade's is left out. */
  readonly environment: Readonly<Record<string, string | undefined>>
  /** A source that is silent for longer is passed over; 5 s when left out. */
  readonly answerTimeoutMs?: number | undefined
}

export interface FetchRequest {
  readonly source: string
  /** Files beside the one that the source names, as relative paths. */
  readonly companions: readonly string[]
  /** Where to work. What lies there from an earlier attempt at the same source may be used. */
  readonly directory: string
  /** Of the file that the source names; for checks ahead, never to be relied on. */
  readonly expectedBytes: number | undefined
  readonly settings: WeightSettings
  readonly signal: AbortSignal
  readonly onBytes: (receivedBytes: number, totalBytes: number | undefined) => void
}

export interface FetchedFile {
  readonly path: string
  /** Whether the file is the user's, who may go on using it. Ours may be moved. */
  readonly isTheUsers: boolean
}

export interface WeightSource {
  readonly schemes: readonly string[]
  /**
   * Brings the file and then its companions, in this order. Throws an `upstream.*` fault when the source is to be passed over; its
   * public message is the reason.
   */
  fetch(request: FetchRequest): Promise<readonly FetchedFile[]>
}
