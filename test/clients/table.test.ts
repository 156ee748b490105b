import { expect, test } from 'vitest'
import { isGreen, renderPage, type ClientResult } from './table.ts'

const passed = { check: 'chat', outcome: 'passed', detail: '' } as const
const failed = { check: 'tools | parallel', outcome: 'failed', detail: 'x' } as const
const result: ClientResult = {
  name: 'A client',
  language: 'Go',
  version: '1.2.3',
  checks: [passed],
  broken: undefined,
}
const facts = { date: '2026-01-02', version: '0.1.0', machine: 'a machine' }

test('a client is green when it ran to its end, and every check held', () => {
  expect(isGreen(result)).toBe(true)
  expect(isGreen({ ...result, checks: [passed, failed] })).toBe(false)
  expect(isGreen({ ...result, broken: 'exit code 1' })).toBe(false)
})

test('a client without any check is not green', () => {
  expect(isGreen({ ...result, checks: [] })).toBe(false)
})

test('the page names each client with its version and what did not hold', () => {
  const page = renderPage([result, { ...result, checks: [passed, failed] }], facts)
  expect(page).toContain('| A client | Go | 1.2.3 | ✓ | chat | – |')
  expect(page).toContain('| A client | Go | 1.2.3 | ✗ | chat | tools \\| parallel |')
  expect(page).toContain('**1 of 2 are green.**')
})
