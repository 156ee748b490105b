/** A way to hold a limit on tokens per minute, as the replay asks it. */

export interface Ask {
  readonly inputTokens: number
  readonly outputTokensMax: number
}

export interface Admitted {
  /** Output tokens that may pass from now on, in all. */
  covered(passed: number): number
  /** Asks for more, because what is covered has passed. Tells whether there is any. */
  more(passed: number): Promise<boolean>
  end(outputTokens: number): void
}

export interface Policy {
  readonly name: string
  admit(ask: Ask): Promise<Admitted | undefined>
  /** What it charged to each window, by start. */
  charged(): ReadonlyMap<number, number>
  close(): Promise<void>
}

export interface PolicyWorld {
  readonly limitTokens: number
  readonly nowMs: () => number
}

export const windowMs = 60_000

/** Reserves the input and the longest answer that was asked for; what is not spent is free at the end. */
export function reserveMaximum({ limitTokens, nowMs }: PolicyWorld): Policy {
  const spent = new Map<number, number>()
  const reserved = new Map<number, number>()
  return {
    name: 'reserve input + max_tokens',
    async admit({ inputTokens, outputTokensMax }) {
      const start = windowStart(nowMs())
      const amount = inputTokens + outputTokensMax
      const taken = (spent.get(start) ?? 0) + (reserved.get(start) ?? 0)
      if (taken + amount > limitTokens) return undefined
      add(reserved, start, amount)
      return {
        covered: () => outputTokensMax,
        more: async () => false,
        end(outputTokens) {
          add(reserved, start, -amount)
          add(spent, start, inputTokens + outputTokens)
        },
      }
    },
    charged: () => spent,
    close: async () => {},
  }
}

/** Lets in while anything is left, and counts what was spent at the end of each answer. */
export function countAfterwards({ limitTokens, nowMs }: PolicyWorld): Policy {
  const spent = new Map<number, number>()
  return {
    name: 'count afterwards',
    async admit({ inputTokens, outputTokensMax }) {
      if ((spent.get(windowStart(nowMs())) ?? 0) >= limitTokens) return undefined
      return {
        covered: () => outputTokensMax,
        more: async () => false,
        end: (outputTokens) => add(spent, windowStart(nowMs()), inputTokens + outputTokens),
      }
    },
    charged: () => spent,
    close: async () => {},
  }
}

export function windowStart(atMs: number): number {
  return Math.floor(atMs / windowMs) * windowMs
}

export function add(counts: Map<number, number>, start: number, amount: number): void {
  counts.set(start, (counts.get(start) ?? 0) + amount)
}
