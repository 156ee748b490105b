/**
 * Weights on disk. `blobs/` holds whole, verified files under the name of their checksum; `records/` says what is known of each;
 * `partial/` is where pulls work. A file gets into `blobs/` by a rename after its checksum was computed from the disk and the bytes were
 * synced, so a part of a file is never there. A file of the user's is linked, or used where it lies: never copied.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import {
  chmod,
  link,
  mkdir,
  open,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  statfs,
  writeFile,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { Fault } from '../platform/fault.ts'
import { takeProcessLock } from '../platform/process-lock.ts'
import type { FetchedFile } from './contract.ts'
import { displaySource } from './source.ts'

export interface Weights {
  readonly path: string
  readonly sha256: string
  readonly bytes: number
  /** Where they came from, without a login or a query. */
  readonly source: string
}

const record = z.object({
  /** Only of a file that lies elsewhere: the folder of the weights may move. */
  path: z.string().optional(),
  sha256: z.string(),
  bytes: z.number(),
  /** As it may be shown. */
  source: z.string(),
  /** Tells the same source again, without keeping what its address may hold. */
  sourceDigest: z.string(),
  /** Of the file when its checksum was last computed: while size and this are the same, the checksum is taken to be, too. */
  modifiedMs: z.number(),
})
export type WeightRecord = z.infer<typeof record> & { readonly path: string }

const recordsMax = 10_000
/** Left free for the rest of the platform. */
const spareBytes = 64 * 1024 * 1024
const lockPollMs = 200
const lockWaitMsMax = 6 * 3_600_000

export function blobPath(directory: string, sha256: string): string {
  return join(directory, 'blobs', `sha256-${sha256}`)
}

function recordPath(directory: string, sha256: string): string {
  return join(directory, 'records', `sha256-${sha256}.json`)
}

/** Where a pull of these weights works; two sources never share a place. */
export function partialPath(directory: string, key: string, source?: string): string {
  return join(directory, 'partial', digest(key), ...(source === undefined ? [] : [digest(source)]))
}

/** A short name for a long text, which does not give the text away. */
export function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32)
}

export async function findRecord(
  directory: string,
  sha256: string,
): Promise<WeightRecord | undefined> {
  try {
    const text = await readFile(recordPath(directory, sha256), 'utf8')
    const { path = blobPath(directory, sha256), ...known } = record.parse(JSON.parse(text))
    return { ...known, path }
  } catch {
    // None, or one that was damaged: the file itself is asked then.
    return undefined
  }
}

export async function listRecords(directory: string): Promise<readonly WeightRecord[]> {
  const names = await readdir(join(directory, 'records')).catch(() => [])
  const shas = names
    .map((name) => /^sha256-([0-9a-f]{64})\.json$/.exec(name)?.[1])
    .filter((sha256) => sha256 !== undefined)
    .toSorted()
    .slice(0, recordsMax)
  const found = await Promise.all(shas.map((sha256) => findRecord(directory, sha256)))
  return found.filter((entry) => entry !== undefined)
}

/** The file as it is now; `undefined` when there is none. */
export async function lookAt(
  path: string,
): Promise<{ readonly bytes: number; readonly modifiedMs: number } | undefined> {
  try {
    const found = await stat(path)
    return found.isFile() ? { bytes: found.size, modifiedMs: found.mtimeMs } : undefined
  } catch {
    // Gone, or out of reach: it cannot be served either way.
    return undefined
  }
}

/** Takes a whole file in under its checksum. The caller has checked that this is the one that is wanted. */
export async function keep(
  directory: string,
  file: FetchedFile,
  { sha256, source }: { readonly sha256: string; readonly source: string },
): Promise<Weights> {
  const blob = blobPath(directory, sha256)
  await mkdir(dirname(blob), { recursive: true, mode: 0o700 })
  const path = file.isTheUsers ? await linkOrLeave(file.path, blob) : await moveIn(file.path, blob)
  return note(directory, {
    path,
    sha256,
    source: displaySource(source),
    sourceDigest: digest(source),
  })
}

/** Writes down that the file has this checksum, as it lies there now. */
export async function note(
  directory: string,
  { path, sha256, source, sourceDigest }: Omit<WeightRecord, 'bytes' | 'modifiedMs'>,
): Promise<Weights> {
  const now = await lookAt(path)
  if (!now) throw new Fault({ code: 'client.not_found', public: `${path} is gone.` })
  const weights = { path, sha256, bytes: now.bytes, source }
  const target = recordPath(directory, sha256)
  await mkdir(dirname(target), { recursive: true, mode: 0o700 })
  const isElsewhere = path !== blobPath(directory, sha256)
  const entry: z.infer<typeof record> = {
    ...weights,
    sourceDigest,
    path: isElsewhere ? path : undefined,
    modifiedMs: now.modifiedMs,
  }
  await writeFile(`${target}.new`, JSON.stringify(entry), { mode: 0o600, flush: true })
  await rename(`${target}.new`, target)
  return weights
}

