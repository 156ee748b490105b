/** A way to hold a limit on tokens per minute, as the replay asks it. */
import type { Bucket } from './bucket.ts'

export interface Ask {
  readonly inputTokens: number
  readonly outputTokensMax: number
}

export interface Admitted {
  /** Output tokens that may pass so far, in all. */
  covered(passed: number): number
  /** Asks for more, because what is covered has passed. Tells whether there is any. */
  more(): Promise<boolean>
  end(outputTokens: number): void
}

export interface Policy {
  readonly name: string
  admit(ask: Ask): Promise<Admitted | undefined>
  close(): Promise<void>
}

export interface PolicyWorld {
  readonly limitTokens: number
  readonly nowMs: () => number
  /** Judges the policy: all that it takes and gives back passes through here. A simple policy decides by it, too. */
  readonly bucket: Bucket
}

/** Reserves the input and the longest answer that was asked for, and gives back at the end what was not spent. */
export function reserveMaximum({ bucket }: PolicyWorld): Policy {
  return {
    name: 'reserve input + max_tokens',
    async admit({ inputTokens, outputTokensMax }) {
      if (bucket.level() < inputTokens + outputTokensMax) return undefined
      bucket.take(inputTokens + outputTokensMax)
      return {
        covered: () => outputTokensMax,
        more: async () => false,
        end: (outputTokens) => bucket.giveBack(outputTokensMax - outputTokens),
      }
    },
    close: async () => {},
  }
}

/** Lets in while anything is left, and counts what was spent at the end of each answer. */
export function countAfterwards({ bucket }: PolicyWorld): Policy {
  return {
    name: 'count afterwards',
    async admit({ inputTokens, outputTokensMax }) {
      if (bucket.level() <= 0) return undefined
      return {
        covered: () => outputTokensMax,
        more: async () => false,
        end: (outputTokens) => bucket.take(inputTokens + outputTokens),
      }
    },
    close: async () => {},
  }
}
