/**
 * The few calls that the journal makes to the disk, so that tests can let them fail. Segments are open with O_DSYNC: a write returns when
 * its bytes are on stable storage, as a write and an fdatasync would, with one trip to the kernel instead of two.
 */
import fs from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'

export interface JournalFiles {
  /** Resolves once all bytes, at the position, are on stable storage. */
  write(fd: number, bytes: Buffer, position: number): Promise<void>
  /** Makes a file of that many real zero bytes, durable with its name, and opens it as `open` does. */
  create(path: string, bytes: number): Promise<number>
  /** Opens a file for reading, and for writes that are durable when they return. */
  open(path: string): number
}

const fdatasync = promisify(fs.fdatasync)
const zeros = Buffer.alloc(1024 * 1024)
export const partialSuffix = '.partial'

export const systemFiles: JournalFiles = {
  write: writeAll,
  open: openDurably,
  async create(path, bytes) {
    const partial = path + partialSuffix
    const fd = fs.openSync(partial, 'w', 0o600)
    try {
      for (let position = 0; position < bytes; position += zeros.length) {
        await writeAll(fd, zeros.subarray(0, Math.min(zeros.length, bytes - position)), position)
      }
      await fdatasync(fd)
      fs.renameSync(partial, path)
      syncDirectory(dirname(path))
      return openDurably(path)
    } catch (error) {
      fs.rmSync(partial, { force: true })
      throw error
    } finally {
      fs.closeSync(fd)
    }
  },
}

function openDurably(path: string): number {
  return fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_DSYNC)
}

/** Makes the names in a folder durable: a file's bytes outlive a power cut only together with its name. */
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
