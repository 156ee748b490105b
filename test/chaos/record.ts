/** The last results, written by the commands themselves between markers of docs/reliability.md. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'

const path = join(import.meta.dirname, '../../docs/reliability.md')

/** Replaces what stands between `<!-- name:start -->` and `<!-- name:end -->`. */
export function record(name: string, text: string | ((before: string) => string)): void {
  const page = readFileSync(path, 'utf8')
  const { start, end } = markers(page, name)
  const next = typeof text === 'string' ? text : text(page.slice(start, end))
  writeFileSync(path, `${page.slice(0, start)}\n\n${next}\n\n${page.slice(end)}`)
}

function markers(page: string, name: string): { start: number; end: number } {
  const opening = `<!-- ${name}:start -->`
  const start = page.indexOf(opening)
  const end = page.indexOf(`<!-- ${name}:end -->`)
  if (start < 0 || end < start) throw new Error(`docs/reliability.md has no markers for ${name}`)
  return { start: start + opening.length, end }
}

/** When, where and of what: the line above each table. */
export function circumstances(seed: number): string {
  const day = new Date().toISOString().slice(0, 10)
  return `${day}, ${availableParallelism()} cores, Node ${process.versions.node}, ${revision()}, seed ${seed}.`
}

function revision(): string {
  try {
    const id = execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      cwd: import.meta.dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return `revision ${id.trim()}`
  } catch {
    // Unpacked from an archive.
    return 'no revision'
  }
}
