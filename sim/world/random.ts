/** Chance from a seed: equal seeds draw equal numbers. Each part of the world has a stream of its own, so that one more draw in one part leaves the others as they were. */

export interface Random {
  /** Evenly in [0, 1). */
  fraction(): number
  between(low: number, high: number): number
  /** A whole number, both ends included. */
  whole(low: number, high: number): number
  /** With a tail: most draws are smaller than the mean, a few are several times as large. */
  exponential(mean: number): number
  chance(probability: number): boolean
  pick<Item>(items: readonly [Item, ...Item[]]): Item
  /** A stream of its own, the same for the same name. */
  fork(name: string): Random
}

export function createRandom(seed: number, name = ''): Random {
  const next = smallFastCounter(mix(seed, name))
  const fraction = (): number => next() / 2 ** 32
  const whole = (low: number, high: number): number =>
    low + Math.floor(fraction() * (high - low + 1))
  return {
    fraction,
    between: (low, high) => low + fraction() * (high - low),
    whole,
    exponential: (mean) => -mean * Math.log(1 - fraction()),
    chance: (probability) => fraction() < probability,
    pick: (items) => items[whole(0, items.length - 1)] ?? items[0],
    fork: (child) => createRandom(seed, `${name}/${child}`),
  }
}

/** Doty-Humphrey's sfc32: 128 bits of state, passes PractRand. */
function smallFastCounter([a, b, c]: readonly [number, number, number]): () => number {
  let counter = 1
  const next = (): number => {
    const result = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + result
    return result >>> 0
  }
  for (let round = 0; round < 12; round += 1) next()
  return next
}

/** FNV-1a over the seed and the name, three times with different beginnings. */
function mix(seed: number, name: string): readonly [number, number, number] {
  const text = `${seed}${name}`
  const hash = (start: number): number => {
    let value = start
    for (let index = 0; index < text.length; index += 1) {
      value = Math.imul(value ^ text.charCodeAt(index), 0x01000193)
    }
    return value | 0
  }
  return [hash(0x811c9dc5), hash(0x2f0b4c47), hash(0x5bd1e995)]
}
