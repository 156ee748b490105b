/** What a fault of the catalogue is: what is done to the platform, what must happen, and how it was judged. */
export interface Fault {
  /** `f1` … of the catalogue in docs/reliability.md. */
  readonly id: string
  readonly title: string
  readonly injection: string
  readonly expectation: string
  run(job: FaultJob): Promise<Finding>
}

export interface FaultJob {
  readonly random: () => number
  readonly say: (line: string) => void
}

export interface Finding {
  /** What was counted, for the table. */
  readonly facts: string
  /** One sentence for each broken promise; empty when all were kept. */
  readonly broken: readonly string[]
  /** Why there is nothing to judge. */
  readonly notRun?: string
}

/** A check that reads as a sentence: the promise, when it is broken. */
export function unless(holds: boolean, broken: string): readonly string[] {
  return holds ? [] : [broken]
}
