/** The packets of an MP4 track, for codecs whose packets differ in length: found by the tables that decoders follow, whole or in fragments. */
import { stepsPerYield } from './measurement.ts'

/** As many as four hours of the shortest packets have. */
const packetsMax = 6_000_000

/** Counts packets by their first two bytes; all of a file together, for tables can list the same place again and again. */
export interface PacketCounter {
  samplesOf(head: Buffer): number
  /** How many more may be counted; below 0, the file is refused. */
  packetsLeft: number
}

export function createPacketCounter(samplesOf: (head: Buffer) => number): PacketCounter {
  return { samplesOf, packetsLeft: packetsMax }
}

/** The contents of `stsz`, `stsc`, and `stco` or `co64`. */
export interface PacketTables {
  sizes?: Buffer
  chunks?: Buffer
  offsets?: Buffer
  hasWideOffsets?: boolean
}

/** ISO/IEC 14496-12, section 8.7: packets lie in chunks one after the other. */
export function* countPackets(
  bytes: Buffer,
  { sizes, chunks, offsets, hasWideOffsets }: PacketTables,
  counter: PacketCounter,
): Generator<undefined, number> {
  if (!sizes || !chunks || !offsets) return 0
  const sameSize = numberAt(sizes, 4)
  const packets = numberAt(sizes, 8)
  const offsetBytes = hasWideOffsets === true ? 8 : 4
  const chunkCount = Math.min(numberAt(offsets, 4), rowsOf(offsets, offsetBytes))
  const entries = Math.min(numberAt(chunks, 4), rowsOf(chunks, 12))
  let total = 0
  let packet = 0
  let entry = 0
  for (let chunk = 0; chunk < chunkCount && packet < packets; chunk += 1) {
    if (chunk % stepsPerYield === 0) yield
    while (entry + 1 < entries && numberAt(chunks, 8 + (entry + 1) * 12) <= chunk + 1) entry += 1
    const inChunk = numberAt(chunks, 8 + entry * 12 + 4)
    const offsetAt = 8 + chunk * offsetBytes
    let at = hasWideOffsets === true ? wideNumberAt(offsets, offsetAt) : numberAt(offsets, offsetAt)
    for (let index = 0; index < inChunk && packet < packets; index += 1, packet += 1) {
      if (packet % stepsPerYield === 0) yield
      counter.packetsLeft -= 1
      // A packet takes room in the file: a table may promise millions that are not there.
      if (counter.packetsLeft < 0 || at >= bytes.length) return total
      total += counter.samplesOf(bytes.subarray(at, at + 2))
      const size = sameSize === 0 ? numberAt(sizes, 12 + packet * 4) : sameSize
      if (size === 0) return total
      at += size
    }
  }
  return total
}

const flag = {
  baseOffset: 0x1,
  descriptionIndex: 0x2,
  defaultDuration: 0x8,
  defaultSize: 0x10,
  dataOffset: 0x1,
  firstFlags: 0x4,
  duration: 0x100,
  size: 0x200,
  flags: 0x400,
  timeOffset: 0x800,
}

/** Section 8.8: the content of a `tfhd`, and of a `trun` below it. Where a run begins is told from the fragment's own beginning. */
export function* countRun(
  bytes: Buffer,
  {
    fragmentAt,
    head,
    run,
  }: { readonly fragmentAt: number; readonly head: Buffer; readonly run: Buffer },
  counter: PacketCounter,
): Generator<undefined, number> {
  const headFlags = numberAt(head, 0) & 0xffffff
  const runFlags = numberAt(run, 0) & 0xffffff
  const base = headFlags & flag.baseOffset ? wideNumberAt(head, 8) : fragmentAt
  let at = base + (runFlags & flag.dataOffset ? numberAt(run, 8) : 0)
  const packets = numberAt(run, 4)
  const sizeOffset = runFlags & flag.duration ? 4 : 0
  const perPacket = [flag.duration, flag.size, flag.flags, flag.timeOffset]
    .map((each) => (runFlags & each ? 4 : 0))
    .reduce<number>((sum, each) => sum + each, 0)
  const firstAt = 8 + (runFlags & flag.dataOffset ? 4 : 0) + (runFlags & flag.firstFlags ? 4 : 0)
  let total = 0
  for (let packet = 0; packet < packets; packet += 1) {
    if (packet % stepsPerYield === 0) yield
    counter.packetsLeft -= 1
    if (counter.packetsLeft < 0 || at >= bytes.length) return total
    total += counter.samplesOf(bytes.subarray(at, at + 2))
    const size =
      runFlags & flag.size
        ? numberAt(run, firstAt + packet * perPacket + sizeOffset)
        : defaultSizeOf(head)
    if (size === 0) return total
    at += size
  }
  return total
}

function defaultSizeOf(head: Buffer): number {
  const flags = numberAt(head, 0) & 0xffffff
  if (!(flags & flag.defaultSize)) return 0
  const before = [
    [flag.baseOffset, 8],
    [flag.descriptionIndex, 4],
    [flag.defaultDuration, 4],
  ] as const
  return numberAt(
    head,
    before.reduce((at, [each, size]) => at + (flags & each ? size : 0), 8),
  )
}

/** Behind a table's own head. */
function rowsOf(table: Buffer, rowBytes: number): number {
  return Math.max(0, Math.floor((table.length - 8) / rowBytes))
}

/** 0 beyond the end. */
function numberAt(bytes: Buffer, at: number): number {
  return at >= 0 && at + 4 <= bytes.length ? bytes.readUInt32BE(at) : 0
}

function wideNumberAt(bytes: Buffer, at: number): number {
  return at >= 0 && at + 8 <= bytes.length ? Number(bytes.readBigUInt64BE(at)) : 0
}
