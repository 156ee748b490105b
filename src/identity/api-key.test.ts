import { expect, test } from 'vitest'
import { createSecret, digestSecret, parseSecret, secretPattern } from './api-key.ts'

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

test('a secret tells its type, its environment and its public id, and nothing else', () => {
  const { secret, publicId, hint } = createSecret('k', 'live')
  expect(secret).toMatch(/^cln_k_live_[0-9A-Za-z]{10}_[0-9A-Za-z]{36}$/)
  expect(parseSecret(secret)).toEqual({ type: 'k', environment: 'live', publicId })
  expect(secret.endsWith(hint)).toBe(true)
  expect(hint).toHaveLength(4)
  expect(parseSecret(createSecret('a', 'test').secret)).toMatchObject({
    type: 'a',
    environment: 'test',
  })
})

test('every single wrong character is found by the checksum', () => {
  const { secret } = createSecret('k', 'live')
  for (let at = 0; at < secret.length; at += 1) {
    for (const other of `${digits}_- `) {
      if (other === secret[at]) continue
      const wrong = secret.slice(0, at) + other + secret.slice(at + 1)
      expect(parseSecret(wrong), wrong).toBeUndefined()
    }
  }
})

test('two neighbours that changed places are found by the checksum', () => {
  const { secret } = createSecret('k', 'live')
  for (let at = 0; at + 1 < secret.length; at += 1) {
    const [a = '', b = ''] = [secret[at], secret[at + 1]]
    if (a === b) continue
    expect(parseSecret(secret.slice(0, at) + b + a + secret.slice(at + 2))).toBeUndefined()
  }
})

test('nothing may stand before or after a secret', () => {
  const { secret } = createSecret('k', 'live')
  for (const wrong of [` ${secret}`, `${secret}\n`, `${secret}A`, `${secret}${secret}`, '']) {
    expect(parseSecret(wrong)).toBeUndefined()
  }
})

test('the checksum is CRC-32 in six base-62 digits, so that a scanner of any language can compute it', () => {
  // CRC-32 of the first 52 characters is 0x1fcb1c44 = 533404740, computed with Python's zlib.
  const body = `cln_k_live_0123456789_${'A'.repeat(30)}`
  expect(parseSecret(`${body}0a66wG`)?.publicId).toBe('0123456789')
})

test('a scanner finds a secret in a text, and leaves alone what only resembles one', () => {
  const { secret } = createSecret('a', 'live')
  expect(secretPattern.exec(`KEY="${secret}" # mine`)?.[0]).toBe(secret)
  expect(secretPattern.exec(`x${secret}`)).toBeNull()
  expect(secretPattern.exec('cln_k_live_short')).toBeNull()
})

test('ten thousand secrets have ten thousand public ids', () => {
  const ids = new Set(Array.from({ length: 10_000 }, () => createSecret('k', 'live').publicId))
  expect(ids.size).toBe(10_000)
})

test('a digest depends on every byte of the secret and of the pepper', () => {
  const pepper = Buffer.alloc(32, 1)
  const digest = digestSecret(pepper, 'secret')
  expect(digest).toHaveLength(32)
  expect(digestSecret(pepper, 'secret').equals(digest)).toBe(true)
  expect(digestSecret(pepper, 'secreu').equals(digest)).toBe(false)
  expect(digestSecret(Buffer.alloc(32, 2), 'secret').equals(digest)).toBe(false)
})
