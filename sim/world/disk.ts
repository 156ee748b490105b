/**
 * The disk of one machine. What a process sees is the cache; what outlives a power cut is what was synced: bytes by the sector, names in the order
 * in which they were made or removed, as journaling file systems keep them. A write under way when the process dies may have arrived in part.
 */
import { basename } from 'node:path'
import type { JournalFiles } from '../../src/billing/journal/files.ts'
import type { Life } from './life.ts'
import type { Loop } from './loop.ts'
import type { Random } from './random.ts'

export interface DiskTroubles {
  /** The write of this number, since the disk was made, fails. */
  readonly failingWrites: ReadonlySet<number>
  /** None fails after this. */
  readonly failingUntilMs: number
  /** Writes that begin in one of these answer at its end. */
  readonly stalls: readonly Period[]
  /** No file can be made. */
  readonly full: readonly Period[]
  readonly meanWriteMs: number
  /** A disk, or a kernel, that lies: writes are not synced. */
  readonly forgetsSyncs: boolean
}

export interface Period {
  readonly fromMs: number
  readonly toMs: number
}

export interface SimulatedDisk {
  filesFor(life: Life): JournalFiles
  /** The process was killed: the cache stays, a write under way may be cut. */
  loseProcess(): void
  /** The power was cut: the cache is lost. */
  losePower(): void
  /** Everything that any segment ever held, deleted ones included, as it would be read now; in the order of their names. */
  everySegment(): readonly Buffer[]
}

interface File {
  cached: Buffer
  stable: Buffer
}
interface NameChange {
  readonly path: string
  /** `undefined`: the name is removed. */
  readonly file: File | undefined
}
interface WriteUnderWay {
  readonly file: File
  readonly bytes: Buffer
  readonly position: number
}

const sectorBytes = 512

