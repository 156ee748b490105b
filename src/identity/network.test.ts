import { expect, test } from 'vitest'
import { isWithin, parseNetwork, toNetworks } from './network.ts'

test.each([
  ['10.1.2.3', '10.1.2.3/32'],
  ['10.1.2.3/8', '10.0.0.0/8'],
  ['0.0.0.0/0', '0.0.0.0/0'],
  ['2001:DB8::1', '2001:db8::1/128'],
  ['2001:db8:1::/32', '2001:db8::/32'],
  ['::/0', '::/0'],
])('%s is the block %s', (text, expected) => {
  expect(parseNetwork(text)).toBe(expected)
})

test.each([
  '',
  '10',
  '10.0.0/8',
  '0x7f.0.0.1',
  '010.0.0.1',
  '256.0.0.1',
  '10.0.0.0/33',
  '10.0.0.0/-1',
  '10.0.0.0/8/8',
  '10.0.0.0/',
  '::ffff:10.0.0.0/104',
  'fe80::1%eth0',
  '2001:db8::/129',
  'example.com',
])('"%s" is no block', (text) => {
  expect(parseNetwork(text)).toBeUndefined()
})

test('an unreadable block among others matches nothing and breaks nothing', () => {
  const networks = toNetworks(['damaged', '10.0.0.0/8'])
  expect(isWithin('10.9.9.9', networks)).toBe(true)
  expect(isWithin('11.0.0.1', networks)).toBe(false)
  expect(isWithin('10.9.9.9', toNetworks(['damaged']))).toBe(false)
})
