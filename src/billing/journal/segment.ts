/** A file of the journal, and how the files of a folder are found again after a restart. */
import fs from 'node:fs'
import { join } from 'node:path'
import { Fault } from '../../platform/fault.ts'
import { partialSuffix, syncDirectory, type JournalFiles } from './files.ts'
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

export function segmentPath(directory: string, number: number): string {
  return join(directory, `${String(number).padStart(10, '0')}.journal`)
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
export function recoverSegments(
  directory: string,
  files: JournalFiles,
  onLine: (line: string) => void,
): Recovered {
  removePartials(directory)
  const names = fs
    .readdirSync(directory)
    .filter((name) => namePattern.test(name))
    .toSorted()
  const segments: Segment[] = []
  const spares: Segment[] = []
  let lastHash: Buffer | undefined
  let nextSequence = 1n
  let tornPath: string | undefined
  for (const name of names) {
    const path = join(directory, name)
    const bytes = fs.readFileSync(path)
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
      fs.writeSync(fd, Buffer.alloc(bytes.length - scan.end), 0, undefined, scan.end)
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
export function removeSegment(segment: Segment): void {
  fs.closeSync(segment.fd)
  fs.rmSync(segment.path)
}

/** Reads from an offset up to the last durable frame: what is under way lies beyond `end`. */
export async function readSegment(
  segment: Segment,
  offset: number,
  bytesMax: number,
): Promise<Buffer> {
  const bytes = Buffer.alloc(Math.min(segment.end - offset, bytesMax))
  let done = 0
  while (done < bytes.length) {
    const count = await readOnce(segment.fd, bytes, done, offset + done)
    // Shorter than what was written: the rest stays zero, and is found to be damage.
    if (count === 0) break
    done += count
  }
  return bytes
}

function readOnce(fd: number, bytes: Buffer, start: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(fd, bytes, start, bytes.length - start, position, (error, count) =>
      error ? reject(error) : resolve(count),
    )
  })
}

/** A crash while a segment was being made leaves one of these; nothing was ever written to it. */
function removePartials(directory: string): void {
  const partials = fs.readdirSync(directory).filter((name) => name.endsWith(partialSuffix))
  for (const name of partials) fs.rmSync(join(directory, name), { force: true })
  if (partials.length > 0) syncDirectory(directory)
}

export function damaged(path: string, offset: number): Fault {
  const text = `The journal ${path} is damaged at byte ${offset}, where a durable record stood. Nothing was changed. See docs/failure-modes.md, billing.journal_failed.`
  return new Fault({ code: 'billing.journal_failed', public: text })
}
