import fs from 'node:fs'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { decodeFrame, encodeFrame, genesisHash, scanSegment } from './frame.ts'
import { systemFiles, type JournalFiles } from './files.ts'
import { openJournal, type Journal } from './journal.ts'

const segmentBytes = 64 * 1024
let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'colonnade-journal-'))
})
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }))

async function open(
  options: { files?: JournalFiles; bytesMax?: number; onFatal?: () => void } = {},
): Promise<{ journal: Journal; found: string[] }> {
  const found: string[] = []
  const journal = await openJournal(
    {
      directory,
      segmentBytes,
      bytesMax: options.bytesMax ?? 16 * segmentBytes,
      files: options.files,
      onFatal: options.onFatal ?? (() => {}),
    },
    (line) => found.push(line),
  )
  return { journal, found }
}

const line = (sequence: bigint): string =>
  JSON.stringify({ n: String(sequence), pad: 'x'.repeat(200) })
const firstSegment = (): string => join(directory, '0000000001.journal')

test('what was appended is found after a restart, in order', async () => {
  const { journal } = await open()
  const lines: string[] = []
  for (let i = 0; i < 700; i += 1)
    (lines.push(line(journal.nextSequence)), await journal.append(line))
  await journal.close()
  const again = await open()
  expect(again.found).toEqual(lines)
  expect(again.journal.nextSequence).toBe(701n)
  await again.journal.close()
})

test('writers that come together share a sync', async () => {
  let syncs = 0
  const files: JournalFiles = {
    ...systemFiles,
    datasync: (fd) => ((syncs += 1), systemFiles.datasync(fd)),
  }
  const { journal } = await open({ files })
  await Promise.all(Array.from({ length: 50 }, () => journal.append(line)))
  expect(syncs).toBeLessThanOrEqual(3)
  await journal.close()
})

test('reading goes on where the last reading ended, across segments', async () => {
  const { journal } = await open()
  for (let i = 0; i < 20; i += 1)
    await Promise.all(Array.from({ length: 40 }, () => journal.append(line)))
  const seen: string[] = []
  let through = 0n
  for (;;) {
    const batch = await journal.read(through, 30)
    if (batch.through === through) break
    seen.push(...batch.lines)
    through = batch.through
  }
  expect(seen).toHaveLength(800)
  expect(new Set(seen).size).toBe(800)
  const middle = await journal.read(795n, 100)
  expect(middle.lines).toEqual([796n, 797n, 798n, 799n, 800n].map(line))
  await journal.close()
})

test('segments that the ledger has are deleted, and the rest still opens', async () => {
  const { journal } = await open()
  for (let i = 0; i < 800; i += 1) await journal.append(line)
  journal.forget(700n)
  await journal.close()
  expect(fs.existsSync(firstSegment())).toBe(false)
  const again = await open()
  expect(again.found.at(-1)).toBe(line(800n))
  expect(again.journal.nextSequence).toBe(801n)
  await again.journal.close()
})

test('a file cut anywhere loses at most the batch that it was cut in', async () => {
  const { journal } = await open()
  for (let i = 0; i < 3; i += 1) await journal.append(line)
  await journal.close()
  const whole = fs.readFileSync(firstSegment())
  const ends = scanSegment(whole, undefined).frames.map((frame) => frame.offset + frame.bytes)
  for (let cut = 0; cut <= (ends.at(-1) ?? 0); cut += 1) {
    const torn = Buffer.concat([whole.subarray(0, cut), Buffer.alloc(whole.length - cut)])
    const scan = scanSegment(torn, undefined)
    expect(scan.state).not.toBe('damaged')
    expect(scan.frames).toHaveLength(ends.filter((end) => end <= cut).length)
  }
})

test('writing goes on after a torn end was dropped', async () => {
  const { journal } = await open()
  for (let i = 0; i < 3; i += 1) await journal.append(line)
  await journal.close()
  const bytes = fs.readFileSync(firstSegment())
  const last = scanSegment(bytes, undefined).frames.at(-1)
  bytes.fill(0, (last?.offset ?? 0) + 60)
  fs.writeFileSync(firstSegment(), bytes)
  const again = await open()
  expect(again.found).toHaveLength(2)
  await again.journal.append(line)
  await again.journal.close()
  const third = await open()
  expect(third.found).toEqual([1n, 2n, 3n].map(line))
  await third.journal.close()
})

