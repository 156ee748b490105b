import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { manualClock, systemClock, type Clock } from '../../platform/clock.ts'
import { systemFiles, type JournalFiles } from './files.ts'
import { scanSegment } from './frame.ts'
import { openJournal, type Journal } from './journal.ts'

const segmentBytes = 64 * 1024
let directory: string
beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-journal-'))
})
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }))

interface Opened {
  readonly journal: Journal
  /** The lines found at opening. */
  readonly found: string[]
  readonly fatal: Error[]
}

async function open(
  options: {
    files?: Partial<JournalFiles>
    segmentBytes?: number
    bytesMax?: number
    clock?: Clock
  } = {},
): Promise<Opened> {
  const found: string[] = []
  const fatal: Error[] = []
  const journal = await openJournal(
    {
      directory,
      segmentBytes: options.segmentBytes ?? segmentBytes,
      bytesMax: options.bytesMax ?? 16 * segmentBytes,
      clock: options.clock ?? systemClock,
      files: { ...systemFiles, ...options.files },
      onFatal: (error) => fatal.push(error),
    },
    (line) => found.push(line),
  )
  return { journal, found, fatal }
}

const line = (sequence: bigint): string =>
  JSON.stringify({ n: String(sequence), pad: 'x'.repeat(200) })
const lines = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => line(BigInt(from + index)))
const segmentNames = (): string[] => fs.readdirSync(directory).toSorted()
const firstSegment = (): string => join(directory, '0000000001.journal')

/** Appends one batch after the other. */
async function appendEach(journal: Journal, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await journal.append(line)
}

/** Appends side by side, so that writers share batches. */
async function appendTogether(journal: Journal, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => journal.append(line)))
}

async function readAll(journal: Journal, max: number): Promise<string[]> {
  const seen: string[] = []
  for (let through = 0n; ;) {
    const batch = await journal.read(through, max)
    if (batch.through === through) return seen
    seen.push(...batch.lines)
    through = batch.through
  }
}

function diskError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code })
}

test('what was appended is found after a restart, in order, over several segments', async () => {
  const { journal } = await open()
  await appendEach(journal, 700)
  await journal.close()
  const again = await open()
  expect(again.found).toEqual(lines(1, 700))
  expect(again.journal.nextSequence).toBe(701n)
  await again.journal.close()
})

test('writers that come together share a write', async () => {
  let writes = 0
  const { journal } = await open({
    files: { write: (...write) => ((writes += 1), systemFiles.write(...write)) },
  })
  await appendTogether(journal, 50)
  expect(writes).toBeLessThanOrEqual(2)
  await journal.close()
})

test('what comes in one turn of the event loop is one write, however it was asked for', async () => {
  let writes = 0
  const { journal } = await open({
    files: { write: (...write) => ((writes += 1), systemFiles.write(...write)) },
  })
  const later = Promise.resolve().then(() => journal.append(line))
  await Promise.all([journal.append(line), journal.append(line, 1_000), later])
  expect([writes, journal.durableSequence]).toEqual([1, 3n])
  await journal.close()
})

test('a journal that fails before its batch begins writes nothing of it', async () => {
  let writes = 0
  let held: (() => void) | undefined
  let holds = false
  const { journal } = await open({
    clock: {
      ...systemClock,
      afterTurn(work) {
        if (holds) held = work
        else systemClock.afterTurn(work)
      },
    },
    files: { write: (...write) => ((writes += 1), systemFiles.write(...write)) },
  })
  await appendEach(journal, 5)
  const bytes = fs.readFileSync(firstSegment())
  bytes[100] = (bytes[100] ?? 0) ^ 1
  fs.writeFileSync(firstSegment(), bytes)
  holds = true
  const late = expect(journal.append(line)).rejects.toMatchObject({
    code: 'billing.journal_failed',
  })
  await expect(journal.read(0n, 10)).rejects.toMatchObject({ code: 'billing.journal_failed' })
  await late
  held?.()
  await journal.close()
  expect(writes).toBe(5)
})

