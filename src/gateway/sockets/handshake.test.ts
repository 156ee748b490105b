import type { IncomingHttpHeaders } from 'node:http'
import { expect, test } from 'vitest'
import { checkOrigin, credentialsOf, publicHeaders } from './handshake.ts'

const protocols = 'realtime, openai-insecure-api-key.cln_k_live_a, openai-beta.realtime-v1'

test('a key among the sub-protocols counts like one in the header, and only without one', () => {
  const fromProtocol = credentialsOf({ 'sec-websocket-protocol': protocols })
  expect(fromProtocol.authorization).toBe('Bearer cln_k_live_a')
  const both = { authorization: 'Bearer b', 'sec-websocket-protocol': protocols }
  expect(credentialsOf(both).authorization).toBe('Bearer b')
  expect(credentialsOf({ 'sec-websocket-protocol': 'realtime' }).authorization).toBeUndefined()
})

test('code that speaks on a socket never sees the key, nor what names a single request', () => {
  const headers: IncomingHttpHeaders = {
    authorization: 'Bearer a',
    'x-api-key': 'a',
    'api-key': 'a',
    cookie: 'a',
    'sec-websocket-protocol': protocols,
    'idempotency-key': 'once',
    'x-receipt': 'true',
  }
  expect(publicHeaders(headers)).toEqual({ 'x-receipt': 'true' })
})

const host = 'api.example:8443'
test.each([
  ['no origin', undefined, [], true],
  ['an origin in the list', 'https://console.example', ['https://console.example'], true],
  ['any origin where all may', 'https://x.example', ['*'], true],
  ['the address that was called', 'https://api.example:8443', [], true],
  ['another port of that address', 'https://api.example', [], false],
  ['another origin', 'https://evil.example', ['https://console.example'], false],
  ['an origin that is hidden', 'null', ['https://console.example'], false],
  ['what only begins alike', 'https://console.example.evil', ['https://console.example'], false],
] as const)('%s: decided before the socket opens', (_, origin, origins, isAllowed) => {
  const check = (): void =>
    checkOrigin({ host, ...(origin === undefined ? {} : { origin }) }, origins)
  if (isAllowed) expect(check).not.toThrow()
  else expect(check).toThrow(/origin/)
})
