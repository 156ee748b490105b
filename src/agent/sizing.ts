/** How much of a model's window this machine can serve, and to how many requests at once. Pure. */

export interface SizingQuestion {
  /** What an operator asked for. */
  readonly wantedTokens: number | undefined
  /** What the model was trained for. */
  readonly trainedTokens: number | undefined
  readonly cacheBytesPerToken: number | undefined
  /** Memory that the engine's cache may take. */
  readonly cacheBytes: number
  readonly parallelMax: number
}

export interface Sizing {
  /** For each sequence; `undefined` leaves it to the engine. */
  readonly contextWindowTokens: number | undefined
  readonly parallel: number
}

/** Below this, room for one request comes before room for more requests. */
const comfortableTokens = 8_192
/** Even on the smallest machine a conversation needs some room. */
const windowTokensMin = 2_048
const windowTokensStep = 1_024

/** Every sequence has a cache of the whole window. Sequences are given up first, then the window's length. */
export function sizeEngine(question: SizingQuestion): Sizing {
  const { wantedTokens, trainedTokens, cacheBytesPerToken, cacheBytes, parallelMax } = question
  const goal =
    wantedTokens === undefined || trainedTokens === undefined
      ? (wantedTokens ?? trainedTokens)
      : Math.min(wantedTokens, trainedTokens)
  if (goal === undefined || cacheBytesPerToken === undefined) {
    return { contextWindowTokens: goal, parallel: parallelMax }
  }
  const fittingTokens = (parallel: number): number =>
    Math.floor(cacheBytes / cacheBytesPerToken / parallel / windowTokensStep) * windowTokensStep
  const roomTokens = wantedTokens === undefined ? Math.min(goal, comfortableTokens) : goal
  let parallel = parallelMax
  while (parallel > 1 && fittingTokens(parallel) < roomTokens) parallel = Math.floor(parallel / 2)
  // An operator's wish is kept, whatever it costs; the trained window is only a goal.
  const windowTokens =
    wantedTokens === undefined
      ? Math.min(goal, Math.max(fittingTokens(parallel), windowTokensMin))
      : goal
  return { contextWindowTokens: windowTokens, parallel }
}
