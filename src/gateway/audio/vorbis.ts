/** How many samples a Vorbis packet adds: by its block's length and that of the one before (Vorbis I specification, section 4.3.8). */

export interface VorbisCounter {
  /** With the third header packet: which modes have long blocks. */
  setUp(packet: Buffer): void
  /** Of a packet of sound, its first byte is enough. */
  take(packet: Buffer): number
}

const modesMax = 64
/** A mode: 1 bit for the block's length, 16 for the window, 16 for the transform, 8 for the mapping. */
const modeBits = 41

export function openVorbis(identification: Buffer): VorbisCounter {
  const sizes = identification.readUInt8(28)
  const blocks = [1 << (sizes & 15), 1 << (sizes >> 4)] as const
  let modes: readonly boolean[] = []
  let previous: number | undefined
  return {
    setUp(packet) {
      modes = readModes(packet)
    },
    take(packet) {
      const first = packet[0]
      // An odd first byte is a header, as after a chained stream's beginning.
      if (first === undefined || first % 2 === 1 || modes.length === 0) return 0
      const bits = 32 - Math.clz32(modes.length - 1)
      const isLong = modes[(first >> 1) & ((1 << bits) - 1)] ?? true
      const block = blocks[isLong ? 1 : 0]
      const added = previous === undefined ? 0 : previous / 4 + block / 4
      previous = block
      return added
    },
  }
}

/**
 * The modes stand at the end of the packet, behind much that only a decoder needs. Read backwards, a mode is known by its window and its transform,
 * which are always 0; and the list of them by its length, which stands before it.
 */
function readModes(packet: Buffer): readonly boolean[] {
  const bit = (at: number): number => ((packet[at >> 3] ?? 0) >> (at & 7)) & 1
  const number = (at: number, bits: number): number => {
    let value = 0
    for (let index = 0; index < bits; index += 1) value += bit(at + index) * 2 ** index
    return value
  }
  let end = packet.length * 8 - 1
  while (end > 0 && bit(end) === 0) end -= 1
  let found: readonly boolean[] = []
  const modes: boolean[] = []
  for (let at = end - modeBits; at > 6 && modes.length < modesMax; at -= modeBits) {
    if (number(at + 1, 32) !== 0 || number(at + 33, 8) >= modesMax) break
    modes.unshift(bit(at) === 1)
    if (number(at - 6, 6) === modes.length - 1) found = [...modes]
  }
  return found
}
