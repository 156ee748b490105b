/**
 * The journal on this gateway's own disk: events are durable when `append` resolves. Writers share a sync (group commit): while one batch is
 * on its way, the next one gathers. Segments are files of real zero bytes made ahead of need, so a write inside them cannot meet a
 * full disk; who is admitted reserves the bytes of its settlement.
 */
import fs from 'node:fs'
import { join } from 'node:path'
import { assert } from '../../platform/assert.ts'
import { Fault } from '../../platform/fault.ts'
import {
  decodeFrame,
  encodeFrame,
  frameBytesMax,
  genesisHash,
  headerBytes,
  scanSegment,
} from './frame.ts'
import { systemFiles, type JournalFiles } from './files.ts'

export interface JournalOptions {
  readonly directory: string
  readonly segmentBytes: number
  /** All segments together; the journal is full when none can be added. */
  readonly bytesMax: number
  readonly files?: JournalFiles | undefined
  /** Called once, when a write or a sync failed and nothing can be promised any more. */
  readonly onFatal: (error: Error) => void
}

export interface Journal {
  /** The sequence of the next event. */
  readonly nextSequence: bigint
  /** Events up to here are durable. */
  readonly durableSequence: bigint
  /** Takes bytes for a later `append`; false when the journal is full. */
  reserve(bytes: number): boolean
  release(bytes: number): void
  /** `encode` gets the event's sequence. Throws `billing.journal_failed`. */
  append(encode: (sequence: bigint) => string): Promise<void>
  /** Durable events after a sequence, at most `max`, as lines. */
  read(
    after: bigint,
    max: number,
  ): Promise<{ readonly lines: readonly string[]; readonly through: bigint }>
  /** Deletes the segments whose events all lie at or before a sequence. */
  forget(through: bigint): void
  readonly bytes: number
  readonly isFailed: boolean
  close(): Promise<void>
}

interface Segment {
  readonly path: string
  readonly fd: number
  /** Where the next frame goes. */
  end: number
  /** `undefined` until its first frame. */
  firstSequence: bigint | undefined
  lastSequence: bigint
}

interface Waiting {
  readonly line: string
  readonly bytes: number
  readonly resolve: () => void
  readonly reject: (error: Fault) => void
}

/** Holds at least one whole frame. */
const readBytesMax = 4 * frameBytesMax
const namePattern = /^(\d{10})\.journal$/

/**
 * Opens the journal, hands every event line found to `onLine` in order, and drops a torn end. Throws `billing.journal_failed` for damage to
 * anything that was promised: such a journal needs a person.
 */