test('what may linger waits so long, or for the first that may not; and is before it on disk', async () => {
  const writes: number[] = []
  const clock = manualClock()
  const { journal } = await open({
    clock,
    files: {
      write: async (...write) => {
        await systemFiles.write(...write)
        writes.push(clock.monotonicMs())
      },
    },
  })
  const lingering = [journal.append(line, 10)]
  clock.advance(9)
  lingering.push(journal.append(line, 10))
  expect(writes).toEqual([])
  clock.advance(1)
  await Promise.all(lingering)
  expect(writes).toEqual([10])
  void journal.append(line, 10)
  await journal.append(line)
  expect([writes, journal.durableSequence]).toEqual([[10, 10], 4n])
  clock.advance(100)
  await journal.append(line)
  expect(writes).toEqual([10, 10, 110])
  await journal.close()
})

test('what lingers while others are written waits for its own time, or for whoever hurries it', async () => {
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let writes = 0
  const clock = manualClock()
  const { journal } = await open({
    clock,
    files: {
      write: async (...write) => {
        await gates[writes]?.promise
        writes += 1
        await systemFiles.write(...write)
      },
    },
  })
  const first = journal.append(line)
  await new Promise((resolve) => setImmediate(resolve))
  const lingering = journal.append(line, 10)
  gates[0]?.resolve()
  gates[1]?.resolve()
  await first
  await new Promise((resolve) => setImmediate(resolve))
  expect([writes, journal.durableSequence]).toEqual([1, 1n])
  journal.hurry()
  await lingering
  expect([writes, journal.durableSequence]).toEqual([2, 2n])
  await journal.close()
})

test('batches begin a millisecond apart while events come faster than the disk answers; what lingers joins them', async () => {
  let writes = 0
  const clock = manualClock()
  const { journal } = await open({
    clock,
    files: { write: (...write) => ((writes += 1), systemFiles.write(...write)) },
  })
  const [first, ...others] = [journal.append(line), journal.append(line, 10), journal.append(line)]
  await first
  await new Promise((resolve) => setImmediate(resolve))
  others.push(journal.append(line))
  clock.advance(0.9)
  expect(writes).toBe(1)
  clock.advance(0.1)
  await Promise.all(others)
  expect(writes).toBe(2)
  // Nobody came meanwhile.
  await journal.append(line)
  clock.advance(20)
  expect(writes).toBe(3)
  await journal.close()
  const again = await open()
  expect(again.found).toEqual(lines(1, 5))
  await again.journal.close()
})

test('what lingers at the end is written, and found after a restart', async () => {
  const { journal } = await open()
  const lingering = journal.append(line, 10)
  await journal.close()
  await lingering
  const again = await open()
  expect(again.found).toEqual(lines(1, 1))
  await again.journal.close()
})

test('nobody is told before the write has returned', async () => {
  const write = Promise.withResolvers<void>()
  const { journal } = await open({ files: { write: () => write.promise } })
  let told = false
  const appended = journal.append(line).then(() => (told = true))
  await new Promise((resolve) => setImmediate(resolve))
  expect([told, journal.durableSequence]).toEqual([false, 0n])
  write.resolve()
  await appended
  expect([told, journal.durableSequence]).toEqual([true, 1n])
  await journal.close()
})

test.each([1, 30, 1_000])(
  'reading in batches of %i meets every event once, in order',
  async (max) => {
    const { journal } = await open()
    await appendEach(journal, 60)
    for (let i = 0; i < 10; i += 1) await appendTogether(journal, 74)
    expect(await readAll(journal, max)).toEqual(lines(1, 800))
    expect((await journal.read(795n, 100)).lines).toEqual(lines(796, 800))
    await journal.close()
  },
)

test('a backlog larger than one reading is met whole', async () => {
  const { journal } = await open({ segmentBytes: 8 * 1024 * 1024, bytesMax: 32 * 1024 * 1024 })
  const long = (sequence: bigint): string => `{"n":"${sequence}","pad":"${'y'.repeat(12_000)}"}`
  for (let i = 0; i < 9; i += 1)
    await Promise.all(Array.from({ length: 100 }, () => journal.append(long)))
  const seen = await readAll(journal, 1_000)
  expect(seen).toHaveLength(900)
  expect(seen.at(-1)).toBe(long(900n))
  await journal.close()
})

test('segments that the ledger has are deleted, and the rest still opens', async () => {
  const { journal } = await open()
  await appendEach(journal, 800)
  journal.forget(700n)
  expect(journal.firstSequence).toBeGreaterThan(1n)
  await journal.close()
  expect(fs.existsSync(firstSegment())).toBe(false)
  const again = await open()
  expect(again.found.at(-1)).toBe(line(800n))
  expect(again.journal.nextSequence).toBe(801n)
  expect((await again.journal.read(0n, 1)).lines[0]).toBe(again.found[0])
  await again.journal.close()
})

