/**
 * Ogg with Opus, Vorbis or FLAC: each packet tells by itself how much sound is in it. The positions in the pages' headers are believed only
 * where they agree with that: they say exactly where the last packet's sound ends.
 */
import { readFlacFrame } from './flac.ts'
import { stepsPerYield, type Measurement } from './measurement.ts'
import { openVorbis, type VorbisCounter } from './vorbis.ts'

const pageMark = 'OggS'
const searchBytes = 64 * 1024
const streamsMax = 64
const setupBytesMax = 1024 * 1024
/** The longest packet of any of them. */
const longestPacketSeconds = 0.2

interface OggStream {
  readonly codec: 'opus' | 'vorbis' | 'flac'
  readonly samplesPerSecond: number
  /** Opus: samples before the recording begins. */
  readonly preSkip: number
  vorbis: VorbisCounter | undefined
  packets: number
  samples: number
  lastPosition: number
  /** Vorbis: the setup packet, whole or what is there of it. */
  setup: Buffer[]
  setupBytes: number
}

interface PacketPart {
  readonly bytes: Buffer
  readonly isStart: boolean
  readonly isEnd: boolean
}

export function* measureOgg(bytes: Buffer): Measurement {
  const streams = new Map<number, OggStream>()
  const finished: OggStream[] = []
  let steps = 0
  let at = 0
  while (at + 27 <= bytes.length) {
    if (bytes.toString('latin1', at, at + 4) !== pageMark) {
      // Garbage between pages: a slice of it at a time.
      const found = bytes.subarray(at, at + searchBytes).indexOf(pageMark, 0, 'latin1')
      at += found === -1 ? searchBytes - pageMark.length + 1 : found
      yield
      continue
    }
    const segments = bytes.readUInt8(at + 26)
    const flags = bytes.readUInt8(at + 5)
    const serial = bytes.readUInt32LE(at + 14)
    const table = bytes.subarray(at + 27, at + 27 + segments)
    const bodyAt = at + 27 + segments
    const packets = packetsOf(bytes, bodyAt, table, (flags & 1) === 1)
    if ((flags & 2) === 2) {
      const earlier = streams.get(serial)
      if (earlier) finished.push(earlier)
      const begun = beginStream(packets[0]?.bytes)
      if (begun) streams.set(serial, begun)
      else streams.delete(serial)
      if (streams.size + finished.length > streamsMax) return undefined
    } else {
      const stream = streams.get(serial)
      if (stream) {
        for (const packet of packets) takePacket(stream, packet)
        const position = bytes.readBigInt64LE(at + 6)
        if (position > 0n) stream.lastPosition = Number(position)
      }
    }
    at = bodyAt + table.reduce((sum, size) => sum + size, 0)
    steps += 1 + segments
    if (steps > stepsPerYield) {
      steps = 0
      yield
    }
  }
  const all = [...finished, ...streams.values()]
  if (all.length === 0) return undefined
  return all.reduce((sum, stream) => sum + secondsOf(stream), 0) * 1_000
}

function packetsOf(
  bytes: Buffer,
  bodyAt: number,
  table: Buffer,
  isContinued: boolean,
): PacketPart[] {
  const parts: PacketPart[] = []
  let start = bodyAt
  let end = bodyAt
  let isStart = !isContinued
  for (const size of table) {
    end += size
    if (size === 255) continue
    parts.push({ bytes: bytes.subarray(start, end), isStart, isEnd: true })
    start = end
    isStart = true
  }
  if (end > start) parts.push({ bytes: bytes.subarray(start, end), isStart, isEnd: false })
  return parts
}

function beginStream(head: Buffer | undefined): OggStream | undefined {
  if (!head) return undefined
  const common = {
    vorbis: undefined,
    packets: 1,
    samples: 0,
    lastPosition: 0,
    setup: [],
    setupBytes: 0,
  }
  const text = head.toString('latin1', 0, 8)
  if (text === 'OpusHead' && head.length >= 19) {
    return { codec: 'opus', samplesPerSecond: 48_000, preSkip: head.readUInt16LE(10), ...common }
  }
  if (text.startsWith('\x01vorbis') && head.length >= 29) {
    const samplesPerSecond = head.readUInt32LE(12)
    if (samplesPerSecond === 0) return undefined
    const vorbis = openVorbis(head)
    return { codec: 'vorbis', samplesPerSecond, preSkip: 0, ...common, vorbis }
  }
  if (text.startsWith('\x7fFLAC') && head.length >= 35) {
    const samplesPerSecond = head.readUIntBE(17 + 10, 3) >> 4
    if (samplesPerSecond === 0) return undefined
    return { codec: 'flac', samplesPerSecond, preSkip: 0, ...common }
  }
  return undefined
}

/** Packet 0 names the codec; Opus has one more without sound, Vorbis two. FLAC's are told by their first byte. */
function takePacket(stream: OggStream, part: PacketPart): void {
  if (stream.codec === 'vorbis' && stream.packets === 2) takeSetup(stream, part)
  else if (part.isStart) {
    if (stream.codec === 'opus' && stream.packets >= 2) stream.samples += opusSamples(part.bytes)
    if (stream.codec === 'vorbis') stream.samples += stream.vorbis?.take(part.bytes) ?? 0
    if (stream.codec === 'flac') stream.samples += readFlacFrame(part.bytes, 0)?.samples ?? 0
  }
  if (part.isEnd) stream.packets += 1
}

function takeSetup(stream: OggStream, part: PacketPart): void {
  stream.setupBytes += part.bytes.length
  if (stream.setupBytes <= setupBytesMax) stream.setup.push(part.bytes)
  if (!part.isEnd) return
  stream.vorbis?.setUp(Buffer.concat(stream.setup))
  stream.setup = []
}

/** RFC 6716, section 3.1: the first byte says how long a frame is and how many there are, in samples of 48 kHz. */
export function opusSamples(packet: Buffer): number {
  const first = packet[0]
  if (first === undefined) return 0
  const config = first >> 3
  const frame =
    config < 12
      ? [480, 960, 1_920, 2_880][config & 3]
      : config < 16
        ? [480, 960][config & 1]
        : [120, 240, 480, 960][config & 3]
  const code = first & 3
  const frames = code === 0 ? 1 : code === 3 ? (packet[1] ?? 1) & 63 : 2
  return (frame ?? 0) * frames
}

function secondsOf(stream: OggStream): number {
  const counted = Math.max(0, stream.samples - stream.preSkip) / stream.samplesPerSecond
  const stated = Math.max(0, stream.lastPosition - stream.preSkip) / stream.samplesPerSecond
  return stated < counted && counted - stated <= longestPacketSeconds ? stated : counted
}
