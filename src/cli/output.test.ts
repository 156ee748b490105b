import { expect, test } from 'vitest'
import { clean, renderTable } from './output.ts'

test('tables are aligned, and end no line with spaces', () => {
  const table = renderTable(
    ['ID', 'NAME'],
    [
      ['a', 'first'],
      ['longer', ''],
    ],
  )
  expect(table).toBe('ID      NAME\na       first\nlonger')
})

test('what others named cannot steer the terminal', () => {
  expect(clean('model\u001b[2J\r\n\u009bx')).toBe('model?[2J???x')
  expect(renderTable(['A'], [['\u0007']])).toBe('A\n?')
})
