/** The few calls that the journal makes to the disk, so that tests can let them fail. */
import fs from 'node:fs'
import { promisify } from 'node:util'

export interface JournalFiles {
  /** Writes all bytes at the position. */
  write(fd: number, bytes: Buffer, position: number): Promise<void>
  /** Resolves once everything written to the file is on stable storage. */
  datasync(fd: number): Promise<void>
  /** Makes a file of that many real zero bytes, durable, and open for writing. */
  create(path: string, bytes: number): Promise<number>
}

const fdatasync = promisify(fs.fdatasync)
const zeros = Buffer.alloc(1024 * 1024)

export const systemFiles: JournalFiles = {
  write: writeAll,
  datasync: fdatasync,
  async create(path, bytes) {
    const partial = `${path}.partial`
    const fd = fs.openSync(partial, 'w+', 0o600)
    try {
      for (let position = 0; position < bytes; position += zeros.length) {
        await writeAll(fd, zeros.subarray(0, Math.min(zeros.length, bytes - position)), position)
      }
      await fdatasync(fd)
      fs.renameSync(partial, path)
      return fd
    } catch (error) {
      fs.closeSync(fd)
      fs.rmSync(partial, { force: true })
      throw error
    }
  },
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
