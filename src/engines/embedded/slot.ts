/** Which sequence of the context a request gets, so that what is already in its cache need not be computed again. Pure. */

export interface SlotCache {
  /** The tokens whose keys and values the sequence holds, by position. */
  readonly tokens: readonly number[]
  /** Only requests with the same salt may share what they left behind; it separates tenants. */
  readonly salt: string
  /** Grows with each use; the smallest was used longest ago. */
  readonly lastUse: number
}

export interface SlotChoice {
  readonly index: number
  /** How many tokens at the start of the prompt are in the cache already. */
  readonly reusedTokens: number
}

/** A shared beginning below this part of the prompt is not worth the loss of the rest of that cache. */
const worthwhileShare = 0.1

/** Returns the free slot with the longest usable prefix, else the one used longest ago; `undefined` when none is free. */
export function chooseSlot(
  free: ReadonlyMap<number, SlotCache>,
  prompt: Uint32Array,
  salt: string,
): SlotChoice | undefined {
  let longest: SlotChoice | undefined
  let oldest: { index: number; lastUse: number } | undefined
  for (const [index, cache] of free) {
    const reusedTokens = cache.salt === salt ? commonPrefix(cache.tokens, prompt) : 0
    if (!longest || reusedTokens > longest.reusedTokens) longest = { index, reusedTokens }
    if (!oldest || cache.lastUse < oldest.lastUse) oldest = { index, lastUse: cache.lastUse }
  }
  if (!longest || !oldest) return undefined
  if (longest.reusedTokens > prompt.length * worthwhileShare) return longest
  return { index: oldest.index, reusedTokens: 0 }
}

/** The last token of the prompt never counts: it must be computed to know what follows. */
export function commonPrefix(cached: readonly number[], prompt: Uint32Array): number {
  const lengthMax = Math.min(cached.length, prompt.length - 1)
  let length = 0
  while (length < lengthMax && cached[length] === prompt[length]) length += 1
  return Math.max(0, length)
}
