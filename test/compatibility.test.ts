/** docs/compatibility.md says of each guarantee which tests hold it. A test that is renamed or gone makes the page a lie, and fails here. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { repositoryRoot } from './tidy/source-file.ts'

const page = readFileSync(join(repositoryRoot, 'docs/compatibility.md'), 'utf8')

interface Proof {
  readonly file: string
  readonly name: string
}

/** A guarantee begins with `- **`, and each line below it with a file and the exact name of a test in it. */
const guarantees = page
  .split(/^- (?=\*\*)/m)
  .slice(1)
  .map((text) => ({ title: /^\*\*(.+?)\*\*/.exec(text)?.[1] ?? text, proofs: proofsOf(text) }))

function proofsOf(text: string): readonly Proof[] {
  return [...text.matchAll(/^ {2}- `([\w./-]+\.test\.ts)`: (.+)$/gm)].map(
    ([, file = '', name = '']) => ({ file, name }),
  )
}

function holds({ file, name }: Proof): boolean {
  const path = join(repositoryRoot, file)
  if (!existsSync(path)) return false
  const source = readFileSync(path, 'utf8').replaceAll("\\'", "'")
  // The first argument of `test`, or of what `test.each` returns.
  return ["'", '"', '`'].some((quote) => {
    const literal = `${quote}${name}${quote},`
    const position = source.indexOf(literal)
    return position > 0 && /\(\s*$/.test(source.slice(0, position))
  })
}

test('every guarantee of the page names the tests that hold it', () => {
  expect(guarantees.length).toBeGreaterThan(40)
  expect(guarantees.filter(({ proofs }) => proofs.length === 0)).toEqual([])
})

test('every test that the page names exists, under exactly this name', () => {
  const missing = guarantees.flatMap(({ proofs }) => proofs).filter((proof) => !holds(proof))
  expect(missing).toEqual([])
})

test('no line of the page looks like a proof and is none', () => {
  const lines = page.split('\n').filter((line) => /^\s+- /.test(line))
  expect(lines).toHaveLength(guarantees.flatMap(({ proofs }) => proofs).length)
})
