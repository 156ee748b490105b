/** A bucket of tokens, as a limit per minute is meant: it holds one limit, and fills evenly. */

export interface Bucket {
  /** What may be taken now; negative when too much was. */
  level(): number
  take(tokens: number): void
  /** What was taken and not spent. */
  giveBack(tokens: number): void
  /** How far below empty it has been. */
  deepest(): number
}

const minuteMs = 60_000

export function createBucket(limitTokens: number, nowMs: () => number): Bucket {
  let level = limitTokens
  let atMs = nowMs()
  let deepest = 0
  const fill = (tokens: number): void => {
    const elapsedMs = nowMs() - atMs
    atMs = nowMs()
    level = Math.min(limitTokens, level + (elapsedMs * limitTokens) / minuteMs + tokens)
  }
  return {
    level() {
      fill(0)
      return level
    },
    take(tokens) {
      fill(0)
      level -= tokens
      deepest = Math.max(deepest, -level)
    },
    giveBack: fill,
    deepest: () => deepest,
  }
}