test('every flipped bit of a full segment is detected, or lies in the last batch or in unused space', () => {
  let previous = genesisHash
  let sequence = 1n
  const bytes = Buffer.alloc(8 * 1024)
  let end = 0
  let lastStart = 0
  for (;;) {
    const made = encodeFrame([line(sequence)], sequence, previous)
    if (end + made.frame.length > bytes.length) break
    made.frame.copy(bytes, end)
    lastStart = end
    end += made.frame.length
    previous = made.hash
    sequence += 1n
  }
  const expected = scanSegment(bytes, genesisHash)
  expect(expected.state).toBe('clean')
  for (let bit = 0; bit < lastStart * 8; bit += 1) {
    const index = bit >> 3
    const mask = 1 << (bit & 7)
    bytes[index] = (bytes[index] ?? 0) ^ mask
    expect(scanSegment(bytes, genesisHash).state, `bit ${bit}`).toBe('damaged')
    bytes[index] = (bytes[index] ?? 0) ^ mask
  }
})

test('damage to a promised record refuses to open, and says where', async () => {
  const { journal } = await open()
  for (let i = 0; i < 5; i += 1) await journal.append(line)
  await journal.close()
  const bytes = fs.readFileSync(firstSegment())
  bytes[100] = (bytes[100] ?? 0) ^ 1
  fs.writeFileSync(firstSegment(), bytes)
  await expect(open()).rejects.toMatchObject({ code: 'billing.journal_failed' })
})

test('a missing segment in the middle refuses to open', async () => {
  const { journal } = await open()
  for (let i = 0; i < 900; i += 1) await journal.append(line)
  await journal.close()
  fs.rmSync(join(directory, '0000000002.journal'))
  await expect(open()).rejects.toMatchObject({ code: 'billing.journal_failed' })
})

test('a failed sync ends the journal: who waits is told, who comes later is refused, and nothing was promised', async () => {
  let syncs = 0
  let fatal = 0
  const files: JournalFiles = {
    ...systemFiles,
    datasync: (fd) =>
      (syncs += 1) === 3
        ? Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }))
        : systemFiles.datasync(fd),
  }
  const { journal } = await open({ files, onFatal: () => (fatal += 1) })
  await journal.append(line)
  await journal.append(line)
  await expect(journal.append(line)).rejects.toMatchObject({ code: 'billing.journal_failed' })
  await expect(journal.append(line)).rejects.toMatchObject({ code: 'billing.journal_failed' })
  expect(journal.reserve(10)).toBe(false)
  expect(fatal).toBe(1)
  expect(journal.durableSequence).toBe(2n)
})

test('what was reserved can always be written, and who finds no room is refused before', async () => {
  const { journal } = await open({ bytesMax: 4 * segmentBytes })
  let admitted = 0
  for (let tries = 0; tries < 2_000; tries += 1) {
    if (!journal.reserve(1_024)) {
      // A spare segment may be on its way.
      await new Promise((resolve) => setTimeout(resolve, 5))
      if (!journal.reserve(1_024)) break
    }
    admitted += 1
  }
  expect(admitted).toBeGreaterThan(50)
  expect(admitted).toBeLessThan(256)
  for (let i = 0; i < admitted; i += 1) {
    journal.release(1_024)
    await journal.append(line)
  }
  await journal.close()
  expect((await open()).found).toHaveLength(admitted)
})

test('a frame is read only where one was written', () => {
  const { frame } = encodeFrame(['{}'], 7n, genesisHash)
  expect(decodeFrame(frame, 0)).toMatchObject({ firstSequence: 7n })
  expect(decodeFrame(frame.subarray(0, -1), 0)).toBeUndefined()
  expect(decodeFrame(Buffer.alloc(200), 0)).toBeUndefined()
})
