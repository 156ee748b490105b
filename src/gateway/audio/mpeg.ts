/** MP3 (MPEG audio, layers 1 to 3) and AAC in ADTS: every frame is counted, so no header of the whole file is believed. */
import { stepsPerYield, type Measurement } from './measurement.ts'

interface Frame {
  readonly bytes: number
  readonly seconds: number
}

/** More than this between frames is no recording. */
const garbageBytesMax = 1024 * 1024

/** `readFrame` tells MP3 from ADTS. */
export function* measureFrames(
  bytes: Buffer,
  readFrame: (bytes: Buffer, at: number) => Frame | undefined,
): Measurement {
  let at = afterTags(bytes)
  let seconds = 0
  let frames = 0
  let garbageBytes = 0
  for (let steps = 1; at < bytes.length; steps += 1) {
    if (steps % stepsPerYield === 0) yield
    const frame = readFrame(bytes, at)
    // A frame after garbage must be followed by another one, or by the end.
    if (frame && (frames > 0 || isFollowed(bytes, at + frame.bytes, readFrame))) {
      frames += 1
      if (frames > 1 || !isInfoFrame(bytes, at, frame)) seconds += frame.seconds
      at += frame.bytes
      continue
    }
    if (frames > 0 && isEndTag(bytes, at)) break
    const next = bytes.indexOf(0xff, at + 1)
    garbageBytes += (next === -1 ? bytes.length : next) - at
    if (next === -1) break
    if (garbageBytes > garbageBytesMax) return undefined
    at = next
  }
  return frames === 0 ? undefined : seconds * 1_000
}

function isFollowed(
  bytes: Buffer,
  at: number,
  readFrame: (bytes: Buffer, at: number) => Frame | undefined,
): boolean {
  return at >= bytes.length || readFrame(bytes, at) !== undefined || isEndTag(bytes, at)
}

function isEndTag(bytes: Buffer, at: number): boolean {
  const text = bytes.toString('latin1', at, at + 8)
  return text.startsWith('TAG') || text === 'APETAGEX'
}

/** Where the sound begins, behind ID3v2 tags. */
export function afterTags(bytes: Buffer): number {
  let at = 0
  for (let tags = 0; tags < 8 && bytes.toString('latin1', at, at + 3) === 'ID3'; tags += 1) {
    if (at + 10 > bytes.length) break
    const size = [6, 7, 8, 9].reduce((sum, index) => sum * 128 + (bytes[at + index] ?? 0), 0)
    at += 10 + size
  }
  return at
}

/** The first frame may hold an index, and no sound. */
function isInfoFrame(bytes: Buffer, at: number, frame: Frame): boolean {
  const text = bytes.toString('latin1', at + 4, at + Math.min(frame.bytes, 64))
  return /Xing|Info|VBRI/.test(text)
}

const kilobits = {
  '1/1': [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
  '1/2': [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
  '1/3': [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  '2/1': [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
  '2/23': [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
}
const mpeg1Rates = [44_100, 48_000, 32_000]

/** ISO/IEC 11172-3, section 2.4.2.3, and its extensions to lower rates. */
export function readMp3Frame(bytes: Buffer, at: number): Frame | undefined {
  const [second, third] = [bytes[at + 1] ?? 0, bytes[at + 2] ?? 0]
  if (bytes[at] !== 0xff || (second & 0xe0) !== 0xe0) return undefined
  const version = (second >> 3) & 3
  const layer = 4 - ((second >> 1) & 3)
  if (version === 1 || layer === 4) return undefined
  const isMpeg1 = version === 3
  const table = isMpeg1
    ? kilobits[`1/${layer as 1 | 2 | 3}`]
    : kilobits[layer === 1 ? '2/1' : '2/23']
  const bitsPerSecond = (table[third >> 4] ?? 0) * 1_000
  const baseRate = mpeg1Rates[(third >> 2) & 3]
  if (bitsPerSecond === 0 || baseRate === undefined) return undefined
  const rate = isMpeg1 ? baseRate : version === 2 ? baseRate / 2 : baseRate / 4
  const padding = (third >> 1) & 1
  const samples = layer === 1 ? 384 : layer === 3 && !isMpeg1 ? 576 : 1_152
  const length =
    layer === 1
      ? (Math.floor((12 * bitsPerSecond) / rate) + padding) * 4
      : Math.floor(((samples / 8) * bitsPerSecond) / rate) + padding
  return { bytes: length, seconds: samples / rate }
}

const adtsRates = [
  96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
  7_350,
]

/** The sampling rate of an index, as AAC writes it. */
export function aacRate(index: number): number | undefined {
  return adtsRates[index]
}

/** ISO/IEC 13818-7, section 6.2. */
export function readAdtsFrame(bytes: Buffer, at: number): Frame | undefined {
  if (at + 7 > bytes.length || bytes[at] !== 0xff) return undefined
  if ((bytes.readUInt8(at + 1) & 0xf6) !== 0xf0) return undefined
  const rate = aacRate((bytes.readUInt8(at + 2) >> 2) & 15)
  const length = (bytes.readUIntBE(at + 3, 3) >> 5) & 0x1fff
  if (rate === undefined || length < 7) return undefined
  const blocks = (bytes.readUInt8(at + 6) & 3) + 1
  return { bytes: length, seconds: (blocks * 1_024) / rate }
}
