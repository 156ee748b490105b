/**
 * Learns how long answers are, for each key and model: what a request reserves before its answer is known. A histogram of about the last 500, in
 * buckets no wider than an eighth of what they hold, so that an estimate is off by a sixteenth at most. A new key borrows from all keys of its
 * model. Everything takes constant time, and 144 bytes for each pair of key and model.
 */

export interface OutputEstimator {
  learn(apiKeyId: string, modelId: string, outputTokens: number): void
  /** The number of tokens that a share of `q` of the answers did not exceed; `undefined` while too few were seen. */
  quantile(apiKeyId: string, modelId: string, q: number): number | undefined
}

/** A key is judged by its own answers once it has had so many. */
const ownSamplesMin = 20
const modelSamplesMin = 5
/** Models are few; of more than this, those that were silent longest are forgotten. */
const modelsMax = 1_000

/** Pairs of key and model beyond `entriesMax` push out those that were silent longest. */
export function createOutputEstimator(options: { readonly entriesMax: number }): OutputEstimator {
  const pairs = createHistograms(options.entriesMax)
  const models = createHistograms(modelsMax)
  return {
    learn(apiKeyId, modelId, outputTokens) {
      pairs.add(`${apiKeyId} ${modelId}`, outputTokens)
      models.add(modelId, outputTokens)
    },
    quantile: (apiKeyId, modelId, q) =>
      pairs.quantile(`${apiKeyId} ${modelId}`, q, ownSamplesMin) ??
      models.quantile(modelId, q, modelSamplesMin),
  }
}

interface Histograms {
  add(key: string, value: number): void
  quantile(key: string, q: number, samplesMin: number): number | undefined
}

/** Values below this have a bucket each; above, each doubling is divided into as many. */
const stepsPerDoubling = 8
const stepBits = 3
const doublings = 17
const bucketCount = stepsPerDoubling * (doublings + 1)
/** Longer answers count as this long: 1,048,575 tokens. */
const valueMax = stepsPerDoubling * 2 ** doublings - 1
/** At this many, all are counted half: half of the weight lies on the last 250. */
const samplesMax = 500
/** One byte counts to this. */
const countMax = 255
/** Memory is taken for so many histograms at a time. */
const chunkHistograms = 256

function createHistograms(entriesMax: number): Histograms {
  const chunks: Uint8Array[] = []
  /** From the longest silent to the last one heard. */
  const slots = new Map<string, number>()
  /** How many samples each slot counts. */
  const totals = new Uint16Array(entriesMax)

  const countsAt = (slot: number): Uint8Array => {
    const index = Math.floor(slot / chunkHistograms)
    const chunk = (chunks[index] ??= new Uint8Array(chunkHistograms * bucketCount))
    const start = (slot % chunkHistograms) * bucketCount
    return chunk.subarray(start, start + bucketCount)
  }
  const slotFor = (key: string): number => {
    const known = slots.get(key)
    if (known !== undefined) {
      slots.delete(key)
      slots.set(key, known)
      return known
    }
    const slot = slots.size < entriesMax ? slots.size : forgetOldest()
    slots.set(key, slot)
    return slot
  }
  const forgetOldest = (): number => {
    const [oldest] = slots
    if (!oldest) return 0
    const [key, slot] = oldest
    slots.delete(key)
    countsAt(slot).fill(0)
    totals[slot] = 0
    return slot
  }

  return {
    add(key, value) {
      const slot = slotFor(key)
      const counts = countsAt(slot)
      const bucket = bucketOf(value)
      const count = (counts[bucket] ?? 0) + 1
      const total = (totals[slot] ?? 0) + 1
      counts[bucket] = count
      totals[slot] = count === countMax || total === samplesMax ? halve(counts) : total
    },
    quantile(key, q, samplesMin) {
      const slot = slots.get(key)
      if (slot === undefined) return undefined
      const samples = totals[slot] ?? 0
      if (samples < samplesMin) return undefined
      const counts = countsAt(slot)
      const rank = Math.max(1, Math.ceil(q * samples))
      let passed = 0
      let bucket = -1
      while (passed < rank && bucket < bucketCount - 1) passed += counts[++bucket] ?? 0
      return middleOf(bucket)
    },
  }
}

function bucketOf(value: number): number {
  const whole = Math.min(Math.max(Math.round(value), 0), valueMax)
  if (whole < stepsPerDoubling) return whole
  const shift = 31 - Math.clz32(whole) - stepBits
  return (whole >> shift) + shift * stepsPerDoubling
}

function middleOf(bucket: number): number {
  if (bucket < 2 * stepsPerDoubling) return bucket
  const shift = Math.floor(bucket / stepsPerDoubling) - 1
  const lowest = (bucket - shift * stepsPerDoubling) << shift
  return lowest + ((1 << shift) >> 1)
}

/** Halves the running total rather than each count, so that many small counts do not vanish together. Returns what is left in all. */
function halve(counts: Uint8Array): number {
  let before = 0
  let after = 0
  for (const [bucket, count] of counts.entries()) {
    before += count
    const half = Math.ceil(before / 2)
    counts[bucket] = half - after
    after = half
  }
  return after
}
