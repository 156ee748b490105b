import { expect, test } from 'vitest'
import { digest, parseIdempotencyKey } from './key.ts'

test('a request without the header has no key', () => {
  expect(parseIdempotencyKey({})).toBeUndefined()
})

test.each(['a', 'x'.repeat(255), '3f2b!~', 'stainless-node-retry-3f2b'])(
  'the key %s is taken as it is',
  (key) => {
    expect(parseIdempotencyKey({ 'idempotency-key': key })).toBe(key)
  },
)

test.each([
  ['an empty one', ''],
  ['one that is too long', 'x'.repeat(256)],
  ['spaces', 'a b'],
  ['a control character', 'a\u0007'],
  ['another alphabet', 'ключ'],
  ['two headers, as Node joins them', 'a, b'],
  ['a list', ['a', 'b']],
])('%s is refused by the header’s name', (_, value) => {
  expect(() => parseIdempotencyKey({ 'idempotency-key': value })).toThrow(
    expect.objectContaining({ code: 'client.invalid_request', param: 'Idempotency-Key' }),
  )
})

test('a digest depends on the secret, on each part, and on where a part ends', () => {
  const secret = Buffer.alloc(32, 1)
  const all = [
    digest(secret, ['a', 'b']),
    digest(Buffer.alloc(32, 2), ['a', 'b']),
    digest(secret, ['ab', '']),
    digest(secret, ['a', 'b', '']),
    digest(secret, ['a', 'b'], []),
    digest(secret, ['a', 'b'], [Buffer.from('cd')]),
    digest(secret, ['a', 'bc']),
  ].map((bytes) => bytes.toString('hex'))
  expect(new Set(all).size).toBe(all.length)
  expect(digest(secret, ['a', 'b']).toString('hex')).toBe(all[0])
  const inPieces = digest(secret, ['a', 'b'], [Buffer.from('c'), Buffer.from('d')])
  expect(inPieces.toString('hex')).toBe(all[5])
})
