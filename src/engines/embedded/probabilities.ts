/** What the model itself thought of its next token. Pure. */

export interface Candidate {
  readonly token: number
  readonly logprob: number
}
/** Of the model's own distribution, before temperature and the like. */
export interface TokenProbabilities {
  readonly logprob: number
  readonly top: readonly Candidate[]
}

/** `all` holds tokens and probabilities in pairs, the likeliest first. */
export function readProbabilities(
  all: readonly number[],
  token: number,
  top: number,
): TokenProbabilities {
  const candidate = (at: number): Candidate => ({
    token: all[at] ?? 0,
    logprob: toLogprob(all[at + 1] ?? 0),
  })
  let at = 0
  while (at < all.length && all[at] !== token) at += 2
  return {
    logprob: candidate(at).logprob,
    top: Array.from({ length: Math.min(top, all.length / 2) }, (_, rank) => candidate(rank * 2)),
  }
}

/** JSON has no infinity; OpenAI writes this number for the impossible. */
const impossibleLogprob = -9999

function toLogprob(probability: number): number {
  return probability > 0 ? Math.log(probability) : impossibleLogprob
}
