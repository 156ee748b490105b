/** What is fuzzed. Types only. */
export interface Target {
  readonly name: string
  /** Runs one case. Throws when the case does not hold; what a reader refuses in its proper way holds. */
  run(random: () => number): void | Promise<void>
  /** Whether `run` takes its time on this very thread, so that its CPU can be judged. */
  readonly isOnThisThread: boolean
  close?(): Promise<void>
}
