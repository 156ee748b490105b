/** An assertion states what must be true whatever the input; when it fails, the program has a bug. */
export class AssertionFailed extends Error {
  override readonly name = 'AssertionFailed'
}

/** Throws `AssertionFailed` with the given sentence when the condition does not hold. */
export function assert(condition: unknown, sentence: string): asserts condition {
  if (!condition) throw new AssertionFailed(sentence)
}
