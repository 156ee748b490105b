import { expect, test } from 'vitest'
import type { Row } from './engine.ts'
import { placeTable, renderTable } from './table.ts'

const rows: readonly Row[] = [
  { engine: 'one', version: '1.0', outcomes: { chat: { state: 'yes' }, n: { state: 'yes' } } },
  {
    engine: 'two',
    version: '2.0',
    outcomes: { chat: { state: 'failed', note: 'a | b\nc' }, n: { state: 'no', note: 'refused' } },
  },
]

test('each engine is a column with its version, each check a line, each note below', () => {
  expect(renderTable(rows, ['chat', 'n', 'embeddings'], '2026-11-21').split('\n').slice(2)).toEqual(
    [
      '|  | one | two |',
      '| --- | --- | --- |',
      '| version | 1.0 | 2.0 |',
      '| chat | yes | **failed** (1) |',
      '| n | yes | – (2) |',
      '| embeddings |  |  |',
      '',
      '1. two, chat: a | b c.',
      '2. two, n: refused.',
    ],
  )
})

test('the table replaces the one before, and nothing else of the page', () => {
  const first = placeTable('# Engines\n\nWords.\n', 'old table')
  expect(first).toContain('Words.\n')
  const second = placeTable(`${first}\nMore words.\n`, 'new table')
  expect(second).toContain('new table')
  expect(second).not.toContain('old table')
  expect(second).toMatch(/^# Engines\n\nWords\.\n/)
  expect(second).toMatch(/More words\.\n$/)
  expect(placeTable(second, 'new table')).toBe(second)
})
