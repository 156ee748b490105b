import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createLogSink } from './log-sink.ts'

type Files = NonNullable<Parameters<typeof createLogSink>[1]>

/** A descriptor that fails while `error` is set, and writes `chunk` bytes at a time. */
function createFiles(chunk = Infinity) {
  const state = { text: '', error: undefined as NodeJS.ErrnoException | undefined }
  const put = (bytes: Buffer, offset: number): number => {
    if (state.error) throw state.error
    const part = bytes.subarray(offset, offset + chunk)
    state.text += part.toString('utf8')
    return part.length
  }
  const files = {
    write(
      _fd: number,
      bytes: Buffer,
      offset: number,
      _length: number,
      _position: null,
      done: (error: Error | null, written: number) => void,
    ) {
      setImmediate(() => {
        try {
          done(null, put(bytes, offset))
        } catch (error) {
          done(error as Error, 0)
        }
      })
    },
    writeSync: (_fd: number, bytes: Buffer, offset: number) => put(bytes, offset),
  }
  // The two calls that a sink makes, in the forms in which it makes them.
  return { state, files: files as unknown as Files }
}
const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}
const failure = (code: string): NodeJS.ErrnoException => Object.assign(new Error(code), { code })

test('lines arrive whole and in order, however little is taken at once', async () => {
  const { state, files } = createFiles(3)
  const sink = createLogSink(2, files)
  for (const line of ['one\n', 'two\n', 'three\n']) sink.write(line)
  await turns(40)
  expect(state.text).toBe('one\ntwo\nthree\n')
})

test('lines that cannot be written are dropped, and the next one that can be says how many', async () => {
  const { state, files } = createFiles()
  const sink = createLogSink(2, files)
  state.error = failure('ENOSPC')
  sink.write('one\n')
  await turns(3)
  sink.write('two\n')
  await turns(3)
  state.error = undefined
  sink.write('three\n')
  await turns(3)
  expect(state.text).toBe('{"level":40,"msg":"log lines were dropped","lines":2}\nthree\n')
})

test('what waits has a bound', async () => {
  const { state, files } = createFiles()
  const sink = createLogSink(2, files)
  const line = `${'x'.repeat(1_023)}\n`
  for (let index = 0; index < 2_000; index += 1) sink.write(line)
  await turns(5)
  sink.write('last\n')
  await turns(3)
  expect(state.text.length).toBeLessThan(1_030 * 1_024)
  expect(state.text.endsWith('last\n')).toBe(true)
  expect(/"lines":97\d\}/.exec(state.text)).not.toBeNull()
})

// With a reader that is gone, a flush that repeats itself would keep the process for ever.
test('a flush at the end tries once', () => {
  const { state, files } = createFiles()
  const sink = createLogSink(2, files)
  state.error = failure('EPIPE')
  sink.write('one\n')
  sink.write('two\n')
  sink.flushSync()
  expect(state.text).toBe('')
})

test('a real file gets what waits when it is flushed', () => {
  const path = join(fs.mkdtempSync(join(tmpdir(), 'colonnade-log-')), 'log')
  const fd = fs.openSync(path, 'w')
  const sink = createLogSink(fd)
  sink.write('one\n')
  sink.write('two\n')
  sink.flushSync()
  expect(fs.readFileSync(path, 'utf8')).toContain('two\n')
})
