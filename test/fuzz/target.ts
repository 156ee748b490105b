/** What is fuzzed. Types only. */
export interface Target {
  readonly name: string
  /** Makes one case; what it returns runs it. That throws when the case does not hold; what a reader refuses in its proper way holds. */
  prepare(random: () => number): () => Promise<void>
  close?(): Promise<void>
}
