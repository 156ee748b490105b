/**
 * Checks a JSON text's shape before it is parsed: depth, number of values, forbidden and repeated keys. `JSON.parse` itself accepts a
 * depth at which `JSON.stringify` then throws, keeps the last of two equal keys (an engine may keep the first), and makes an own
 * `__proto__` key that `Object.assign` turns into a prototype. Strings are skipped with a native search, so long prompts cost little.
 */
import { isUtf8 } from 'node:buffer'
import { Fault } from '../fault.ts'

export const jsonDepthMax = 64
/** Reading so many takes some 20 ms, in which nothing else is served. OpenAI takes 300,000 tokens to embed. */
export const jsonValuesMax = 400_000
/** Objects deeper than this belong to tools' schemas, where a property may be called anything but `__proto__`. */
const ownFieldsDepth = 3

/** Memory that was just used is five times as fast as memory that was not. */
const joined = Buffer.allocUnsafeSlow(1024 * 1024)

const quote = 0x22
const backslash = 0x5c
const space = 0x20

/** A value of the body that is long and written without an escape, as the data of images is, and much text. */
interface PlainText {
  /** Of its first byte, and behind its last. */
  readonly start: number
  readonly end: number
  /** Keys and indices that lead to it. */
  readonly path: readonly (string | number)[]
}
const plainBytesMin = 16 * 1024

/** Parses the bytes, or their pieces, as one JSON value within the limits. Throws `client.invalid_json`, never quoting the body. */
export function parseBoundedJson(body: Buffer | readonly Buffer[]): unknown {
  const bytes = Buffer.isBuffer(body) ? body : join(body)
  if (!isUtf8(bytes)) throw refuse('The body is not valid UTF-8.')
  const texts = checkShape(bytes)
  try {
    return texts.length === 0 ? JSON.parse(bytes.toString('utf8')) : parseAround(texts, bytes)
  } catch {
    // V8's message quotes the body.
    throw refuse('The body is not valid JSON. Check quotes, commas and brackets.')
  }
}

/** Without the texts, which are valid already, and then puts them where they belong: each is read once instead of three times. */
function parseAround(texts: readonly PlainText[], bytes: Buffer): unknown {
  let rest = ''
  let end = 0
  for (const text of texts) {
    rest += bytes.toString('utf8', end, text.start)
    end = text.end
  }
  const value: unknown = JSON.parse(rest + bytes.toString('utf8', end))
  for (const { path, start, end: behind } of texts) {
    let parent = value as Record<string | number, unknown>
    for (const step of path.slice(0, -1)) parent = parent[step] as typeof parent
    parent[path.at(-1) ?? ''] = bytes.toString('utf8', start, behind)
  }
  return value
}

/** Whether it says what its bytes say: it has no escape, and none of the control characters that JSON forbids. */
export function isPlain(text: Buffer): boolean {
  if (text.includes(backslash)) return false
  const first = (4 - (text.byteOffset % 4)) % 4
  const words = new Int32Array(text.buffer, text.byteOffset + first, (text.length - first) >> 2)
  // Twice four bytes at a time: the highest bit of each says, after the loop, whether one was less than a space.
  let found = 0
  for (let i = 1; i < words.length; i += 2) {
    const one = words[i - 1] ?? 0
    const two = words[i] ?? 0
    found |= ((one - 0x20202020) & ~one) | ((two - 0x20202020) & ~two)
  }
  const ends = [...text.subarray(0, first), ...text.subarray(-7)]
  return (found & 0x80808080) === 0 && ends.every((byte) => byte >= space)
}

/** What it returns holds until the next call: nothing that is made of it here shares its memory. */
function join(pieces: readonly Buffer[]): Buffer {
  const [only] = pieces
  if (pieces.length === 1 && only) return only
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
  if (length > joined.length) return Buffer.concat(pieces, length)
  let end = 0
  for (const piece of pieces) end += piece.copy(joined, end)
  return joined.subarray(0, length)
}

/** Returns the long plain texts that it has seen among the values. */
function checkShape(bytes: Buffer): PlainText[] {
  const texts: PlainText[] = []
  let depth = 0
  let values = 0
  /** The keys seen so far of each open object; `undefined` for an array. */
  const open: (Set<string> | undefined)[] = []
  /** The key, or the index, at which each of them is. */
  const place: (string | number)[] = []
  let keyExpected = false

  for (let i = 0; i < bytes.length; i += 1) {
    const byte = bytes[i]
    if (byte === quote) {
      const end = endOfString(bytes, i + 1)
      const keys = open[depth - 1]
      if (keyExpected && keys) {
        const key = keyText(bytes, i, end)
        checkKey(key, keys, depth)
        place[depth - 1] = key
        keyExpected = false
      } else if (end - i > plainBytesMin && depth > 0 && isPlain(bytes.subarray(i + 1, end))) {
        texts.push({ start: i + 1, end, path: place.slice(0, depth) })
      }
      i = end
      continue
    }
    if (byte === 0x7b || byte === 0x5b) {
      depth += 1
      if (depth > jsonDepthMax) throw refuse(`The body nests deeper than ${jsonDepthMax} levels.`)
      open[depth - 1] = byte === 0x7b ? new Set() : undefined
      keyExpected = byte === 0x7b
      place[depth - 1] = 0
    } else if (byte === 0x7d || byte === 0x5d) {
      depth -= 1
      if (depth < 0)
        throw refuse('The body is not valid JSON: a bracket closes what was never opened.')
      keyExpected = false
    } else if (byte === 0x2c) {
      values += 1
      if (values > jsonValuesMax) throw refuse(`The body holds more than ${jsonValuesMax} values.`)
      keyExpected = open[depth - 1] !== undefined
      if (!keyExpected) place[depth - 1] = Number(place[depth - 1]) + 1
    }
  }
  return texts
}

/** Returns the index of the closing quote. */
function endOfString(bytes: Buffer, start: number): number {
  let end = bytes.indexOf(quote, start)
  while (end !== -1) {
    let slashes = 0
    while (bytes[end - 1 - slashes] === backslash && end - 1 - slashes >= start) slashes += 1
    if (slashes % 2 === 0) return end
    end = bytes.indexOf(quote, end + 1)
  }
  throw refuse('The body is not valid JSON: a string does not end.')
}

function keyText(bytes: Buffer, start: number, end: number): string {
  const raw = bytes.toString('utf8', start + 1, end)
  if (!raw.includes('\\')) return raw
  try {
    // An escaped spelling of a key is still that key.
    const decoded: unknown = JSON.parse(`"${raw}"`)
    return String(decoded)
  } catch {
    throw refuse('The body is not valid JSON: a key has a broken escape.')
  }
}

function checkKey(key: string, keys: Set<string>, depth: number): void {
  const forbidden =
    key === '__proto__' ||
    (depth <= ownFieldsDepth && (key === 'constructor' || key === 'prototype'))
  if (forbidden)
    throw refuse('The body has a key that is not allowed (__proto__, constructor, prototype).')
  if (keys.has(key)) throw refuse('The body has the same key twice in one object.')
  keys.add(key)
}

function refuse(text: string): Fault {
  return new Fault({ code: 'client.invalid_json', public: text })
}
