/** What the readers of containers share. Types only. */

/** A length by content, and what engines tell the container by. */
export interface AudioKind {
  readonly mediaType: string
  readonly extension: string
}

/**
 * Returns milliseconds with fractions; `undefined` for bytes that are not what they seem. Yields after every few thousand steps, so that the event
 * loop can go on in between. The work is linear in the file's size.
 */
export type Measurement = Generator<undefined, number | undefined>

/** Steps between two yields: well below a millisecond. */
export const stepsPerYield = 2_048