export async function openJournal(
  options: JournalOptions,
  onLine: (line: string, sequence: bigint) => void,
): Promise<Journal> {
  const { directory, segmentBytes, bytesMax, onFatal } = options
  const files = options.files ?? systemFiles
  assert(
    segmentBytes >= 2 * frameBytesMax || segmentBytes * 2 >= bytesMax || segmentBytes >= 65_536,
    'a segment holds at least one frame',
  )
  const batchBytesMax = Math.min(frameBytesMax, Math.floor(segmentBytes / 4))
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 })

  const found = await recover(directory, onLine)
  const segments: Segment[] = found.segments
  const spares: Segment[] = found.spares
  let previousHash = found.lastHash
  let nextSequence = found.nextSequence
  let durableSequence = nextSequence - 1n
  let nextNumber = found.nextNumber
  let reservedBytes = 0
  let queue: Waiting[] = []
  let queuedBytes = 0
  let writing: Promise<void> | undefined
  let isWriting = false
  let allocating: Promise<void> | undefined
  let failure: Fault | undefined
  /** Where the last `read` ended, so that the next one need not search. */
  let cursor: { segment: Segment | undefined; offset: number; sequence: bigint } = {
    segment: undefined,
    offset: 0,
    sequence: -1n,
  }

  const bytes = (): number => (segments.length + spares.length) * segmentBytes
  const current = (): Segment => {
    const segment = segments.at(-1)
    assert(segment, 'an open journal has a segment')
    return segment
  }
  /** What is on disk and free, less the ends of segments that no frame may fit into. */
  const freeBytes = (): number =>
    segmentBytes -
    current().end +
    spares.length * (segmentBytes - batchBytesMax) -
    reservedBytes -
    queuedBytes -
    batchBytesMax

  const allocate = (): void => {
    if (allocating || bytes() + segmentBytes > bytesMax) return
    const path = join(directory, `${String(nextNumber).padStart(10, '0')}.journal`)
    nextNumber += 1
    allocating = files
      .create(path, segmentBytes)
      .then((fd) => {
        spares.push({ path, fd, end: 0, firstSequence: undefined, lastSequence: 0n })
      })
      // A full disk: the next reservation tries again, and is refused until it works.
      .catch(() => {})
      .finally(() => {
        allocating = undefined
      })
  }

  const fail = (error: Error): void => {
    failure = new Fault({
      code: 'billing.journal_failed',
      public: 'The gateway cannot record usage, so it takes no requests. Another gateway may.',
      internal: `the journal's disk failed: ${error.message}`,
      cause: error,
    })
    for (const waiting of queue) waiting.reject(failure)
    queue = []
    queuedBytes = 0
    onFatal(error)
  }

  const takeBatch = (): Waiting[] => {
    let size = 0
    let count = 0
    for (const waiting of queue) {
      if (count > 0 && size + waiting.bytes > batchBytesMax) break
      size += waiting.bytes
      count += 1
    }
    const batch = queue.slice(0, count)
    queue = queue.slice(count)
    queuedBytes -= size
    return batch
  }

  const writeBatches = async (): Promise<void> => {
    isWriting = true
    while (queue.length > 0 && !failure) {
      const batch = takeBatch()
      const first = durableSequence + 1n
      const { frame, hash } = encodeFrame(
        batch.map((waiting) => waiting.line),
        first,
        previousHash,
      )
      try {
        const segment = await roomFor(frame.length)
        await files.write(segment.fd, frame, segment.end)
        await files.datasync(segment.fd)
        segment.end += frame.length
        segment.firstSequence ??= first
        durableSequence += BigInt(batch.length)
        segment.lastSequence = durableSequence
        previousHash = hash
        for (const waiting of batch) waiting.resolve()
      } catch (error) {
        fail(error instanceof Error ? error : new Error('the disk failed'))
        assert(failure, 'a failed journal says so')
        for (const waiting of batch) waiting.reject(failure)
      }
    }
    // In the same turn as the last look at the queue, so that no event is left waiting.
    isWriting = false
  }

  const roomFor = async (frameBytes: number): Promise<Segment> => {
    if (current().end + frameBytes <= segmentBytes) return current()
    if (spares.length === 0) {
      allocate()
      await allocating
    }
    const spare = spares.shift()
    if (!spare) throw new Error('no space for a record that was admitted')
    segments.push(spare)
    return spare
  }

  if (segments.length === 0) {
    if (spares.length === 0) {
      allocate()
      await allocating
    }
    const first = spares.shift()
    if (!first) throw full()
    segments.push(first)
  }
  if (spares.length === 0) allocate()

  return {
    get nextSequence() {
      return nextSequence
    },
    get durableSequence() {
      return durableSequence
    },
    get bytes() {
      return bytes()
    },
    get isFailed() {
      return failure !== undefined
    },
    reserve(wanted) {
      if (freeBytes() < segmentBytes / 2) allocate()
      if (failure || freeBytes() < wanted) return false
      reservedBytes += wanted
      return true
    },
    release(given) {
      reservedBytes -= given
    },
    append(encode) {
      if (failure) return Promise.reject(failure)
      const line = encode(nextSequence)
      nextSequence += 1n
      const size = Buffer.byteLength(line) + 1
      assert(size + headerBytes <= batchBytesMax, 'an event fits into a batch')
      return new Promise((resolve, reject) => {
        queue.push({ line, bytes: size, resolve, reject })
        queuedBytes += size
        if (!isWriting) writing = writeBatches()
      })
    },
    async read(after, max) {
      const lines: string[] = []
      let through = after
      if (cursor.sequence !== after) cursor = { segment: undefined, offset: 0, sequence: after }
      for (const segment of segments) {
        if (lines.length >= max || segment.firstSequence === undefined) break
        if (segment.lastSequence <= after) continue
        let offset = cursor.segment === segment ? cursor.offset : 0
        const bytes = await readBytes(segment, offset)
        for (let start = 0; lines.length < max;) {
          const frame = decodeFrame(bytes, start)
          if (!frame) break
          start += frame.bytes
          offset += frame.bytes
          const events = frame.payload.toString('utf8').split('\n')
          const last = frame.firstSequence + BigInt(events.length - 1)
          if (last <= through) continue
          // Whole frames are given, so a batch may hold a few more than asked for.
          const known =
            through < frame.firstSequence ? 0 : Number(through - frame.firstSequence) + 1
          lines.push(...events.slice(known))
          through = last
        }
        cursor = { segment, offset, sequence: through }
      }
      return { lines, through }
    },
    forget(through) {
      while (segments.length > 1) {
        const oldest = segments[0]
        if (!oldest || oldest.lastSequence > through) return
        segments.shift()
        fs.closeSync(oldest.fd)
        fs.rmSync(oldest.path)
      }
    },
    async close() {
      await writing
      await allocating
      for (const segment of [...segments, ...spares]) fs.closeSync(segment.fd)
    },
  }
}