export function createDisk(options: {
  readonly loop: Loop
  readonly random: Random
  readonly troubles: DiskTroubles
  /** Called with each write that has arrived. */
  readonly onWritten: () => void
}): SimulatedDisk {
  const { loop, random, troubles } = options
  let names = new Map<string, File>()
  let stableNames = new Map<string, File>()
  let changes: NameChange[] = []
  /** Deleted segments, for the checkers. */
  const deleted = new Map<string, File>()
  const handles = new Map<number, File>()
  const underWay = new Set<WriteUnderWay>()
  let nextHandle = 3
  let writes = 0

  const change = (path: string, file: File | undefined): void => {
    if (file) names.set(path, file)
    else names.delete(path)
    changes.push({ path, file })
  }
  const settleChanges = (count: number): void => {
    for (const { path, file } of changes.splice(0, count)) {
      if (file) stableNames.set(path, file)
      else stableNames.delete(path)
    }
  }
  const openFile = (path: string): number => {
    const file = names.get(path)
    if (!file) throw diskError('ENOENT')
    nextHandle += 1
    handles.set(nextHandle, file)
    return nextHandle
  }
  const fileOf = (fd: number): File => {
    const file = handles.get(fd)
    if (!file) throw diskError('EBADF')
    return file
  }
  const latencyMs = (): number => {
    const stall = troubles.stalls.find((each) => isWithin(each, loop.nowMs))
    const usualMs = random.exponential(troubles.meanWriteMs)
    return stall ? stall.toMs - loop.nowMs + usualMs : usualMs
  }

  const write = async (fd: number, bytes: Buffer, position: number): Promise<void> => {
    writes += 1
    const isFailing = loop.nowMs < troubles.failingUntilMs && troubles.failingWrites.has(writes)
    const one = { file: fileOf(fd), bytes: Buffer.from(bytes), position }
    underWay.add(one)
    await loop.sleep(latencyMs())
    if (!underWay.delete(one)) return
    if (isFailing) {
      tear(one, random)
      loop.note(`disk: write ${writes} fails`)
      throw diskError('EIO')
    }
    bytes.copy(one.file.cached, position)
    if (!troubles.forgetsSyncs) bytes.copy(one.file.stable, position)
    options.onWritten()
  }

  return {
    filesFor(life) {
      const check = (): void => {
        if (life.isOver) throw new Error('a process that is dead touches its disk')
      }
      const alive = <Result>(work: () => Promise<Result>): Promise<Result> => {
        check()
        return life.whileAlive(work())
      }
      const now = <Result>(work: () => Result): Result => {
        check()
        return work()
      }
      return {
        makeDirectory: check,
        list: (directory) =>
          now(() =>
            [...names.keys()]
              .filter((path) => path.startsWith(`${directory}/`))
              .map((path) => basename(path)),
          ),
        create: (path) =>
          now(() => {
            if (troubles.full.some((period) => isWithin(period, loop.nowMs)))
              throw diskError('ENOSPC')
            change(path, { cached: Buffer.alloc(0), stable: Buffer.alloc(0) })
            return openFile(path)
          }),
        fill: (fd, bytes) =>
          alive(async () => {
            await loop.sleep(latencyMs())
            fileOf(fd).cached = Buffer.alloc(bytes)
          }),
        open: (path) => now(() => openFile(path)),
        readWhole: (path) => now(() => Buffer.from(fileOf(openFile(path)).cached)),
        read: (fd, bytes, start, position) =>
          alive(async () => {
            await loop.sleep(random.exponential(troubles.meanWriteMs))
            return fileOf(fd).cached.copy(bytes, start, position)
          }),
        write: (fd, bytes, position) => alive(() => write(fd, bytes, position)),
        sync: (fd) =>
          alive(async () => {
            await loop.sleep(latencyMs())
            const file = fileOf(fd)
            file.stable = Buffer.from(file.cached)
          }),
        close: (fd) => now(() => void handles.delete(fd)),
        rename: (from, to) =>
          now(() => {
            const file = fileOf(openFile(from))
            change(from, undefined)
            change(to, file)
          }),
        remove: (path) =>
          now(() => {
            const file = names.get(path)
            if (!file) return
            if (path.endsWith('.journal')) deleted.set(path, file)
            change(path, undefined)
          }),
        syncDirectory: () => now(() => settleChanges(changes.length)),
      }
    },
    loseProcess() {
      for (const one of underWay) tear(one, random)
      underWay.clear()
      handles.clear()
    },
    losePower() {
      for (const one of underWay) tear(one, random)
      underWay.clear()
      handles.clear()
      settleChanges(random.whole(0, changes.length))
      changes = []
      names = new Map(stableNames)
      stableNames = new Map(stableNames)
      for (const file of names.values()) {
        // What was written and never synced may have reached the disk in part.
        if (file.stable.length < file.cached.length && !troubles.forgetsSyncs)
          file.stable = file.cached.subarray(
            0,
            random.whole(file.stable.length, file.cached.length),
          )
        file.cached = Buffer.from(file.stable)
      }
    },
    everySegment() {
      const all = new Map([...deleted, ...names])
      return [...all.entries()]
        .filter(([path]) => path.endsWith('.journal'))
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([, file]) => file.cached)
    },
  }
}

function isWithin(period: Period, atMs: number): boolean {
  return atMs >= period.fromMs && atMs < period.toMs
}

/** A write that was cut: nothing of it arrived, all, its beginning, or some of its sectors. */
function tear({ file, bytes, position }: WriteUnderWay, random: Random): void {
  const how = random.pick(['nothing', 'all', 'beginning', 'sectors'])
  const cutAt = random.whole(0, bytes.length)
  for (let start = 0; start < bytes.length;) {
    const end = Math.min(bytes.length, sectorEnd(position + start) - position)
    const arrives =
      how === 'all' ||
      (how === 'beginning' && end <= cutAt) ||
      (how === 'sectors' && random.chance(0.5))
    for (const image of arrives ? [file.cached, file.stable] : []) {
      bytes.copy(image, position + start, start, end)
    }
    start = end
  }
}

function sectorEnd(position: number): number {
  return (Math.floor(position / sectorBytes) + 1) * sectorBytes
}

function diskError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: the simulated disk`), { code })
}
