import { expect, test } from 'vitest'
import { mayGoTo } from './residency.ts'

test('machines of our own are always allowed, and nothing else is by itself', () => {
  expect(mayGoTo('local', [])).toBe(true)
  expect(mayGoTo('FR', [])).toBe(false)
})

test('a place that nobody has said is never allowed', () => {
  expect(mayGoTo(undefined, ['FR', 'EU', 'EEA', 'GLOBAL'])).toBe(false)
})

test('a region holds its countries, and a country not its region', () => {
  expect(mayGoTo('FR', ['EU'])).toBe(true)
  expect(mayGoTo('NO', ['EU'])).toBe(false)
  expect(mayGoTo('NO', ['EEA'])).toBe(true)
  expect(mayGoTo('EU', ['EEA'])).toBe(true)
  expect(mayGoTo('EU', ['FR'])).toBe(false)
  expect(mayGoTo('US', ['EU', 'EEA', 'FR'])).toBe(false)
  expect(mayGoTo('GLOBAL', ['GLOBAL'])).toBe(true)
})
