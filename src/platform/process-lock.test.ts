import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startTime, takeProcessLock } from './process-lock.ts'

let directory: string
beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'colonnade-lock-'))
})
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }))

test('a lock is refused while its holder lives, and free once released', () => {
  const path = join(directory, 'lock')
  const release = takeProcessLock(path, 'this')
  expect(() => takeProcessLock(path, 'this')).toThrow(/Another process/)
  release()
  takeProcessLock(path, 'this')()
  expect(fs.readdirSync(directory)).toEqual([])
})

test('the lock of a process that is gone is taken over', () => {
  const gone = spawnSync(process.execPath, ['-e', '']).pid
  const path = join(directory, 'lock')
  fs.writeFileSync(path, `${gone} 12345`)
  takeProcessLock(path, 'this')()
})

test('a pid that now belongs to another process does not keep a lock', () => {
  const path = join(directory, 'lock')
  fs.writeFileSync(path, `${process.pid} ${Number(startTime(process.pid)) - 1}`)
  takeProcessLock(path, 'this')()
})
