/**
 * What the laws need to know of a source file: its imports, and its code without comments and texts. A small scanner is enough, because
 * the formatter gives every import one shape; source-file.test.ts shows what it must not be fooled by.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'

export interface Import {
  /** A path from the root of the repository (`src/billing/billing.ts`), or a package's name. */
  readonly target: string
  readonly isLocal: boolean
  /** Erased before the program runs. */
  readonly isTypeOnly: boolean
}

export interface SourceFile {
  /** From the root of the repository, with `/`. */
  readonly path: string
  readonly text: string
  /** The text with comments and the inside of strings blanked out; lines keep their numbers. */
  readonly code: string
  readonly imports: readonly Import[]
}

export const repositoryRoot = join(import.meta.dirname, '../..')

export function readSourceFiles(folder: string): readonly SourceFile[] {
  return listFiles(folder)
    .filter((path) => path.endsWith('.ts') || path.endsWith('.mjs'))
    .map((path) => parseSource(path, readFileSync(join(repositoryRoot, path), 'utf8')))
}

/** Paths of all files under a folder, from the root of the repository; none when there is no such folder. */
export function listFiles(folder: string): readonly string[] {
  try {
    return readdirSync(join(repositoryRoot, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(repositoryRoot.length + 1))
      .map((path) => path.replaceAll('\\', '/'))
      .filter((path) => !path.includes('node_modules/'))
      .toSorted()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}

export function parseSource(path: string, text: string): SourceFile {
  return { path, text, code: withoutTexts(text), imports: findImports(path, text) }
}

const statement = /^(?:import|export)(\s+type)?\s[^'"`;]*?\bfrom\s+['"]([^'"]+)['"]/gm
const sideEffect = /^import\s+['"]([^'"]+)['"]/gm
const dynamic = /\bimport\(\s*['"]([^'"]+)['"]/g

function findImports(path: string, text: string): Import[] {
  const source = blank(text, { comments: true, texts: false })
  const found = [
    ...[...source.matchAll(statement)].map((match) => ({
      specifier: match[2] ?? '',
      isTypeOnly: match[1] !== undefined,
    })),
    ...[...source.matchAll(sideEffect), ...source.matchAll(dynamic)].map((match) => ({
      specifier: match[1] ?? '',
      isTypeOnly: false,
    })),
  ]
  return found.map(({ specifier, isTypeOnly }) => {
    const isLocal = specifier.startsWith('.')
    const target = isLocal ? posix.join(dirname(path), specifier) : packageName(specifier)
    return { target, isLocal, isTypeOnly }
  })
}

function packageName(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

function withoutTexts(text: string): string {
  return blank(text, { comments: true, texts: true })
}

/** A `/` after one of these starts a regular expression; after anything else it divides. */
const beforeRegex =
  /(?:^|[(,=:[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|in|of|await|yield|throw))\s*$/

/** Replaces what is asked for by spaces. Code inside `${…}` of a template stays. */
function blank(text: string, what: { comments: boolean; texts: boolean }): string {
  let result = ''
  let at = 0
  /** For each template under way, how many braces are open inside its current `${…}`. */
  const templates: number[] = []

  const take = (length: number, hidden: boolean): void => {
    const piece = text.slice(at, at + length)
    result += hidden ? piece.replace(/[^\n]/g, ' ') : piece
    at += length
  }
  const takeTemplate = (): void => {
    while (at < text.length) {
      if (text[at] === '\\') take(2, what.texts)
      else if (text.startsWith('${', at)) {
        take(2, false)
        templates.push(0)
        return
      } else if (text[at] === '`') {
        take(1, false)
        return
      } else take(1, what.texts)
    }
  }
  const takeQuoted = (end: string): void => {
    take(1, false)
    let inClass = false
    while (at < text.length && (inClass || text[at] !== end) && text[at] !== '\n') {
      if (end === '/' && text[at] === '[') inClass = true
      if (end === '/' && text[at] === ']') inClass = false
      take(text[at] === '\\' ? 2 : 1, what.texts)
    }
    take(1, false)
  }

  while (at < text.length) {
    const char = text[at] ?? ''
    const depth = templates.at(-1)
    if (text.startsWith('//', at)) take(lengthUntil(text, '\n', at), what.comments)
    else if (text.startsWith('/*', at)) take(lengthUntil(text, '*/', at) + 2, what.comments)
    else if (char === "'" || char === '"') takeQuoted(char)
    else if (char === '/' && beforeRegex.test(result.slice(-40))) takeQuoted('/')
    else if (char === '`') {
      take(1, false)
      takeTemplate()
    } else if (depth !== undefined && char === '{') {
      templates[templates.length - 1] = depth + 1
      take(1, false)
    } else if (depth !== undefined && char === '}') {
      take(1, false)
      if (depth > 0) templates[templates.length - 1] = depth - 1
      else {
        templates.pop()
        takeTemplate()
      }
    } else take(1, false)
  }
  return result
}

function lengthUntil(text: string, end: string, from: number): number {
  const found = text.indexOf(end, from)
  return (found < 0 ? text.length : found) - from
}
