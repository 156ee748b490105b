/**
 * Content that is kept sealed with a random key of its own, which stands beside it, sealed with the installation's secret: whoever deletes the row has
 * deleted the key, and with it the content.
 */
import { assert } from './assert.ts'
import { createSeal, newSealingKey, type Seal } from './seal.ts'

/** Content is sealed and kept in pieces of this. */
export const chunkBytes = 256 * 1024

export interface ContentKey {
  /** Seals and opens the content. */
  readonly content: Seal
  /** For the row. */
  readonly sealedKey: Buffer
}

export function newContentKey(seal: Seal, context: string): ContentKey {
  const key = newSealingKey()
  return { content: createSeal(key), sealedKey: seal.seal(key, context) }
}

export function openContentKey(seal: Seal, sealedKey: Buffer, context: string): Seal {
  const key = seal.open(sealedKey, context)
  assert(key, 'the key of content opens with the installation’s secret')
  return createSeal(key)
}

/** Deletes some at a time, each time in a transaction of its own, until there is nothing left to delete. Tells how many went. */
export async function sweepInSteps(
  atOnceMax: number,
  deleteSome: (rowsMax: number) => Promise<number>,
): Promise<number> {
  let swept = 0
  for (;;) {
    const gone = await deleteSome(atOnceMax)
    swept += gone
    if (gone < atOnceMax) return swept
  }
}
