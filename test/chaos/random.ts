/** Mulberry32: small, and the same numbers from the same seed everywhere. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** From 0 up to, and without, the end. */
export function below(random: () => number, end: number): number {
  return Math.floor(random() * end)
}

export function pick<Item>(random: () => number, items: readonly [Item, ...Item[]]): Item {
  return items[below(random, items.length)] ?? items[0]
}
