/** How much of a model's window this machine can serve. Pure. */

export interface WindowQuestion {
  /** What an operator asked for. */
  readonly wanted: number | undefined
  /** What the model was trained for. */
  readonly trained: number | undefined
  readonly cacheBytesPerToken: number | undefined
  readonly cacheBytes: number
}

/** Even on the smallest machine a conversation needs some room. */
const windowTokensMin = 2_048
const windowTokensStep = 1_024

/** The window asked for, or the trained one as far as its cache fits into memory; `undefined` leaves it to the engine. */
export function windowToServe(question: WindowQuestion): number | undefined {
  const { wanted, trained, cacheBytesPerToken, cacheBytes } = question
  if (wanted !== undefined) return trained === undefined ? wanted : Math.min(wanted, trained)
  if (trained === undefined || cacheBytesPerToken === undefined) return trained
  const fitting = Math.floor(cacheBytes / cacheBytesPerToken / windowTokensStep) * windowTokensStep
  return Math.min(trained, Math.max(fitting, windowTokensMin))
}
