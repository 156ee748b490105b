import { expect, test } from 'vitest'
import { decodeFrame, encodeFrame, genesisHash, scanSegment } from './frame.ts'

/** Frames of one line each, as full as they get, without the rest of zeros that a segment has. */
function journalOf(bytesMax: number): { bytes: Buffer; starts: number[]; hashes: Buffer[] } {
  const frames: Buffer[] = []
  const starts: number[] = []
  const hashes: Buffer[] = [genesisHash]
  let end = 0
  for (let sequence = 1n; ; sequence += 1n) {
    const line = JSON.stringify({ n: String(sequence), pad: 'x'.repeat(200) })
    const made = encodeFrame([line], sequence, hashes.at(-1) ?? genesisHash)
    if (end + made.frame.length > bytesMax) break
    starts.push(end)
    frames.push(made.frame)
    hashes.push(made.hash)
    end += made.frame.length
  }
  return { bytes: Buffer.concat(frames), starts, hashes }
}

function flip(bytes: Buffer, bit: number): void {
  bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
}

test('no flipped bit of a 64 KiB journal goes unseen', () => {
  const { bytes, starts } = journalOf(64 * 1024)
  let unseen = 0
  for (const [index, start] of starts.entries()) {
    const end = starts[index + 1] ?? bytes.length
    for (let bit = start * 8; bit < end * 8; bit += 1) {
      flip(bytes, bit)
      if (decodeFrame(bytes, start)) unseen += 1
      flip(bytes, bit)
    }
  }
  expect(unseen).toBe(0)
})

test('a flipped bit before the last batch is damage; in the last batch it is a torn end that loses nothing else', () => {
  const { bytes, starts } = journalOf(8 * 1024)
  const lastStart = starts.at(-1) ?? 0
  const segment = Buffer.concat([bytes, Buffer.alloc(4096)])
  for (let bit = 0; bit < bytes.length * 8; bit += 7) {
    flip(segment, bit)
    const scan = scanSegment(segment, genesisHash)
    expect(scan.state, `bit ${bit}`).toBe(bit < lastStart * 8 ? 'damaged' : 'torn')
    if (scan.state === 'torn') expect(scan.end).toBe(lastStart)
    flip(segment, bit)
  }
})

test('a frame that is whole but does not follow the one before it is damage', () => {
  const { bytes, starts, hashes } = journalOf(2 * 1024)
  const [, second = 0, third = 0] = starts
  const without = Buffer.concat([bytes.subarray(0, second), bytes.subarray(third)])
  expect(scanSegment(without, genesisHash).state).toBe('damaged')
  const twice = Buffer.concat([bytes.subarray(0, second), bytes.subarray(0, second)])
  expect(scanSegment(twice, genesisHash).state).toBe('damaged')
  // The rest of a journal whose beginning was shipped and deleted is whole.
  expect(scanSegment(bytes.subarray(second), hashes[1]).state).toBe('clean')
  expect(scanSegment(bytes.subarray(second), hashes[2]).state).toBe('damaged')
})

test.each([
  { name: 'zeros follow the cut, as in a segment made ahead', rest: 4096 },
  { name: 'the file ends at the cut', rest: 0 },
])('a journal cut at any byte loses at most the batch that it was cut in: $name', ({ rest }) => {
  const { bytes, starts } = journalOf(2 * 1024)
  const ends = [...starts.slice(1), bytes.length]
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    const torn = Buffer.concat([bytes.subarray(0, cut), Buffer.alloc(rest)])
    const scan = scanSegment(torn, genesisHash)
    expect(scan.state, `cut at ${cut}`).not.toBe('damaged')
    expect(scan.frames).toHaveLength(ends.filter((end) => end <= cut).length)
  }
})

test('nothing is read where nothing was written', () => {
  const { frame } = encodeFrame(['{}'], 7n, genesisHash)
  expect(decodeFrame(frame, 0)).toMatchObject({ firstSequence: 7n })
  expect(decodeFrame(frame.subarray(0, -1), 0)).toBeUndefined()
  expect(decodeFrame(Buffer.alloc(200), 0)).toBeUndefined()
})
