/**
 * WebM and Matroska with Opus or Vorbis. The elements are walked one after the other without regard to which holds which, so that streams of unknown
 * length, as browsers record them, are read too. Durations and timestamps in it are not believed; the packets are counted.
 */
import { stepsPerYield, type Measurement } from './measurement.ts'
import { opusSamples } from './ogg.ts'
import { openVorbis, type VorbisCounter } from './vorbis.ts'

const element = {
  segment: 0x18538067,
  cluster: 0x1f43b675,
  tracks: 0x1654ae6b,
  trackEntry: 0xae,
  trackNumber: 0xd7,
  codecId: 0x86,
  codecPrivate: 0x63a2,
  blockGroup: 0xa0,
  block: 0xa1,
  simpleBlock: 0xa3,
}
const entered: ReadonlySet<number> = new Set([
  element.segment,
  element.cluster,
  element.tracks,
  element.trackEntry,
  element.blockGroup,
])
const tracksMax = 16

interface Track {
  number: number
  codec: string
  samplesPerSecond: number
  vorbis: VorbisCounter | undefined
  samples: number
}

export function* measureWebm(bytes: Buffer): Measurement {
  const tracks: Track[] = []
  let steps = 0
  let at = 0
  while (at < bytes.length) {
    steps += 1
    if (steps % stepsPerYield === 0) yield
    const id = readId(bytes, at)
    if (!id) break
    const size = readSize(bytes, at + id.bytes)
    if (!size) break
    const start = at + id.bytes + size.bytes
    if (entered.has(id.value)) {
      if (id.value === element.trackEntry) {
        if (tracks.length === tracksMax) return undefined
        tracks.push({ number: 0, codec: '', samplesPerSecond: 0, vorbis: undefined, samples: 0 })
      }
      at = start
      continue
    }
    if (size.value === undefined) break
    const content = bytes.subarray(start, start + size.value)
    if (id.value === element.block || id.value === element.simpleBlock) takeBlock(tracks, content)
    else takeTrackField(tracks.at(-1), id.value, content)
    at = start + size.value
  }
  const lengths = tracks
    .filter(({ samples }) => samples > 0)
    .map(({ samples, samplesPerSecond }) => (samples / samplesPerSecond) * 1_000)
  return lengths.length === 0 ? undefined : Math.max(...lengths)
}

function takeTrackField(track: Track | undefined, id: number, content: Buffer): void {
  if (!track) return
  if (id === element.trackNumber && content.length <= 6 && content.length > 0) {
    track.number = content.readUIntBE(0, content.length)
  } else if (id === element.codecId) {
    track.codec = content.toString('latin1', 0, 32)
    if (track.codec.startsWith('A_OPUS')) track.samplesPerSecond = 48_000
  } else if (id === element.codecPrivate && track.codec.startsWith('A_VORBIS')) {
    setUpVorbis(track, content)
  }
}

/** Three packets, the lengths of the first two before them. */
function setUpVorbis(track: Track, content: Buffer): void {
  const sizes = xiphSizes(content, 1, 2)
  if (content[0] !== 2 || !sizes) return
  const [first = 0, second = 0] = sizes.sizes
  const head = content.subarray(sizes.end, sizes.end + first)
  if (head.length < 29 || head.readUInt32LE(12) === 0) return
  track.samplesPerSecond = head.readUInt32LE(12)
  track.vorbis = openVorbis(head)
  track.vorbis.setUp(content.subarray(sizes.end + first + second))
}

function takeBlock(tracks: readonly Track[], block: Buffer): void {
  const number = readSize(block, 0)
  const track = number && tracks.find((each) => each.number === number.value)
  if (!track || track.samplesPerSecond === 0) return
  for (const packet of framesOf(block, number.bytes + 2)) {
    track.samples += track.vorbis ? track.vorbis.take(packet) : opusSamples(packet)
  }
}

/** A block holds one frame, or several with their sizes before them ("lacing"). */
function framesOf(block: Buffer, flagsAt: number): readonly Buffer[] {
  const lacing = ((block[flagsAt] ?? 0) >> 1) & 3
  if (lacing === 0) return [block.subarray(flagsAt + 1)]
  const count = (block[flagsAt + 1] ?? 0) + 1
  const sizesAt = flagsAt + 2
  if (lacing === 2) {
    const size = Math.floor((block.length - sizesAt) / count)
    return cut(
      block,
      sizesAt,
      Array.from({ length: count }, () => size),
    )
  }
  const laced =
    lacing === 1 ? xiphSizes(block, sizesAt, count - 1) : ebmlSizes(block, sizesAt, count - 1)
  if (!laced) return []
  return cut(block, laced.end, [...laced.sizes, block.length])
}

function cut(bytes: Buffer, start: number, sizes: readonly number[]): readonly Buffer[] {
  let at = start
  return sizes.map((size) => {
    const piece = bytes.subarray(at, at + size)
    at += size
    return piece
  })
}

interface Laced {
  readonly sizes: readonly number[]
  readonly end: number
}

function xiphSizes(bytes: Buffer, start: number, count: number): Laced | undefined {
  const sizes: number[] = []
  let at = start
  while (sizes.length < count) {
    let size = 0
    while (bytes[at] === 255) {
      size += 255
      at += 1
    }
    const last = bytes[at]
    if (last === undefined) return undefined
    at += 1
    sizes.push(size + last)
  }
  return { sizes, end: at }
}

/** The first size as it is, each further one as a difference to the one before. */
function ebmlSizes(bytes: Buffer, start: number, count: number): Laced | undefined {
  const sizes: number[] = []
  let at = start
  while (sizes.length < count) {
    const read = readSize(bytes, at)
    if (read?.value === undefined) return undefined
    const previous = sizes.at(-1)
    const middle = 2 ** (7 * read.bytes - 1) - 1
    sizes.push(previous === undefined ? read.value : previous + read.value - middle)
    at += read.bytes
  }
  return sizes.every((size) => size >= 0) ? { sizes, end: at } : undefined
}

interface Read<Value> {
  readonly value: Value
  readonly bytes: number
}

function readId(bytes: Buffer, at: number): Read<number> | undefined {
  const length = Math.clz32(bytes[at] ?? 0) - 23
  if (length > 4 || at + length > bytes.length) return undefined
  return { value: bytes.readUIntBE(at, length), bytes: length }
}

/** `undefined` as the value: unknown, it ends where a sibling begins. */
function readSize(bytes: Buffer, at: number): Read<number | undefined> | undefined {
  const length = Math.clz32(bytes[at] ?? 0) - 23
  if (length > 8 || at + length > bytes.length) return undefined
  let value = (bytes[at] ?? 0) & (0xff >> length)
  let isUnknown = value === 0xff >> length
  for (let index = 1; index < length; index += 1) {
    const byte = bytes[at + index] ?? 0
    isUnknown &&= byte === 0xff
    value = value * 256 + byte
  }
  return { value: isUnknown ? undefined : value, bytes: length }
}
