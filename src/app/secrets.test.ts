import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadSecrets, existingSecrets } from './secrets.ts'

let folder = ''
let path = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'colonnade-secrets-'))
  path = join(folder, 'secrets', 'root')
})
afterEach(() => rmSync(folder, { recursive: true }))

test('the first start makes a root that only its owner can read, and later ones keep it', () => {
  const first = loadSecrets(path)
  expect(statSync(path).mode & 0o777).toBe(0o400)
  expect(statSync(join(folder, 'secrets')).mode & 0o777).toBe(0o700)
  expect(statSync(path).size).toBe(32)
  const second = loadSecrets(path)
  expect(second.peppers).toEqual(first.peppers)
  expect(second.databasePassword).toBe(first.databasePassword)
})

test('what is sealed for one purpose cannot be opened for another', () => {
  const secrets = loadSecrets(path)
  const sealed = secrets.atRest.seal(Buffer.from('engine key'), 'context')
  expect(secrets.atRest.open(sealed, 'context')?.toString()).toBe('engine key')
  expect(secrets.snapshot.open(sealed, 'context')).toBeUndefined()
  expect(secrets.atRest.open(sealed, 'another context')).toBeUndefined()
})

test('no key of one purpose equals that of another, or the root', () => {
  const secrets = loadSecrets(path)
  const keys = [...secrets.peppers.values()].map((key) => key.toString('base64url'))
  const others = [secrets.idempotency, secrets.receiptSeed].map((key) => key.toString('base64url'))
  const all = [...keys, ...others, secrets.databasePassword]
  expect(new Set(all).size).toBe(all.length)
})

test('another root opens nothing', () => {
  const sealed = loadSecrets(path).atRest.seal(Buffer.from('x'), 'c')
  const other = loadSecrets(join(folder, 'other', 'root'))
  expect(other.atRest.open(sealed, 'c')).toBeUndefined()
})

test.each([
  { name: 'empty', bytes: 0, mode: 0o400, message: /exactly 32 bytes/ },
  { name: 'short', bytes: 31, mode: 0o400, message: /exactly 32 bytes/ },
  { name: 'long', bytes: 33, mode: 0o400, message: /exactly 32 bytes/ },
  { name: 'readable by others', bytes: 32, mode: 0o444, message: /chmod 400/ },
])('a root that is $name is refused', ({ bytes, mode, message }) => {
  path = join(folder, 'root')
  writeFileSync(path, Buffer.alloc(bytes, 1))
  chmodSync(path, mode)
  expect(() => existingSecrets(path)).toThrow(message)
  expect(() => loadSecrets(path)).toThrow(message)
})

test('a role on another machine makes no root of its own: its keys would fit nobody', () => {
  expect(() => existingSecrets(path)).toThrow(/COLONNADE_SECRET_FILE/)
})