test('writing goes on after a torn end was dropped, with whatever was left of it', async () => {
  const { journal } = await open()
  await appendEach(journal, 3)
  await journal.close()
  const whole = fs.readFileSync(firstSegment())
  const start = scanSegment(whole, undefined).frames.at(-1)?.offset ?? 0
  for (const keep of [1, 47, 48, 200]) {
    const bytes = Buffer.from(whole)
    bytes.fill(0, start + keep)
    fs.writeFileSync(firstSegment(), bytes)
    const again = await open()
    expect(again.found).toEqual(lines(1, 2))
    await again.journal.append(line)
    await again.journal.close()
    const third = await open()
    expect(third.found).toEqual(lines(1, 3))
    await third.journal.close()
  }
})

test('a batch torn at the start of a new segment is dropped, and nothing before it', async () => {
  const { journal } = await open()
  await appendEach(journal, 300)
  await journal.close()
  const second = join(directory, '0000000002.journal')
  const bytes = fs.readFileSync(second)
  const kept = Number(scanSegment(bytes, undefined).frames[0]?.firstSequence) - 1
  bytes.fill(0, 100)
  fs.writeFileSync(second, bytes)
  const again = await open()
  expect(again.found).toEqual(lines(1, kept))
  await appendEach(again.journal, 10)
  await again.journal.close()
  expect((await open()).found).toEqual(lines(1, kept + 10))
})

test('a torn end leaves nothing behind that a later start could take for damage', async () => {
  const { journal } = await open()
  await appendEach(journal, 200)
  await journal.close()
  const bytes = fs.readFileSync(firstSegment())
  bytes.fill(0xaa, scanSegment(bytes, undefined).end)
  fs.writeFileSync(firstSegment(), bytes)
  const again = await open()
  expect(again.found).toEqual(lines(1, 200))
  // Too long for what is left of the first segment.
  await again.journal.append(() => JSON.stringify('x'.repeat(12_000)))
  await again.journal.close()
  expect((await open()).found).toHaveLength(201)
})

test('a segment that was cut short goes on within its length', async () => {
  const { journal } = await open()
  await appendEach(journal, 10)
  await journal.close()
  fs.truncateSync(firstSegment(), 5_000)
  const again = await open()
  await appendEach(again.journal, 100)
  expect(fs.statSync(firstSegment()).size).toBe(5_000)
  await again.journal.close()
  expect((await open()).journal.nextSequence).toBe(again.journal.nextSequence)
})

test('damage to a promised record refuses to open, and changes nothing', async () => {
  const { journal } = await open()
  await appendEach(journal, 5)
  await journal.close()
  const bytes = fs.readFileSync(firstSegment())
  bytes[100] = (bytes[100] ?? 0) ^ 1
  fs.writeFileSync(firstSegment(), bytes)
  await expect(open()).rejects.toMatchObject({ code: 'billing.journal_failed' })
  await expect(open()).rejects.toThrow('0000000001.journal is damaged at byte 0')
  expect(fs.readFileSync(firstSegment()).equals(bytes)).toBe(true)
})

test('a torn segment with whole ones after it, or a missing one, refuses to open', async () => {
  const { journal } = await open()
  await appendEach(journal, 900)
  await journal.close()
  const whole = fs.readFileSync(firstSegment())
  const last = scanSegment(whole, undefined).frames.at(-1)
  const torn = Buffer.from(whole)
  torn.fill(0, (last?.offset ?? 0) + 60)
  fs.writeFileSync(firstSegment(), torn)
  await expect(open()).rejects.toMatchObject({ code: 'billing.journal_failed' })
  fs.writeFileSync(firstSegment(), whole)
  fs.rmSync(join(directory, '0000000002.journal'))
  await expect(open()).rejects.toMatchObject({ code: 'billing.journal_failed' })
})

test.each([1, 2, 3, 7])(
  'when write %i fails, who waits and who comes later is refused, and what was promised is there',
  async (failing) => {
    let writes = 0
    const { journal, fatal } = await open({
      files: {
        write: (...write) =>
          (writes += 1) === failing
            ? Promise.reject(diskError('EIO'))
            : systemFiles.write(...write),
      },
    })
    await appendEach(journal, failing - 1)
    const together = [journal.append(line), journal.append(line)]
    for (const append of together)
      await expect(append).rejects.toMatchObject({ code: 'billing.journal_failed' })
    await expect(journal.append(line)).rejects.toMatchObject({ code: 'billing.journal_failed' })
    await expect(journal.reserve(10)).rejects.toMatchObject({ code: 'billing.journal_failed' })
    expect(fatal).toHaveLength(1)
    await journal.close()
    expect((await open()).found).toEqual(lines(1, failing - 1))
  },
)

