/**
 * The journal's format. A frame is one group commit: length · CRC-32 · first sequence · SHA-256 of the frame before · events as JSON lines.
 * A frame is written only after the one before it is durable, so a broken frame at the end is a batch that nobody was told about
 * (torn), and a broken frame with a whole one after it is damage to something that was promised.
 */
import { hash } from 'node:crypto'
import { crc32 } from 'node:zlib'

export const headerBytes = 48
export const hashBytes = 32
/** A batch is cut before it grows past this. */
export const frameBytesMax = 1024 * 1024
export const genesisHash: Buffer = Buffer.alloc(hashBytes)

export interface Frame {
  readonly offset: number
  readonly bytes: number
  /** Sequence of its first event; the others follow by one. */
  readonly firstSequence: bigint
  readonly previousHash: Buffer
  readonly hash: Buffer
  readonly payload: Buffer
}

export function encodeFrame(
  lines: readonly string[],
  firstSequence: bigint,
  previousHash: Buffer,
): { frame: Buffer; hash: Buffer } {
  const payload = lines.join('\n')
  const length = Buffer.byteLength(payload)
  const frame = Buffer.allocUnsafe(headerBytes + length)
  frame.writeUInt32LE(length, 0)
  frame.writeBigUInt64LE(firstSequence, 8)
  previousHash.copy(frame, 16)
  frame.write(payload, headerBytes, 'utf8')
  frame.writeUInt32LE(crc32(frame.subarray(8), length), 4)
  return { frame, hash: hash('sha256', frame, 'buffer') }
}

/** Reads the frame at an offset; `undefined` when what stands there is not a whole frame. */
export function decodeFrame(bytes: Buffer, offset: number): Frame | undefined {
  if (offset + headerBytes > bytes.length) return undefined
  const length = bytes.readUInt32LE(offset)
  const end = offset + headerBytes + length
  if (length === 0 || length > frameBytesMax || end > bytes.length) return undefined
  // The length is part of the checksum, by its start value.
  if (crc32(bytes.subarray(offset + 8, end), length) !== bytes.readUInt32LE(offset + 4))
    return undefined
  const whole = bytes.subarray(offset, end)
  return {
    offset,
    bytes: headerBytes + length,
    firstSequence: whole.readBigUInt64LE(8),
    previousHash: whole.subarray(16, 16 + hashBytes),
    hash: hash('sha256', whole, 'buffer'),
    payload: whole.subarray(headerBytes),
  }
}

export interface Scan {
  readonly frames: readonly Frame[]
  /** Where the next frame goes. */
  readonly end: number
  /**
   * `clean`: nothing but zeros follows. `torn`: the rest of an unfinished write follows, which may be dropped. `damaged`: a promised
   * frame is broken.
   */
  readonly state: 'clean' | 'torn' | 'damaged'
}

/** Reads a segment from its start. `previousHash` is `undefined` for the oldest segment that is left, whose past is gone. */
export function scanSegment(bytes: Buffer, previousHash: Buffer | undefined): Scan {
  const frames: Frame[] = []
  let offset = 0
  let expected = previousHash
  for (;;) {
    const frame = decodeFrame(bytes, offset)
    if (!frame) break
    const last = frames.at(-1)
    const follows = !last || frame.firstSequence > last.firstSequence
    if (!follows || (expected && !frame.previousHash.equals(expected))) {
      return { frames, end: offset, state: 'damaged' }
    }
    frames.push(frame)
    expected = frame.hash
    offset += frame.bytes
  }
  return { frames, end: offset, state: judgeRest(bytes, offset) }
}

function judgeRest(bytes: Buffer, offset: number): Scan['state'] {
  const rest = bytes.subarray(offset)
  let used = rest.length
  while (used > 0 && rest[used - 1] === 0) used -= 1
  if (used === 0) return 'clean'
  // A whole frame after the broken one means that the broken one had been promised.
  for (let start = offset + 1; start < offset + used; start += 1) {
    if (decodeFrame(bytes, start)) return 'damaged'
  }
  return 'torn'
}
