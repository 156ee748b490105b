/**
 * Where log lines go: a file descriptor that may be slow, full or gone. Nothing waits for it, and nothing fails with it: lines that cannot be written
 * are dropped, and the next one that can be says how many. (pino's own destination, sonic-boom 5, repeats a failed write for ever when a process
 * ends, and so keeps a role alive whose supervisor has died.)
 */
import fs from 'node:fs'

export interface LogSink {
  write(line: string): void
  /** Writes what waits, once: for a process that is about to end. */
  flushSync(): void
  flush(done: () => void): void
}

/** Lines that wait beyond this are dropped. */
const waitingCharactersMax = 1024 * 1024
const retryMs = 50

export function createLogSink(
  fd: number,
  files: Pick<typeof fs, 'write' | 'writeSync'> = fs,
): LogSink {
  let waiting: string[] = []
  let waitingCharacters = 0
  let dropped = 0
  let isWriting = false

  const take = (): Buffer => {
    const note =
      dropped > 0 ? `{"level":40,"msg":"log lines were dropped","lines":${dropped}}\n` : ''
    const text = note + waiting.join('')
    waiting = []
    waitingCharacters = 0
    dropped = 0
    return Buffer.from(text)
  }
  const giveUp = (bytes: Buffer): void => {
    dropped += bytes.toString('utf8').split('\n').length - 1
    isWriting = false
  }
  const pump = (bytes: Buffer): void => {
    isWriting = true
    files.write(fd, bytes, 0, bytes.length, null, (error, written) => {
      const rest = bytes.subarray(error ? 0 : written)
      if (error && error.code === 'EAGAIN') setTimeout(() => pump(rest), retryMs).unref()
      else if (error) giveUp(rest)
      else if (rest.length > 0) pump(rest)
      else {
        isWriting = false
        if (waiting.length > 0) pump(take())
      }
    })
  }
  const flushSync = (): void => {
    const bytes = take()
    try {
      for (let done = 0; done < bytes.length;) done += files.writeSync(fd, bytes, done)
    } catch {
      // The reader is gone or the disk is full: there is nobody to tell.
    }
  }
  return {
    write(line) {
      if (waitingCharacters + line.length > waitingCharactersMax) {
        dropped += 1
        return
      }
      waiting.push(line)
      waitingCharacters += line.length
      if (!isWriting) pump(take())
    },
    flushSync,
    flush(done) {
      flushSync()
      done()
    },
  }
}
