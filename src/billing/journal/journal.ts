/**
 * The journal on this gateway's own disk: events are durable when `append` resolves. Writers share a sync (group commit): while one batch is
 * on its way, the next one gathers. Segments are files of real zero bytes made ahead of need, so a write inside them cannot meet a
 * full disk; who is admitted reserves the bytes of its settlement.
 */
import { assert } from '../../platform/assert.ts'
import type { Clock } from '../../platform/clock.ts'
import { Fault } from '../../platform/fault.ts'
import { systemFiles, type JournalFiles } from './files.ts'
import { decodeFrame, encodeFrame, frameBytesMax, headerBytes } from './frame.ts'
import {
  damaged,
  makeSegment,
  readSegment,
  recoverSegments,
  removeSegment,
  segmentPath,
  type Segment,
} from './segment.ts'

export interface JournalOptions {
  readonly directory: string
  readonly segmentBytes: number
  /** All segments together; the journal is full when none can be added. */
  readonly bytesMax: number
  readonly clock: Clock
  readonly files?: JournalFiles | undefined
  /** Called once, when nothing can be promised any more: a write or a sync failed, or what was durable cannot be read back. */
  readonly onFatal: (error: Error) => void
}

export interface Journal {
  /** The sequence of the oldest event that is left; the next one's when there is none. */
  readonly firstSequence: bigint
  /** The sequence of the next event. */
  readonly nextSequence: bigint
  /** Events up to here are durable. */
  readonly durableSequence: bigint
  readonly bytes: number
  /** Whether so many bytes are free that nobody has reserved. */
  hasRoom(bytes: number): boolean
  /**
   * Takes bytes for later appends. Throws `billing.journal_full`, `billing.journal_failed`, or `capacity.overloaded` while the disk
   * does not answer.
   */
  reserve(bytes: number): Promise<void>
  release(bytes: number): void
  /**
   * `encode` gets the event's sequence. What need not be durable at once may linger for so long, to share the sync of others. Throws
   * `billing.journal_failed`.
   */
  append(encode: (sequence: bigint) => string, lingerMs?: number): Promise<void>
  /** What lingers goes on its way now: somebody waits for it. */
  hurry(): void
  /** Durable events after a sequence, as lines: at most `max`, or one whole frame. Throws `billing.journal_failed`. */
  read(after: bigint, max: number): Promise<Batch>
  /** Deletes the segments whose events all lie at or before a sequence. */
  forget(through: bigint): void
  close(): Promise<void>
}

export interface Batch {
  readonly lines: readonly string[]
  /** The sequence of the last line. */
  readonly through: bigint
}

interface Waiting {
  readonly line: string
  readonly bytes: number
  readonly resolve: () => void
  readonly reject: (error: Fault) => void
}

/** Holds several whole frames. */
const readBytesMax = 4 * (frameBytesMax + headerBytes)
/** A sync under way for longer than this stops admissions. */
const stallMs = 1_000
/** When events come faster than the disk answers, batches begin no sooner after each other: a sync costs as much CPU as a sixth of a small request. */
const paceMs = 1

