/** Makes what is almost right out of what is right. Pure: the same random numbers make the same bytes. */
import { below, pick } from '../chaos/random.ts'

type Random = () => number

/** Values that readers trip over. */
const hardValues: readonly [unknown, ...unknown[]] = [
  null,
  true,
  false,
  0,
  -0,
  -1,
  1.5,
  1e308,
  -1e308,
  2 ** 53,
  2 ** 31,
  '',
  ' ',
  '\u0000',
  '\ud800',
  '\u202e',
  '💥'.repeat(50),
  'data:',
  'data:image/png;base64,',
  'data:;base64,AAAA',
  'A'.repeat(20_000),
  '__proto__',
  'constructor',
  [],
  {},
  [[]],
  [null],
  [{}],
  { type: 'text' },
  { type: 'nothing' },
  { length: 5 },
  Array.from({ length: 3_000 }, (_, index) => index),
]
const hardTexts: readonly [string, ...string[]] = [
  '{',
  '}',
  '[',
  ']',
  '"',
  '\\',
  ',',
  ':',
  '\n',
  '\r\n',
  '\r\n\r\n',
  '\n\n',
  'data: ',
  'data: [DONE]\n\n',
  'event: error\n',
  ': x\n',
  '--',
  '\u0000',
  '1e999',
  '-',
  'NaN',
  '"__proto__":1,',
  '\\u0000',
  '\\ud800',
  'Content-Length: 5\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Expect: 100-continue\r\n',
  '0\r\n\r\n',
  '[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[',
]

/** One to four changes at the level of bytes. */
export function mutateBytes(random: Random, source: Buffer): Buffer {
  let bytes = source
  for (let changes = 1 + below(random, 4); changes > 0; changes -= 1)
    bytes = mutateOnce(random, bytes)
  return bytes
}

function mutateOnce(random: Random, bytes: Buffer): Buffer {
  const at = below(random, bytes.length + 1)
  const end = Math.min(bytes.length, at + 1 + below(random, 64))
  const insert = (piece: Buffer): Buffer =>
    Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)])
  switch (below(random, 7)) {
    case 0: {
      const copy = Buffer.from(bytes)
      if (at < copy.length) copy[at] = (copy[at] ?? 0) ^ (1 << below(random, 8))
      return copy
    }
    case 1:
      return bytes.subarray(0, at)
    case 2:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)])
    case 3:
      return insert(bytes.subarray(at, end))
    case 4:
      return insert(Buffer.from(pick(random, hardTexts)))
    case 5:
      return insert(Buffer.from([below(random, 256)]))
    default: {
      const from = below(random, bytes.length + 1)
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(from)])
    }
  }
}

/** A copy in which one to three values, at any depth, are replaced, removed, wrapped or repeated. */
export function mutateValue(random: Random, source: unknown): unknown {
  const root = { value: structuredClone(source) }
  for (let changes = 1 + below(random, 3); changes > 0; changes -= 1) {
    const places = placesIn(root)
    const [owner, key] = places[below(random, places.length)] ?? [root, 'value']
    const before = Reflect.get(owner, key)
    switch (below(random, 6)) {
      case 0:
        Reflect.deleteProperty(owner, key)
        break
      case 1:
        Reflect.set(owner, key, [before])
        break
      case 2:
        Reflect.set(owner, key, { [String(key)]: before })
        break
      case 3:
        Reflect.set(owner, key, repeated(before, 1 + below(random, 200)))
        break
      default:
        Reflect.set(owner, key, structuredClone(pick(random, hardValues)))
    }
  }
  return root.value
}

/** As often as fits: repetitions of repetitions grow beyond what a body may be. */
function repeated(value: unknown, times: number): unknown[] {
  const characters = JSON.stringify(value)?.length ?? 1
  const fitting = Math.max(1, Math.floor(repeatedCharactersMax / characters))
  // Copies: what changes in one of them later shall not change in all.
  return Array.from({ length: Math.min(times, fitting) }, () => structuredClone(value))
}

const repeatedCharactersMax = 256 * 1024
const placesMax = 2_000

/** Every place that holds a value, down to a number of them. */
function placesIn(root: object): [object, PropertyKey][] {
  const places: [object, PropertyKey][] = []
  const open: object[] = [root]
  for (let owner = open.pop(); owner && places.length < placesMax; owner = open.pop()) {
    for (const key of Object.keys(owner)) {
      places.push([owner, key])
      const value: unknown = Reflect.get(owner, key)
      if (typeof value === 'object' && value !== null) open.push(value)
    }
  }
  return places
}

/** The bytes in pieces of any size. */
export function inPieces(random: Random, bytes: Buffer): Buffer[] {
  const pieces: Buffer[] = []
  const sizeMax = pick(random, [1, 3, 16, 200, 5_000])
  for (let at = 0; at < bytes.length;) {
    const size = 1 + below(random, sizeMax)
    pieces.push(bytes.subarray(at, at + size))
    at += size
  }
  return pieces
}
