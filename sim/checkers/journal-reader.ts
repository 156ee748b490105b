/**
 * Reads a journal from its bytes alone, by its documented format: length (4 bytes, little-endian) · CRC-32 (4) · first sequence (8) · SHA-256 of the
 * frame before (32) · events as lines. Shares no code with the journal.
 */
import { crc32 } from 'node:zlib'

export interface JournalEvent {
  readonly sequence: bigint
  readonly line: string
  readonly fields: Readonly<Record<string, unknown>>
}

const headerBytes = 48

export function readJournal(segments: readonly Buffer[]): JournalEvent[] {
  const events = new Map<bigint, JournalEvent>()
  for (const bytes of segments) {
    for (let offset = 0; offset + headerBytes <= bytes.length;) {
      const length = bytes.readUInt32LE(offset)
      const end = offset + headerBytes + length
      if (length === 0 || end > bytes.length) break
      if (crc32(bytes.subarray(offset + 8, end), length) !== bytes.readUInt32LE(offset + 4)) break
      let sequence = bytes.readBigUInt64LE(offset + 8)
      for (const line of bytes.toString('utf8', offset + headerBytes, end).split('\n')) {
        const fields: unknown = JSON.parse(line)
        if (typeof fields === 'object' && fields !== null)
          events.set(sequence, { sequence, line, fields: { ...fields } })
        sequence += 1n
      }
      offset = end
    }
  }
  return [...events.values()].toSorted((a, b) => (a.sequence < b.sequence ? -1 : 1))
}
