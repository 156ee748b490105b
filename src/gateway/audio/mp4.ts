/**
 * MP4 with AAC, ALAC, MP3 or Opus, whole or in fragments. A frame of the first three has a fixed number of samples, and a decoder plays as many frames
 * as the tables list, so the frames are counted; of Opus, each packet is looked at. Durations are believed only where they say more.
 */
import { stepsPerYield, type Measurement } from './measurement.ts'
import { countPackets, countRun, createPacketCounter, type PacketTables } from './mp4-packets.ts'
import { aacRate } from './mpeg.ts'
import { opusSamples } from './ogg.ts'

const containers: ReadonlySet<string> = new Set([
  'moov',
  'trak',
  'mdia',
  'minf',
  'stbl',
  'moof',
  'traf',
])
const opusSamplesPerSecond = 48_000
const opusPacketSecondsMax = 0.12
const tracksMax = 16
/** The description of a codec is some hundred bytes long. */
const entryBytesMax = 16 * 1024
/** Hours of short fragments have a tenth of it. */
const boxesMax = 500_000

interface Track {
  id: number
  unitsPerSecond: number
  isSound: boolean
  /** The longest that one frame can be; `undefined` for a codec that is not known here. */
  frameSeconds: number | undefined
  frames: number
  isOpus: boolean
  packetTables: PacketTables
  packetSamples: number
  /** In the track's own units. */
  statedUnits: number
}

export function* measureMp4(bytes: Buffer): Measurement {
  const tracks: Track[] = []
  const counter = createPacketCounter(opusSamples)
  let fragment: { at: number; head: Buffer; track: Track | undefined } | undefined
  let fragmentAt = 0
  let steps = 0
  let at = 0
  while (at + 8 <= bytes.length) {
    steps += 1
    if (steps > boxesMax) return undefined
    if (steps % stepsPerYield === 0) yield
    const box = readBox(bytes, at)
    if (!box) break
    const { type, content } = box
    if (containers.has(type)) {
      if (type === 'trak') {
        if (tracks.length === tracksMax) return undefined
        tracks.push(newTrack())
      } else if (type === 'moof') fragmentAt = at
      at = box.contentAt
      continue
    }
    at = box.end
    if (type === 'tfhd') {
      const id = content.length >= 8 ? content.readUInt32BE(4) : 0
      fragment = { at: fragmentAt, head: content, track: tracks.find((track) => track.id === id) }
    } else if (type === 'trun') {
      const track = fragment?.track
      if (!fragment || !track || content.length < 8) continue
      track.frames += content.readUInt32BE(4)
      const run = { fragmentAt: fragment.at, head: fragment.head, run: content }
      if (track.isOpus) track.packetSamples += yield* countRun(bytes, run, counter)
    } else if (type === 'stts') {
      const track = tracks.at(-1)
      if (track) yield* sumTimes(track, content)
    } else takeField(tracks.at(-1), type, content)
  }
  for (const track of tracks) {
    if (track.isOpus) track.packetSamples += yield* countPackets(bytes, track.packetTables, counter)
  }
  if (counter.packetsLeft < 0) return undefined
  const lengths = tracks.map(secondsOf).filter((seconds) => seconds !== undefined)
  return lengths.length === 0 ? undefined : Math.max(...lengths) * 1_000
}

function newTrack(): Track {
  return {
    id: 0,
    unitsPerSecond: 0,
    isSound: false,
    frameSeconds: undefined,
    frames: 0,
    isOpus: false,
    packetTables: {},
    packetSamples: 0,
    statedUnits: 0,
  }
}

function secondsOf(track: Track): number | undefined {
  if (!track.isSound || track.frameSeconds === undefined || track.frames === 0) return undefined
  const counted = track.isOpus
    ? track.packetSamples / opusSamplesPerSecond
    : track.frames * track.frameSeconds
  const stated = track.unitsPerSecond === 0 ? 0 : track.statedUnits / track.unitsPerSecond
  // The table may say where within the last frame the sound ends.
  return stated < counted && counted - stated <= track.frameSeconds
    ? stated
    : Math.max(counted, stated)
}

interface Box {
  readonly type: string
  readonly contentAt: number
  readonly content: Buffer
  readonly end: number
}

function readBox(bytes: Buffer, at: number): Box | undefined {
  const size32 = bytes.readUInt32BE(at)
  const type = bytes.toString('latin1', at + 4, at + 8)
  const isLarge = size32 === 1
  if (isLarge && at + 16 > bytes.length) return undefined
  const size =
    size32 === 0 ? bytes.length - at : isLarge ? Number(bytes.readBigUInt64BE(at + 8)) : size32
  const contentAt = at + (isLarge ? 16 : 8)
  const end = at + size
  if (end < contentAt) return undefined
  return { type, contentAt, content: bytes.subarray(contentAt, end), end }
}

