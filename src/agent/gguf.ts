/**
 * What a GGUF file says of itself: the architecture, the window that it was trained for, whether it only embeds, and what a token costs
 * in the cache. Reads the file's head only; its layout: magic, version, counts, then key-value pairs.
 */
import { open } from 'node:fs/promises'

export interface GgufFacts {
  readonly architecture: string
  readonly contextWindowTokens: number | undefined
  /** The model pools its states into one vector, and writes no text. */
  readonly embeddings: boolean
  /** Bytes of keys and values that the engine keeps for one token (16-bit); `undefined` when the file does not say enough. */
  readonly cacheBytesPerToken: number | undefined
}

/** Tokenizers come after the facts that matter; those of the largest vocabularies take some MiB. */
const headBytesMax = 32 * 1024 * 1024
const pairsMax = 10_000

/** Returns `undefined` for a file that is no GGUF. */
export async function readGgufFacts(path: string): Promise<GgufFacts | undefined> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    const head = Buffer.alloc(Math.min(size, headBytesMax))
    const { bytesRead } = await file.read(head, 0, head.length, 0)
    const pairs = parsePairs(head.subarray(0, bytesRead))
    return pairs && toFacts(pairs)
  } finally {
    await file.close()
  }
}

type Scalar = string | number | boolean
type Pairs = ReadonlyMap<string, Scalar>

/** Encoders: they have no text to continue. */
const encoderArchitectures =
  /^(bert|nomic-bert|nomic-bert-moe|neo-bert|jina-bert-v[23]|modern-bert|eurobert|t5encoder|gemma-embedding)$/

function toFacts(pairs: Pairs): GgufFacts {
  const architecture = String(pairs.get('general.architecture') ?? 'unknown')
  const number = (key: string): number | undefined => {
    const value = pairs.get(`${architecture}.${key}`)
    return typeof value === 'number' && value > 0 ? value : undefined
  }
  return {
    architecture,
    contextWindowTokens: number('context_length'),
    // A decoder with a pooling type is an embedder too (Qwen3-Embedding); 0 and 4 stand for none and rank.
    embeddings:
      encoderArchitectures.test(architecture) || [1, 2, 3].includes(number('pooling_type') ?? 0),
    cacheBytesPerToken: cacheBytes(number),
  }
}

function cacheBytes(number: (key: string) => number | undefined): number | undefined {
  const layers = number('block_count')
  const width = number('embedding_length')
  const heads = number('attention.head_count')
  if (!layers || !width || !heads) return undefined
  const keyValueHeads = number('attention.head_count_kv') ?? heads
  const keyWidth = number('attention.key_length') ?? width / heads
  const valueWidth = number('attention.value_length') ?? width / heads
  return layers * keyValueHeads * (keyWidth + valueWidth) * 2
}

const scalarBytes: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
}
const stringType = 8
const arrayType = 9

/** Reads pairs until the head ends; what lies beyond it is not needed. Arrays are skipped. */
function parsePairs(head: Buffer): Pairs | undefined {
  if (head.length < 24 || head.toString('latin1', 0, 4) !== 'GGUF') return undefined
  if (head.readUInt32LE(4) < 2) return undefined
  const count = Number(head.readBigUInt64LE(16))
  const pairs = new Map<string, Scalar>()
  let at = 24

  const length = (): number => {
    const value = Number(head.readBigUInt64LE(at))
    at += 8
    return value
  }
  const text = (): string => {
    const bytes = length()
    at += bytes
    if (at > head.length) throw new RangeError('beyond the head')
    return head.toString('utf8', at - bytes, at)
  }
  const scalar = (type: number): Scalar => {
    const bytes = scalarBytes[type]
    if (bytes === undefined) throw new RangeError('not a type of GGUF')
    at += bytes
    return readScalar(head, at - bytes, type)
  }
  const skipArray = (): void => {
    const type = head.readUInt32LE(at)
    at += 4
    const items = length()
    const bytes = scalarBytes[type]
    if (bytes !== undefined) {
      at += items * bytes
      return
    }
    if (type !== stringType) throw new RangeError('arrays of arrays are not read')
    for (let index = 0; index < items; index += 1) {
      const itemBytes = length()
      at += itemBytes
    }
  }

  try {
    for (let index = 0; index < Math.min(count, pairsMax); index += 1) {
      const key = text()
      const type = head.readUInt32LE(at)
      at += 4
      if (type === arrayType) skipArray()
      else pairs.set(key, type === stringType ? text() : scalar(type))
    }
  } catch (error) {
    // The head ended, or holds what we do not read: what was found so far stands.
    if (!(error instanceof RangeError)) throw error
  }
  return pairs
}

function readScalar(head: Buffer, at: number, type: number): Scalar {
  switch (type) {
    case 0:
      return head.readUInt8(at)
    case 1:
      return head.readInt8(at)
    case 2:
      return head.readUInt16LE(at)
    case 3:
      return head.readInt16LE(at)
    case 4:
      return head.readUInt32LE(at)
    case 5:
      return head.readInt32LE(at)
    case 6:
      return head.readFloatLE(at)
    case 7:
      return head.readUInt8(at) !== 0
    case 10:
      return Number(head.readBigUInt64LE(at))
    case 11:
      return Number(head.readBigInt64LE(at))
    default:
      return head.readDoubleLE(at)
  }
}
