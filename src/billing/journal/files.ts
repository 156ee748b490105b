/**
 * Every call that the journal makes to the disk, so that tests can let them fail, and a simulator can take the power away. Segments are
 * open with O_DSYNC: a write returns when its bytes are on stable storage, as a write and an fdatasync would, with one trip to the kernel
 * instead of two.
 */
import fs from 'node:fs'
import { promisify } from 'node:util'

export interface JournalFiles {
  /** Makes the folder and those above it; nothing when it exists. */
  makeDirectory(path: string): void
  /** The names in a folder, in any order. */
  list(directory: string): readonly string[]
  /** Makes an empty file, or empties one. */
  create(path: string): number
  /** Makes a new file so many real zero bytes long; they are durable once synced. */
  fill(fd: number, bytes: number): Promise<void>
  /** Opens a file for reading, and for writes that are durable when they resolve. */
  open(path: string): number
  readWhole(path: string): Buffer
  /** Fills the bytes from `start` on with what stands at the position. Resolves with how many there were: 0 at the end of the file. */
  read(fd: number, bytes: Buffer, start: number, position: number): Promise<number>
  /** Resolves once all bytes are on stable storage. */
  write(fd: number, bytes: Buffer, position: number): Promise<void>
  sync(fd: number): Promise<void>
  close(fd: number): void
  rename(from: string, to: string): void
  remove(path: string): void
  /** Makes the names in a folder durable: a file's bytes outlive a power cut only together with its name. */
  syncDirectory(path: string): void
}

const fdatasync = promisify(fs.fdatasync)
const zeros = Buffer.alloc(1024 * 1024)

export const systemFiles: JournalFiles = {
  makeDirectory: (path) => void fs.mkdirSync(path, { recursive: true, mode: 0o700 }),
  list: (directory) => fs.readdirSync(directory),
  create: (path) => fs.openSync(path, 'w', 0o600),
  async fill(fd, bytes) {
    for (let position = 0; position < bytes; position += zeros.length) {
      await writeAll(fd, zeros.subarray(0, Math.min(zeros.length, bytes - position)), position)
    }
  },
  open: (path) => fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_DSYNC),
  readWhole: (path) => fs.readFileSync(path),
  read: (fd, bytes, start, position) =>
    new Promise((resolve, reject) => {
      fs.read(fd, bytes, start, bytes.length - start, position, (error, count) =>
        error ? reject(error) : resolve(count),
      )
    }),
  write: writeAll,
  sync: (fd) => fdatasync(fd),
  close: (fd) => fs.closeSync(fd),
  rename: (from, to) => fs.renameSync(from, to),
  remove: (path) => fs.rmSync(path, { force: true }),
  syncDirectory,
}

export function syncDirectory(path: string): void {
  const fd = fs.openSync(path, 'r')
  try {
    fs.fsyncSync(fd)
  } finally {
    fs.closeSync(fd)
  }
}

function writeAll(fd: number, bytes: Buffer, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const step = (done: number): void => {
      fs.write(fd, bytes, done, bytes.length - done, position + done, (error, written) => {
        if (error) reject(error)
        else if (done + written === bytes.length) resolve()
        else step(done + written)
      })
    }
    step(0)
  })
}
