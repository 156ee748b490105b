import { expect, test } from 'vitest'
import { parseSource, readSourceFiles } from './source-file.ts'

test.each([
  {
    line: "import { a } from '../billing/billing.ts'",
    want: 'src/billing/billing.ts',
    types: false,
  },
  { line: "import type { A } from '../a/a.ts'", want: 'src/a/a.ts', types: true },
  { line: "import {\n  a,\n  b,\n} from './b.ts'", want: 'src/x/b.ts', types: false },
  { line: "import { type A } from './b.ts'", want: 'src/x/b.ts', types: false },
  { line: "import a, { b } from './b.ts'", want: 'src/x/b.ts', types: false },
  { line: "import * as a from './b.ts'", want: 'src/x/b.ts', types: false },
  { line: "import './b.ts'", want: 'src/x/b.ts', types: false },
  { line: "export { a } from './b.ts'", want: 'src/x/b.ts', types: false },
  { line: "export * from './b.ts'", want: 'src/x/b.ts', types: false },
  { line: "export type { A } from './b.ts'", want: 'src/x/b.ts', types: true },
  { line: "const a = await import('./b.ts')", want: 'src/x/b.ts', types: false },
  { line: "import pg from 'pg'", want: 'pg', types: false },
  { line: "import a from '@scope/name/deep'", want: '@scope/name', types: false },
  { line: "import { x } from 'node:fs/promises'", want: 'node:fs/promises', types: false },
])('finds $line', ({ line, want, types }) => {
  const { imports } = parseSource('src/x/a.ts', `// head\n${line}\nconst c = 1\n`)
  expect(imports.map(({ target, isTypeOnly }) => [target, isTypeOnly])).toEqual([[want, types]])
})

test.each([
  "// import { a } from './b.ts'",
  "/*\nimport { a } from './b.ts'\n*/",
  "export const a = 1\nconst b = { from: 'x' }",
])('takes no import from %j', (text) => {
  expect(parseSource('src/x/a.ts', text).imports).toEqual([])
})

test.each([
  { name: 'a comment', text: 'a() // Date.now()\nb()', want: 'a()\nb()' },
  { name: 'a text', text: "a('Date.now()')", want: "a('')" },
  { name: 'a text with a quote in it', text: "a('it\\'s Date.now()', b)", want: "a('', b)" },
  {
    name: 'a template',
    text: 'a(`Date.now() ${b({ c: 1 })} Date.now()`)',
    want: 'a(`${b({ c: 1 })}`)',
  },
  { name: 'a nested template', text: 'a(`x${`y${b}`}z`, c)', want: 'a(`${`${b}`}`, c)' },
  { name: 'a regular expression', text: 'a = /[\'"`/]/.test(b)', want: 'a = //.test(b)' },
  { name: 'no division', text: "a / b / c('x')", want: "a / b / c('')" },
])('blanks out $name', ({ text, want }) => {
  expect(squeeze(parseSource('a.ts', text).code)).toBe(squeeze(want))
})

function squeeze(code: string): string {
  return code.replace(/ +/g, '')
}

test('every file of the repository is scanned to its end', () => {
  for (const file of readSourceFiles('src')) {
    expect(file.code.length, file.path).toBe(file.text.length)
    // An unclosed text or template would hide the rest of the file.
    const braces = file.code.split('{').length - file.code.split('}').length
    expect(braces, `${file.path} has unbalanced braces after blanking`).toBe(0)
  }
})
