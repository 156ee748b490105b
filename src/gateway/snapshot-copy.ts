/**
 * The snapshot's sealed copy on disk. It is written in frames of a thousand records, so that the largest snapshot holds the event loop
 * for milliseconds only. Each frame is sealed for its place in its file: one that is missing, moved or of another file is found.
 */
import { open, readFile, rename, type FileHandle } from 'node:fs/promises'
import { createKeyRecords, type IdentityRecords } from '../identity/key-records.ts'
import type { Clock } from '../platform/clock.ts'
import { randomBase62 } from '../platform/ids.ts'
import type { Logger } from '../platform/log.ts'
import type { Seal } from '../platform/seal.ts'
import type { SnapshotRecords } from './snapshot-records.ts'

/** A change waits this long after the last writing. */
const writeEveryMs = 30_000
/** Without any change the copy is renewed this often, so that it says that it was still true. */
const renewEveryMs = 3_600_000
const frameRecords = 1_000
const lengthBytes = 4

export interface SnapshotCopy {
  /** The records are those of this moment. */
  confirm(records: SnapshotRecords): void
  /** Writes what is not written yet. */
  close(): Promise<void>
}

interface CopyOptions {
  readonly path: string
  readonly seal: Seal
  readonly clock: Clock
}

export function keepSnapshotCopy(options: CopyOptions & { readonly log: Logger }): SnapshotCopy {
  const { clock, log } = options
  let latest: { readonly takenAtMs: number; readonly records: SnapshotRecords } | undefined
  let writtenMs = -Infinity
  let written: SnapshotRecords | undefined
  let timer: NodeJS.Timeout | undefined
  let writing: Promise<void> | undefined

  const write = async (): Promise<void> => {
    if (!latest) return
    const { records, takenAtMs } = latest
    writtenMs = clock.monotonicMs()
    written = records
    try {
      await writeCopy(options, records, takenAtMs)
    } catch (error) {
      written = undefined
      log.warn({ error }, 'the snapshot was not written to disk')
    }
  }
  const writeSoon = (): void => {
    if (timer || writing) return
    const waitMs = Math.max(0, writtenMs + writeEveryMs - clock.monotonicMs())
    timer = setTimeout(() => {
      timer = undefined
      writing = write().finally(() => {
        writing = undefined
        if (latest?.records !== written) writeSoon()
      })
    }, waitMs)
  }
  return {
    confirm(records) {
      latest = { records, takenAtMs: clock.nowMs() }
      if (records !== written || clock.monotonicMs() - writtenMs >= renewEveryMs) writeSoon()
    },
    async close() {
      clearTimeout(timer)
      await writing
      clearTimeout(timer)
      await write()
    },
  }
}

interface Header {
  readonly fileId: string
  readonly takenAtMs: number
}

interface Frame {
  /** `identity.keys`, `limits.plans`, …; `end` for the last frame, without which the file is not whole. */
  readonly section: string
  readonly records: readonly unknown[]
}

/** With the version of the format: a copy of another one is none. */
const context = 'gateway-snapshot/2'
const frameContext = ({ fileId }: Header, place: number): string => `${context}|${fileId}|${place}`

async function writeCopy(
  { path, seal }: CopyOptions,
  records: SnapshotRecords,
  takenAtMs: number,
): Promise<void> {
  const partial = `${path}.partial`
  const header: Header = { fileId: randomBase62(16), takenAtMs }
  const file = await open(partial, 'w', 0o600)
  try {
    await writeFrame(file, seal.seal(Buffer.from(JSON.stringify(header)), context))
    let place = 0
    for (const frame of framesOf(records)) {
      const plain = Buffer.from(JSON.stringify(frame))
      await writeFrame(file, seal.seal(plain, frameContext(header, place)))
      place += 1
    }
  } finally {
    await file.close()
  }
  await rename(partial, path)
}

async function writeFrame(file: FileHandle, sealed: Buffer): Promise<void> {
  const length = Buffer.alloc(lengthBytes)
  length.writeUInt32BE(sealed.length)
  await file.write(Buffer.concat([length, sealed]))
}

function* framesOf({ keys, catalog, limits, replicas }: SnapshotRecords): Generator<Frame> {
  const modules: Record<string, object> = {
    identity: keys.all(),
    catalog,
    limits,
    fleet: { replicas },
  }
  for (const [module, lists] of Object.entries(modules)) {
    // Each property of each module's records is a list.
    for (const [name, list] of Object.entries<Iterable<unknown>>({ ...lists })) {
      const section = `${module}.${name}`
      let records: unknown[] = []
      for (const record of list) {
        if (records.push(record) < frameRecords) continue
        yield { section, records }
        records = []
      }
      yield { section, records }
    }
  }
  yield { section: 'end', records: [] }
}

/** What a gateway serves with while the database is away; `undefined` without a whole copy of this installation. */
export async function readSnapshotCopy({
  path,
  seal,
}: Pick<CopyOptions, 'path' | 'seal'>): Promise<
  { readonly takenAtMs: number; readonly records: SnapshotRecords } | undefined
> {
  // Without a file, no gateway has run here yet.
  const [first, ...rest] = splitFrames(await readFile(path).catch(() => Buffer.alloc(0)))
  const header = first && openFrame<Header>(seal, first, context)
  if (!header) return undefined
  const lists = new Map<string, unknown[]>()
  for (const [place, sealed] of rest.entries()) {
    const frame = openFrame<Frame>(seal, sealed, frameContext(header, place))
    if (!frame) return undefined
    const list = lists.get(frame.section) ?? []
    for (const record of frame.records) list.push(record)
    lists.set(frame.section, list)
  }
  return lists.has('end')
    ? { takenAtMs: header.takenAtMs, records: toSnapshotRecords(lists) }
    : undefined
}

/** Stops at a frame that is cut off; its end is missed later. */
function splitFrames(file: Buffer): readonly Buffer[] {
  const frames: Buffer[] = []
  for (let at = 0; at + lengthBytes <= file.length;) {
    const end = at + lengthBytes + file.readUInt32BE(at)
    frames.push(file.subarray(at + lengthBytes, end))
    at = end
  }
  return frames
}

function openFrame<Content>(seal: Seal, sealed: Buffer, place: string): Content | undefined {
  const opened = seal.open(sealed, place)
  // Sealed by this installation in this format, so its shape is ours.
  return opened && (JSON.parse(opened.toString('utf8')) as Content)
}

function toSnapshotRecords(lists: ReadonlyMap<string, readonly unknown[]>): SnapshotRecords {
  const module = <Lists>(name: string): Lists => {
    const own = [...lists].filter(([section]) => section.startsWith(`${name}.`))
    // As above.
    return Object.fromEntries(
      own.map(([section, list]) => [section.slice(name.length + 1), list]),
    ) as Lists
  }
  return {
    // Before every version of the database: nothing of it has been followed.
    version: -1n,
    keys: createKeyRecords(module<IdentityRecords>('identity')),
    catalog: module('catalog'),
    limits: module('limits'),
    replicas: module<Pick<SnapshotRecords, 'replicas'>>('fleet').replicas,
  }
}
