/** FLAC: the frames that are there. Each has a header with a checksum of its own, by which it is found (RFC 9639, section 9.1). */
import { stepsPerYield, type Measurement } from './measurement.ts'

/** Chance makes one in 16,384 bytes look like a frame's beginning; more than this was made on purpose. */
const falseStartsMax = 100_000

export function* measureFlac(bytes: Buffer, begin: number): Measurement {
  const rate = samplesPerSecondAt(bytes, begin + 8)
  if (rate === undefined) return undefined
  let samples = 0
  let falseStarts = 0
  let at = bytes.indexOf(0xff, begin + 8)
  for (let steps = 1; at !== -1; steps += 1) {
    if (steps % stepsPerYield === 0) yield
    const header = readFlacFrame(bytes, at)
    if (header) samples += header.samples
    else if (isFlacSync(bytes, at)) falseStarts += 1
    if (falseStarts > falseStartsMax) return undefined
    at = bytes.indexOf(0xff, at + (header ? header.bytes : 1))
  }
  return samples === 0 ? undefined : (samples / rate) * 1_000
}

/** `at` is behind the block's own header. */
export function samplesPerSecondAt(bytes: Buffer, at: number): number | undefined {
  if (at + 18 > bytes.length) return undefined
  const rate = bytes.readUIntBE(at + 10, 3) >> 4
  return rate === 0 ? undefined : rate
}

function isFlacSync(bytes: Buffer, at: number): boolean {
  return bytes[at] === 0xff && ((bytes[at + 1] ?? 0) & 0xfe) === 0xf8
}

/** The samples that a frame at this place holds; `undefined` where none begins. */
export function readFlacFrame(
  bytes: Buffer,
  at: number,
): { readonly samples: number; readonly bytes: number } | undefined {
  if (!isFlacSync(bytes, at) || at + 6 > bytes.length) return undefined
  const sizes = bytes.readUInt8(at + 2)
  const shape = bytes.readUInt8(at + 3)
  if (shape >> 4 > 10 || shape % 2 === 1) return undefined
  let end = at + 4 + codedNumberBytes(bytes.readUInt8(at + 4))
  const sizeCode = sizes >> 4
  const rateCode = sizes & 15
  if (sizeCode === 0 || rateCode === 15) return undefined
  const sizeBytes = sizeCode === 6 ? 1 : sizeCode === 7 ? 2 : 0
  const sizeAt = end
  end += sizeBytes + (rateCode === 12 ? 1 : rateCode > 12 ? 2 : 0)
  if (end >= bytes.length || checksum(bytes, at, end) !== bytes[end]) return undefined
  const samples = sizeBytes > 0 ? bytes.readUIntBE(sizeAt, sizeBytes) + 1 : samplesOf(sizeCode)
  return { samples, bytes: end + 1 - at }
}

function codedNumberBytes(first: number): number {
  return first < 0x80 ? 1 : Math.max(1, Math.clz32(~(first << 24)))
}

function samplesOf(code: number): number {
  if (code === 1) return 192
  return code < 6 ? 576 << (code - 2) : 256 << (code - 8)
}

/** CRC-8 with the polynomial x⁸ + x² + x + 1. */
const table = Uint8Array.from({ length: 256 }, (_, value) => {
  let rest = value
  for (let bit = 0; bit < 8; bit += 1) rest = rest & 0x80 ? (rest << 1) ^ 0x07 : rest << 1
  return rest
})

function checksum(bytes: Buffer, start: number, end: number): number {
  let rest = 0
  for (let at = start; at < end; at += 1) rest = table[rest ^ (bytes[at] ?? 0)] ?? 0
  return rest
}
