import { randomBytes } from 'node:crypto'

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** Random bytes drawn ahead: one call for thousands costs as much as one call for ten. Each byte is used once. */
let pool = Buffer.alloc(0)
let used = 0

function nextByte(): number {
  if (used === pool.length) {
    pool = randomBytes(4_096)
    used = 0
  }
  const byte = pool[used] ?? 0
  pool[used] = 0
  used += 1
  return byte
}

/** Returns `length` characters drawn evenly from [0-9A-Za-z]: 5.95 bits each. */
export function randomBase62(length: number): string {
  let text = ''
  while (text.length < length) {
    const byte = nextByte()
    // 248 = 4 × 62: larger bytes would favour the first characters.
    if (byte < 248) text += base62[byte % 62]
  }
  return text
}

/** Prefixes tell a reader, and a log search, what an id names. */
export type IdPrefix =
  | 'lif'
  | 'lim'
  | 'crd'
  | 'ten'
  | 'prj'
  | 'key'
  | 'tok'
  | 'req'
  | 'gw'
  | 'rep'
  | 'node'
  | 'chatcmpl'

/** Returns a new id such as `ten_5hTzQ0k2LmV8aPx1` (95 random bits). */
export function newId(prefix: IdPrefix): string {
  return `${prefix}_${randomBase62(16)}`
}
