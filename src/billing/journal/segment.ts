/** A file of the journal: how it is made, and how the files of a folder are found again after a restart. */
import { dirname, join } from 'node:path'
import { Fault } from '../../platform/fault.ts'
import type { JournalFiles } from './files.ts'
import { genesisHash, scanSegment } from './frame.ts'

export interface Segment {
  readonly path: string
  readonly fd: number
  /** As long as it was made; frames lie within. */
  readonly bytes: number
  /** Where the next frame goes. */
  end: number
  /** `undefined` until its first frame. */
  firstSequence: bigint | undefined
  lastSequence: bigint
}

const namePattern = /^(\d{10})\.journal$/
const partialSuffix = '.partial'

export function segmentPath(directory: string, number: number): string {
  return join(directory, `${String(number).padStart(10, '0')}.journal`)
}

/** Makes a file of that many real zero bytes, durable with its name, and opens it. A name appears only over a whole file. */
export async function makeSegment(
  path: string,
  bytes: number,
  files: JournalFiles,
): Promise<Segment> {
  const partial = path + partialSuffix
  const fd = files.create(partial)
  try {
    await files.fill(fd, bytes)
    await files.sync(fd)
    files.rename(partial, path)
    files.syncDirectory(dirname(path))
  } catch (error) {
    files.remove(partial)
    throw error
  } finally {
    files.close(fd)
  }
  return {
    path,
    fd: files.open(path),
    bytes,
    end: 0,
    firstSequence: undefined,
    lastSequence: 0n,
  }
}

export interface Recovered {
  readonly segments: Segment[]
  /** Made ahead of need, and empty. */
  readonly spares: Segment[]
  readonly lastHash: Buffer
  readonly nextSequence: bigint
  readonly nextNumber: number
}

/**
 * Reads all segments in order, hands every line to `onLine`, and drops a torn end. Throws `billing.journal_failed`, and changes nothing, for
 * damage to anything that was promised: such a journal needs a person.
 */
export async function recoverSegments(
  directory: string,
  files: JournalFiles,
  onLine: (line: string) => void,
): Promise<Recovered> {
  removePartials(directory, files)
  const names = files
    .list(directory)
    .filter((name) => namePattern.test(name))
    .toSorted()
  const segments: Segment[] = []
  const spares: Segment[] = []
  let lastHash: Buffer | undefined
  let nextSequence = 1n
  let tornPath: string | undefined
  for (const name of names) {
    const path = join(directory, name)
    const bytes = files.readWhole(path)
    const scan = scanSegment(bytes, lastHash)
    const first = scan.frames[0]
    const isGap = first !== undefined && segments.length > 0 && first.firstSequence !== nextSequence
    if (scan.state === 'damaged' || isGap) throw damaged(path, scan.end)
    // Writing goes on in the next file only after a whole end of the last one.
    if (tornPath !== undefined && (first || scan.state === 'torn')) throw damaged(tornPath, 0)
    for (const frame of scan.frames) {
      const lines = frame.payload.toString('utf8').split('\n')
      for (const line of lines) onLine(line)
      nextSequence = frame.firstSequence + BigInt(lines.length)
      lastHash = frame.hash
    }
    const fd = files.open(path)
    if (scan.state === 'torn') {
      tornPath = path
      await files.write(fd, Buffer.alloc(bytes.length - scan.end), scan.end)
    }
    const segment = {
      path,
      fd,
      bytes: bytes.length,
      end: scan.end,
      firstSequence: first?.firstSequence,
      lastSequence: nextSequence - 1n,
    }
    // The empty file with a torn beginning is where writing went on; other empty ones were made ahead of need.
    if (first === undefined && scan.state === 'clean') spares.push(segment)
    else segments.push(segment)
  }
  return {
    segments,
    spares,
    lastHash: Buffer.from(lastHash ?? genesisHash),
    nextSequence,
    nextNumber: Number(namePattern.exec(names.at(-1) ?? '')?.[1] ?? 0) + 1,
  }
}

/** Deletes a segment whose events the ledger has. */
export function removeSegment(segment: Segment, files: JournalFiles): void {
  files.close(segment.fd)
  files.remove(segment.path)
}

/** Reads from an offset up to the last durable frame: what is under way lies beyond `end`. */
export async function readSegment(
  segment: Segment,
  range: { readonly offset: number; readonly bytesMax: number },
  files: JournalFiles,
): Promise<Buffer> {
  const bytes = Buffer.alloc(Math.min(segment.end - range.offset, range.bytesMax))
  let done = 0
  while (done < bytes.length) {
    const count = await files.read(segment.fd, bytes, done, range.offset + done)
    // Shorter than what was written: the rest stays zero, and is found to be damage.
    if (count === 0) break
    done += count
  }
  return bytes
}

/** A crash while a segment was being made leaves one of these; nothing was ever written to it. */
function removePartials(directory: string, files: JournalFiles): void {
  const partials = files.list(directory).filter((name) => name.endsWith(partialSuffix))
  for (const name of partials) files.remove(join(directory, name))
  if (partials.length > 0) files.syncDirectory(directory)
}

export function damaged(path: string, offset: number): Fault {
  const text = `The journal ${path} is damaged at byte ${offset}, where a durable record stood. Nothing was changed. See docs/failure-modes.md, billing.journal_failed.`
  return new Fault({ code: 'billing.journal_failed', public: text })
}