async function moveIn(from: string, blob: string): Promise<string> {
  const file = await open(from, 'r')
  await file.sync().finally(() => file.close())
  await chmod(from, 0o400)
  await rename(from, blob)
  await syncDirectory(dirname(blob))
  return blob
}

/** A link survives that the user deletes the file, and takes no room. Other disks and other owners do not allow it. */
async function linkOrLeave(from: string, blob: string): Promise<string> {
  if (await isSameFile(from, blob)) return blob
  try {
    await rm(blob, { force: true })
    await link(from, blob)
    await syncDirectory(dirname(blob))
    return blob
  } catch {
    // Used in place: the record says where, and its checksum notices a change.
    return from
  }
}

async function isSameFile(one: string, other: string): Promise<boolean> {
  try {
    const [a, b] = await Promise.all([stat(one), stat(other)])
    return a.ino === b.ino && a.dev === b.dev
  } catch {
    // One of them is not there.
    return false
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  await directory.sync().finally(() => directory.close())
}

/** Forgets weights. A file of the user's stays where it is; an engine that has them open keeps them until it ends. */
export async function forgetWeights(directory: string, sha256: string): Promise<void> {
  await rm(recordPath(directory, sha256), { force: true })
  await rm(blobPath(directory, sha256), { force: true })
}

/** Returns the SHA-256 of what is on disk, in hex. */
export async function hashFile(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024, signal })) {
    hash.update(chunk)
  }
  return hash.digest('hex')
}

/** Writes a file piece by piece and syncs it. */
export async function writePieces(path: string, pieces: Iterable<Uint8Array>): Promise<void> {
  const file = await open(path, 'w', 0o600)
  try {
    for (const piece of pieces) await file.appendFile(piece)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Throws when the disk under `path` has no room for so many more bytes. Unknown sizes are let through: the disk itself will tell. */
export async function ensureRoom(path: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dirname(path))
  const freeBytes = bavail * bsize - spareBytes
  if (!(bytes > freeBytes)) return
  throw diskFull(
    `The weights need ${toMegabytes(bytes)} MB, and the disk of the data folder has ${toMegabytes(Math.max(0, freeBytes))} MB free.`,
  )
}

function toMegabytes(bytes: number): number {
  return Math.ceil(bytes / 1e6)
}

/** Names what a person must do about a disk; `undefined` for any other error. */
export function toDiskFault(error: unknown): Fault | undefined {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (['ENOSPC', 'EDQUOT'].includes(code)) {
    return diskFull('The disk of the data folder is full.', error)
  }
  if (!['EACCES', 'EPERM', 'EROFS'].includes(code)) return undefined
  return new Fault({
    code: 'client.conflict',
    public: `The folder of the weights cannot be written (${code}). Give it to the user who runs Colonnade, or choose another folder with --data.`,
    cause: error,
  })
}

function diskFull(sentence: string, cause?: unknown): Fault {
  return new Fault({
    code: 'client.conflict',
    public: `${sentence} Make room, or choose another folder with --data.`,
    cause,
  })
}

/** Waits until nobody else pulls these weights. Returns the way to let the next one. */
export async function lockPull(
  directory: string,
  key: string,
  { signal, onWait }: { readonly signal: AbortSignal; readonly onWait: () => void },
): Promise<() => void> {
  const path = `${partialPath(directory, key)}.lock`
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  for (let waitedMs = 0; waitedMs < lockWaitMsMax; waitedMs += lockPollMs) {
    signal.throwIfAborted()
    try {
      return takeProcessLock(path, 'these weights')
    } catch (error) {
      if (!isHeld(error)) throw error
      if (waitedMs === 0) onWait()
    }
    await sleep(lockPollMs, undefined, { signal })
  }
  throw new Fault({
    code: 'client.conflict',
    public: `Another process has been pulling these weights for ${lockWaitMsMax / 3_600_000} hours. Stop it, and pull again.`,
  })
}

/** Held by a living process; or let go between two looks at it. */
function isHeld(error: unknown): boolean {
  if (error instanceof Fault) return error.code === 'client.conflict'
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
