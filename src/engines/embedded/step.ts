/** What goes into the next batch. Pure. */

/** Of each step's tokens, what running answers get while prompts wait for their first token. */
const answerShare = 1 / 4

export interface StepPart<T> {
  readonly sequence: T
  readonly tokens: number
}

/**
 * Without prompts, every answer gets its next token. Prompts come first, the oldest ahead, because someone waits for a first word; but
 * answers keep a share of the tokens. It is saved up as credit until all of them can go on together, for a batch costs less
 * than its parts. Pure.
 */
export function planStep<
  T extends { readonly pending: Uint32Array; readonly generatedTokens: number },
>(
  running: readonly T[],
  stepTokens: number,
  creditBefore: number,
): { readonly parts: readonly StepPart<T>[]; readonly credit: number } {
  const answers = running.filter((sequence) => sequence.generatedTokens > 0)
  const prompts = running.filter((sequence) => sequence.generatedTokens === 0)
  const parts: StepPart<T>[] = []
  let credit = prompts.length === 0 ? answers.length : creditBefore + stepTokens * answerShare
  let left = stepTokens
  if (credit >= answers.length) {
    for (const sequence of answers) parts.push({ sequence, tokens: 1 })
    left -= answers.length
    credit = 0
  }
  for (const sequence of prompts) {
    if (left <= 0) break
    const tokens = Math.min(left, sequence.pending.length)
    parts.push({ sequence, tokens })
    left -= tokens
  }
  return { parts, credit }
}
