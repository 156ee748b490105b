/** Holds up whoever comes while it is shut: an engine, for as long as a test wants its requests to be under way. */
export interface Gate {
  /** Resolves at once while it is open, and else when it opens. */
  passed(): Promise<void>
  shut(): void
  open(): void
}

export function createGate(): Gate {
  let opened = Promise.withResolvers<void>()
  opened.resolve()
  return {
    passed: () => opened.promise,
    shut() {
      opened = Promise.withResolvers()
    },
    open: () => opened.resolve(),
  }
}
