/**
 * MP4 with AAC, ALAC or MP3, whole or in fragments. A frame of these codecs has a fixed number of samples, and a decoder plays as many frames as the
 * tables list, so the frames are counted. Durations are believed only where they say more.
 */
import { stepsPerYield, type Measurement } from './measurement.ts'
import { aacRate } from './mpeg.ts'

const containers: ReadonlySet<string> = new Set([
  'moov',
  'trak',
  'mdia',
  'minf',
  'stbl',
  'moof',
  'traf',
])
const tracksMax = 64
/** The description of a codec is some hundred bytes long. */
const entryBytesMax = 16 * 1024
/** Hours of short fragments have a tenth of it. */
const boxesMax = 500_000

interface Track {
  id: number
  unitsPerSecond: number
  isSound: boolean
  /** Seconds of one frame; `undefined` for a codec whose frames differ. */
  frameSeconds: number | undefined
  frames: number
  /** In the track's own units. */
  statedUnits: number
}

export function* measureMp4(bytes: Buffer): Measurement {
  const tracks: Track[] = []
  let fragmentTrack: Track | undefined
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
      }
      at = box.contentAt
      continue
    }
    at = box.end
    if (type === 'tfhd') {
      const id = content.length >= 8 ? content.readUInt32BE(4) : 0
      fragmentTrack = tracks.find((track) => track.id === id)
    } else if (type === 'trun') {
      if (fragmentTrack && content.length >= 8) fragmentTrack.frames += content.readUInt32BE(4)
    } else if (type === 'stts') {
      const track = tracks.at(-1)
      if (track) yield* sumTimes(track, content)
    } else takeField(tracks.at(-1), type, content)
  }
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
    statedUnits: 0,
  }
}

function secondsOf(track: Track): number | undefined {
  if (!track.isSound || track.frameSeconds === undefined || track.frames === 0) return undefined
  const counted = track.frames * track.frameSeconds
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
  else if (type === 'stsd') track.frameSeconds = readFrameSeconds(content)
  else if (type === 'stsz') track.frames += number(8)
  else if (type === 'stz2') track.frames += number(8)
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
  return undefined
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