/** Only what is durable: a frame under way, or zeros, lie beyond `end`. */
async function readBytes(segment: Segment, offset: number): Promise<Buffer> {
  const bytes = Buffer.alloc(Math.min(segment.end - offset, readBytesMax))
  await new Promise<void>((resolve, reject) => {
    fs.read(segment.fd, bytes, 0, bytes.length, offset, (error) =>
      error ? reject(error) : resolve(),
    )
  })
  return bytes
}

async function recover(
  directory: string,
  onLine: (line: string, sequence: bigint) => void,
): Promise<{
  segments: Segment[]
  spares: Segment[]
  lastHash: Buffer
  nextSequence: bigint
  nextNumber: number
}> {
  const names = fs
    .readdirSync(directory)
    .filter((name) => namePattern.test(name))
    .toSorted()
  const segments: Segment[] = []
  const spares: Segment[] = []
  let lastHash: Buffer | undefined
  let nextSequence = 1n
  let torn = false
  for (const name of names) {
    const path = join(directory, name)
    const bytes = fs.readFileSync(path)
    const scan = scanSegment(bytes, lastHash)
    const isGap =
      scan.frames[0] !== undefined &&
      segments.length > 0 &&
      scan.frames[0].firstSequence !== nextSequence
    // Frames after a torn end would have been promised after it.
    if (scan.state === 'damaged' || isGap || (torn && scan.frames.length > 0))
      throw damaged(path, scan.end)
    for (const frame of scan.frames) {
      let sequence = frame.firstSequence
      for (const line of frame.payload.toString('utf8').split('\n')) {
        onLine(line, sequence)
        sequence += 1n
      }
      nextSequence = sequence
      lastHash = frame.hash
    }
    const fd = fs.openSync(path, 'r+')
    if (scan.state === 'torn') {
      torn = true
      fs.writeSync(fd, Buffer.alloc(bytes.length - scan.end), 0, undefined, scan.end)
      fs.fdatasyncSync(fd)
    }
    const segment = {
      path,
      fd,
      end: scan.end,
      firstSequence: scan.frames[0]?.firstSequence,
      lastSequence: nextSequence - 1n,
    }
    // An empty file was made ahead of need; but the one with the torn beginning is where writing went on.
    if (scan.frames.length === 0 && scan.state === 'clean') spares.push(segment)
    else segments.push(segment)
  }
  const nextNumber = Number(namePattern.exec(names.at(-1) ?? '')?.[1] ?? 0) + 1
  return {
    segments,
    spares,
    lastHash: Buffer.from(lastHash ?? genesisHash),
    nextSequence,
    nextNumber,
  }
}

function damaged(path: string, offset: number): Fault {
  const text = `The journal ${path} is damaged at byte ${offset}, where a durable record stood. See docs/failure-modes.md, billing.journal_failed.`
  return new Fault({ code: 'billing.journal_failed', public: text })
}

export function full(): Fault {
  return new Fault({
    code: 'billing.journal_full',
    public: 'The gateway has no space to record usage, so it takes no requests. Try again shortly.',
    retryAfterMs: 5_000,
  })
}