test('a write that fails after its bytes arrived may be found later: it was promised to nobody', async () => {
  const { journal } = await open({
    files: {
      async write(...write) {
        await systemFiles.write(...write)
        throw diskError('EIO')
      },
    },
  })
  await expect(journal.append(line)).rejects.toMatchObject({ code: 'billing.journal_failed' })
  await journal.close()
  expect((await open()).found.length).toBeLessThanOrEqual(1)
})

test('while the disk does not answer, nobody is admitted; when it does, all goes on', async () => {
  const clock = manualClock()
  const gate = Promise.withResolvers<void>()
  const { journal } = await open({
    clock,
    files: { write: (...write) => gate.promise.then(() => systemFiles.write(...write)) },
  })
  const stuck = journal.append(line)
  clock.advance(900)
  await journal.reserve(100)
  clock.advance(200)
  await expect(journal.reserve(100)).rejects.toMatchObject({ code: 'capacity.overloaded' })
  gate.resolve()
  await stuck
  await journal.reserve(100)
  await journal.close()
})

test('damage that appears while the journal is open stops it', async () => {
  const { journal, fatal } = await open()
  await appendEach(journal, 5)
  const bytes = fs.readFileSync(firstSegment())
  bytes[100] = (bytes[100] ?? 0) ^ 1
  fs.writeFileSync(firstSegment(), bytes)
  await expect(journal.read(0n, 10)).rejects.toMatchObject({ code: 'billing.journal_failed' })
  await expect(journal.reserve(10)).rejects.toMatchObject({ code: 'billing.journal_failed' })
  expect(fatal).toHaveLength(1)
  await journal.close()
})

/** Reserves until refused. */
async function reserveAll(journal: Journal): Promise<number> {
  for (let count = 0; ; count += 1) {
    try {
      await journal.reserve(1_024)
    } catch (refusal) {
      expect(refusal).toMatchObject({ code: 'billing.journal_full' })
      return count
    }
  }
}

test('what was reserved can always be written, and who finds no room is refused before', async () => {
  const { journal, fatal } = await open({ bytesMax: 4 * segmentBytes })
  const admitted = await reserveAll(journal)
  expect(admitted).toBeGreaterThan(150)
  expect(admitted * 1_024).toBeLessThan(4 * segmentBytes)
  const full = (sequence: bigint): string => `${sequence} ${'z'.repeat(950)}`
  for (let i = 0; i < admitted; i += 1) {
    journal.release(1_024)
    await journal.append(full)
  }
  expect(fatal).toEqual([])
  await journal.close()
  expect((await open()).found).toHaveLength(admitted)
})

test('a full disk refuses reservations and not what was reserved; freed, it goes on by itself', async () => {
  let isDiskFull = false
  const { journal, fatal } = await open({
    files: {
      create(path) {
        if (isDiskFull) throw diskError('ENOSPC')
        return systemFiles.create(path)
      },
    },
  })
  isDiskFull = true
  const admitted = await reserveAll(journal)
  for (let i = 0; i < admitted; i += 1) {
    journal.release(1_024)
    await journal.append(line)
  }
  expect(fatal).toEqual([])
  await expect(journal.reserve(2 * segmentBytes)).rejects.toThrow('ENOSPC')
  isDiskFull = false
  expect(await reserveAll(journal)).toBeGreaterThan(500)
  await journal.close()
})

test('a half-made segment of a crash is cleared away', async () => {
  await (await open()).journal.close()
  fs.writeFileSync(join(directory, '0000000009.journal.partial'), 'zeros, some day')
  await (await open()).journal.close()
  expect(segmentNames().filter((name) => name.endsWith('.partial'))).toEqual([])
})

test('after its end nothing is written, since the files may be others by then', async () => {
  const { journal, fatal } = await open()
  await journal.append(line)
  await journal.close()
  await expect(journal.append(line)).rejects.toMatchObject({ code: 'billing.journal_failed' })
  await expect(journal.reserve(10)).rejects.toMatchObject({ code: 'billing.journal_failed' })
  expect(fatal).toEqual([])
})