/** Opens the journal, and hands every line found to `onLine` in order. */
export async function openJournal(
  options: JournalOptions,
  onLine: (line: string) => void,
): Promise<Journal> {
  const { directory, segmentBytes, bytesMax, clock, onFatal } = options
  const files = options.files ?? systemFiles
  const batchBytesMax = Math.min(frameBytesMax, Math.floor(segmentBytes / 4))
  files.makeDirectory(directory)

  const found = await recoverSegments(directory, files, onLine)
  const { segments, spares } = found
  let previousHash = found.lastHash
  let nextSequence = found.nextSequence
  let durableSequence = nextSequence - 1n
  let nextNumber = found.nextNumber
  let reservedBytes = 0
  let queue: Waiting[] = []
  /** When the first in the queue lingers no longer. */
  let dueMs = Infinity
  /** No batch begins before. */
  let notBeforeMs = 0
  let timerMs = Infinity
  let cancelTimer: (() => void) | undefined
  /** In the queue, and in the batch that is being written. */
  let pendingBytes = 0
  let writing: Promise<void> | undefined
  let writingSinceMs: number | undefined
  let allocating: Promise<void> | undefined
  let allocationError: string | undefined
  let failure: Fault | undefined
  /** Where the last `read` ended, so that the next one need not search. */
  let cursor: { segment: Segment | undefined; offset: number; sequence: bigint } = {
    segment: undefined,
    offset: 0,
    sequence: -1n,
  }

  const allBytes = (): number => sizeOf(segments) + sizeOf(spares)
  const current = (): Segment => {
    const segment = segments.at(-1)
    assert(segment, 'an open journal has a segment')
    return segment
  }
  /** What is on disk, free and promised to nobody; less the end of each segment, into which the next frame may not fit. */
  const freeBytes = (): number =>
    current().bytes -
    current().end +
    sizeOf(spares) -
    (spares.length + 1) * batchBytesMax -
    reservedBytes -
    pendingBytes

  const allocate = (): void => {
    if (allocating || allBytes() + segmentBytes > bytesMax) return
    const path = segmentPath(directory, nextNumber)
    nextNumber += 1
    allocating = makeSegment(path, segmentBytes, files)
      .then((spare) => {
        allocationError = undefined
        spares.push(spare)
      })
      // A full disk, mostly: the next reservation tries again, and is refused until it works.
      .catch((error: unknown) => {
        allocationError = error instanceof Error ? error.message : 'unknown'
      })
      .finally(() => {
        allocating = undefined
      })
  }

  const fail = (error: Error): Fault => {
    if (failure) return failure
    failure =
      error instanceof Fault
        ? error
        : new Fault({
            code: 'billing.journal_failed',
            public:
              'The gateway cannot record usage, so it takes no requests. Another gateway may.',
            internal: `the journal's disk failed: ${error.message}`,
            cause: error,
            retryAfterMs: 1_000,
          })
    for (const waiting of queue) waiting.reject(failure)
    queue = []
    cancelTimer?.()
    onFatal(error)
    return failure
  }

  const takeBatch = (): Waiting[] => {
    let size = 0
    let count = 0
    for (const waiting of queue) {
      if (count > 0 && size + waiting.bytes > batchBytesMax - headerBytes) break
      size += waiting.bytes
      count += 1
    }
    return queue.splice(0, count)
  }

  /** Begins the next batch when one is due, or sees to it that it begins then. */
  const schedule = (): void => {
    // The writer looks at the queue when it is done.
    if (writingSinceMs !== undefined || queue.length === 0) return
    const beginMs = Math.max(dueMs, notBeforeMs)
    const waitMs = beginMs - clock.monotonicMs()
    if (waitMs > 0 && beginMs >= timerMs) return
    cancelTimer?.()
    timerMs = Infinity
    if (waitMs > 0) {
      timerMs = beginMs
      // Whole milliseconds: what is left may be too small a fraction to move a clock.
      cancelTimer = clock.after(Math.ceil(waitMs), () => {
        timerMs = Infinity
        schedule()
      })
    } else {
      // Now, so that nobody begins a second one; those who come in this turn of the event loop are still part of it.
      writingSinceMs = clock.monotonicMs()
      writing = new Promise<void>((resolve) => clock.afterTurn(resolve))
        .then(writeBatch)
        .then(schedule)
    }
  }

  const hurry = (): void => {
    dueMs = 0
    notBeforeMs = 0
    schedule()
  }

  const writeBatch = async (): Promise<void> => {
    const startedMs = clock.monotonicMs()
    writingSinceMs = startedMs
    const batch = takeBatch()
    // It failed meanwhile, and has told them.
    if (batch.length === 0) return
    dueMs = queue.length > 0 ? startedMs : Infinity
    const first = durableSequence + 1n
    const lines = batch.map((waiting) => waiting.line)
    const { frame, hash } = encodeFrame(lines, first, previousHash)
    try {
      const segment = await roomFor(frame.length)
      await files.write(segment.fd, frame, segment.end)
      segment.end += frame.length
      segment.firstSequence ??= first
      durableSequence += BigInt(batch.length)
      segment.lastSequence = durableSequence
      previousHash = hash
      for (const waiting of batch) pendingBytes -= waiting.bytes
      for (const waiting of batch) waiting.resolve()
    } catch (error) {
      const fault = fail(error instanceof Error ? error : new Error('the disk failed'))
      for (const waiting of batch) waiting.reject(fault)
    }
    writingSinceMs = undefined
    // Others came meanwhile: the next batch waits for more of them.
    notBeforeMs = dueMs <= clock.monotonicMs() ? startedMs + paceMs : 0
  }

  const roomFor = async (frameBytes: number): Promise<Segment> => {
    if (current().end + frameBytes <= current().bytes) return current()
    if (spares.length === 0) {
      allocate()
      await allocating
    }
    const spare = spares.shift()
    if (!spare || spare.bytes < frameBytes)
      throw new Error(`no room for a record that was admitted: ${allocationError ?? 'bytesMax'}`)
    segments.push(spare)
    return spare
  }

  /** The whole frames of one segment that follow the cursor. */
  const readFrames = async (
    segment: Segment,
    after: bigint,
    max: number,
  ): Promise<{ lines: string[]; through: bigint }> => {
    const lines: string[] = []
    let through = after
    let offset = cursor.segment === segment ? cursor.offset : 0
    while (offset < segment.end && lines.length < max) {
      const bytes = await readSegment(segment, { offset, bytesMax: readBytesMax }, files)
      const before = offset
      for (let start = 0; start < bytes.length && lines.length < max;) {
        const frame = decodeFrame(bytes, start)
        if (!frame) break
        start += frame.bytes
        offset += frame.bytes
        const events = frame.payload.toString('utf8').split('\n')
        const last = frame.firstSequence + BigInt(events.length - 1)
        if (last <= through) continue
        const known = through < frame.firstSequence ? 0 : Number(through - frame.firstSequence) + 1
        // One by one: a frame holds more events than a call takes arguments.
        for (const event of events.slice(known)) lines.push(event)
        through = last
      }
      if (offset === before) throw fail(damaged(segment.path, offset))
    }
    cursor = { segment, offset, sequence: through }
    return { lines, through }
  }

  if (segments.length === 0) {
    if (spares.length === 0) {
      allocate()
      await allocating
    }
    const first = spares.shift()
    if (!first) throw full(allocationError)
    segments.push(first)
  }
  if (spares.length === 0) allocate()

  return {
    get firstSequence() {
      return segments[0]?.firstSequence ?? durableSequence + 1n
    },
    get nextSequence() {
      return nextSequence
    },
    get durableSequence() {
      return durableSequence
    },
    get bytes() {
      return allBytes()
    },
    hasRoom: (wanted) => freeBytes() >= wanted,
    async reserve(wanted) {
      for (;;) {
        if (failure) throw failure
        if (writingSinceMs !== undefined && clock.monotonicMs() - writingSinceMs > stallMs)
          throw stalled()
        // A whole segment ahead: making one takes longer than a burst takes to fill half of one.
        if (freeBytes() < segmentBytes) allocate()
        if (freeBytes() >= wanted) break
        if (!allocating) throw full(allocationError)
        await allocating
        if (allocationError !== undefined) throw full(allocationError)
      }
      reservedBytes += wanted
    },
    release(given) {
      reservedBytes -= given
      assert(reservedBytes >= 0, 'what is released was reserved')
    },
    append(encode, lingerMs = 0) {
      if (failure) return Promise.reject(failure)
      const line = encode(nextSequence)
      const size = Buffer.byteLength(line) + 1
      assert(size + headerBytes <= batchBytesMax, 'an event fits into a batch')
      nextSequence += 1n
      pendingBytes += size
      return new Promise((resolve, reject) => {
        queue.push({ line, bytes: size, resolve, reject })
        dueMs = Math.min(dueMs, clock.monotonicMs() + lingerMs)
        schedule()
      })
    },
    hurry,
    async read(after, max) {
      if (failure) throw failure
      if (cursor.sequence !== after) cursor = { segment: undefined, offset: 0, sequence: after }
      const lines: string[] = []
      let through = after
      for (const segment of segments) {
        if (lines.length >= max || segment.firstSequence === undefined) break
        if (segment.lastSequence <= after) continue
        const part = await readFrames(segment, through, max - lines.length)
        for (const line of part.lines) lines.push(line)
        through = part.through
      }
      return { lines, through }
    },
    forget(through) {
      for (;;) {
        const [oldest, next] = segments
        if (!oldest || !next || oldest.lastSequence > through) return
        segments.shift()
        removeSegment(oldest, files)
      }
    },
    async close() {
      while (queue.length > 0) {
        hurry()
        await writing
      }
      await writing
      await allocating
      // The numbers of closed files are given to others: nothing may be written to them any more.
      failure ??= closed()
      for (const segment of [...segments, ...spares]) files.close(segment.fd)
    },
  }
}

function sizeOf(segments: readonly Segment[]): number {
  return segments.reduce((sum, segment) => sum + segment.bytes, 0)
}

function full(allocationError: string | undefined): Fault {
  return new Fault({
    code: 'billing.journal_full',
    public: 'The gateway has no space to record usage, so it takes no requests. Try again shortly.',
    internal: `no segment can be added to the journal: ${allocationError ?? 'journal.bytesMax is reached'}`,
    retryAfterMs: 5_000,
  })
}

function closed(): Fault {
  return new Fault({
    code: 'billing.journal_failed',
    public: 'The gateway has stopped. Another gateway may answer.',
    internal: 'the journal is closed',
    retryAfterMs: 1_000,
  })
}

function stalled(): Fault {
  return new Fault({
    code: 'capacity.overloaded',
    public: 'The gateway is slow to record usage at the moment. Try again shortly.',
    internal: `the journal's disk has not answered for ${stallMs} ms`,
    retryAfterMs: 2_000,
  })
}