function takeField(track: Track | undefined, type: string, content: Buffer): void {
  if (!track) return
  const version = content[0] === 1 ? 1 : 0
  const number = (at: number): number => (at + 4 <= content.length ? content.readUInt32BE(at) : 0)
  if (type === 'tkhd') track.id = number(version === 1 ? 20 : 12)
  else if (type === 'mdhd') track.unitsPerSecond = number(version === 1 ? 20 : 12)
  else if (type === 'hdlr') track.isSound ||= content.toString('latin1', 8, 12) === 'soun'
  else if (type === 'stsd') {
    track.frameSeconds = readFrameSeconds(content)
    track.isOpus = isOpusEntry(content)
  } else if (type === 'stsz') {
    track.frames += number(8)
    track.packetTables.sizes = content
  } else if (type === 'stz2') track.frames += number(8)
  else if (type === 'stsc') track.packetTables.chunks = content
  else if (type === 'stco' || type === 'co64') {
    track.packetTables.offsets = content
    track.packetTables.hasWideOffsets = type === 'co64'
  }
}

/** How many frames have which duration. */
function* sumTimes(track: Track, content: Buffer): Generator<undefined, void> {
  for (let at = 8; at + 8 <= content.length; at += 8) {
    if (at % (stepsPerYield * 8) === 0) yield
    track.statedUnits += content.readUInt32BE(at) * content.readUInt32BE(at + 4)
  }
}

/** `content` lists one entry or more; the first one counts. */
function readFrameSeconds(content: Buffer): number | undefined {
  if (content.length < 8 + 36) return undefined
  const entry = content.subarray(8, 8 + entryBytesMax)
  const codec = entry.toString('latin1', 4, 8)
  if (codec === 'mp4a') return readMp4a(entry)
  if (codec === 'alac') return readAlac(entry)
  return isOpusEntry(content) ? opusPacketSecondsMax : undefined
}

function isOpusEntry(content: Buffer): boolean {
  return content.toString('latin1', 12, 16) === 'Opus'
}

function readAlac(entry: Buffer): number | undefined {
  const cookie = entry.indexOf('alac', 12, 'latin1') + 8
  if (cookie < 12 || cookie + 24 > entry.length) return undefined
  const rate = entry.readUInt32BE(cookie + 20)
  return rate === 0 ? undefined : entry.readUInt32BE(cookie) / rate
}

const mp3Kinds: ReadonlySet<number> = new Set([0x69, 0x6b])
const aacKinds: ReadonlySet<number> = new Set([0x40, 0x66, 0x67, 0x68])

/** ISO/IEC 14496-1, section 7.2.6: descriptors in descriptors, each with a tag and a length of up to four bytes. */
function readMp4a(entry: Buffer): number | undefined {
  const esds = entry.indexOf('esds', 36, 'latin1')
  if (esds === -1) return undefined
  const es = openDescriptor(entry, esds + 8, 0x03)
  if (es === undefined) return undefined
  const decoder = openDescriptor(entry, es + 3, 0x04)
  if (decoder === undefined) return undefined
  const kind = entry[decoder] ?? 0
  if (mp3Kinds.has(kind)) {
    const rate = entry.readUInt16BE(32)
    return rate === 0 ? undefined : (rate >= 32_000 ? 1_152 : 576) / rate
  }
  const specific = openDescriptor(entry, decoder + 13, 0x05)
  if (!aacKinds.has(kind) || specific === undefined) return undefined
  return readAac(entry.subarray(specific, specific + 16))
}

/** Where its content begins. */
function openDescriptor(bytes: Buffer, at: number, tag: number): number | undefined {
  if (bytes[at] !== tag) return undefined
  let end = at + 1
  while (end < at + 4 && (bytes[end] ?? 0) >= 0x80) end += 1
  return end + 1
}

/** ISO/IEC 14496-3, section 1.6.2.1. Of the kinds of AAC, those with 1,024 or 960 samples in a frame of the core. */
function readAac(config: Buffer): number | undefined {
  let position = 0
  const take = (bits: number): number => {
    let value = 0
    for (let index = 0; index < bits; index += 1, position += 1) {
      value = value * 2 + (((config[position >> 3] ?? 0) >> (7 - (position & 7))) & 1)
    }
    return value
  }
  const takeRate = (): number | undefined => {
    const index = take(4)
    return index === 15 ? take(24) : aacRate(index)
  }
  const kind = take(5)
  const rate = takeRate()
  take(4)
  const isExtended = kind === 5 || kind === 29
  if (isExtended) {
    takeRate()
    take(5)
  }
  if (!rate || !(isExtended || (kind >= 1 && kind <= 4))) return undefined
  return (take(1) === 1 ? 960 : 1_024) / rate
}
