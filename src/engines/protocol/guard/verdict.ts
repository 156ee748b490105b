/** What a guard says about one text. Pure. */
import type { ModerationResult } from '../../engine.ts'
import { invalid } from '../answer.ts'

export interface Verdict {
  readonly severity: 'safe' | 'controversial' | 'unsafe'
  /** In OpenAI's words. */
  readonly categories: readonly string[]
}

const scores: Readonly<Record<Verdict['severity'], number>> = {
  safe: 0,
  controversial: 0.5,
  unsafe: 1,
}

export function toResult({ severity, categories }: Verdict): ModerationResult {
  const flagged = severity === 'unsafe'
  return {
    flagged,
    categories: Object.fromEntries(categories.map((name) => [name, flagged])),
    scores: Object.fromEntries(categories.map((name) => [name, scores[severity]])),
  }
}

/** `safe`, or `unsafe` and a line of codes: `S1,S10`. */
export function readSafeOrUnsafe(
  text: string,
  categoriesOf: Readonly<Record<string, readonly string[]>>,
): Verdict {
  const [first = '', second = ''] = text.trim().split(/\s*\n\s*/)
  if (first === 'safe') return { severity: 'safe', categories: [] }
  if (first !== 'unsafe') throw notAVerdict()
  return { severity: 'unsafe', categories: lookUp(second.split(/\s*,\s*/), categoriesOf) }
}

/** `Safety: Unsafe` and a line `Categories: Violent, PII`. */
export function readSafetyLine(
  text: string,
  categoriesOf: Readonly<Record<string, readonly string[]>>,
): Verdict {
  const safety = /^\s*Safety: (Safe|Unsafe|Controversial)\b/m.exec(text)?.[1]
  if (safety === undefined) throw notAVerdict()
  if (safety === 'Safe') return { severity: 'safe', categories: [] }
  const named = /^\s*Categories: (.*)$/m.exec(text)?.[1] ?? ''
  return {
    severity: safety === 'Unsafe' ? 'unsafe' : 'controversial',
    categories: lookUp(named.split(/\s*,\s*/), categoriesOf),
  }
}

/** Whether it is harmful: the answer begins with the word, or has it as its score after some thought. */
export function readYesOrNo(text: string): boolean {
  const word =
    /<score>\s*(yes|no)\s*<\/score>/i.exec(text)?.[1] ?? /^\s*(yes|no)\b/i.exec(text)?.[1]
  if (word === undefined) throw notAVerdict()
  return word.toLowerCase() === 'yes'
}

function lookUp(
  names: readonly string[],
  categoriesOf: Readonly<Record<string, readonly string[]>>,
): readonly string[] {
  return [...new Set(names.flatMap((name) => categoriesOf[name.trim()] ?? []))]
}

/** The text itself stays behind: it may quote what was judged. */
function notAVerdict(): Error {
  return invalid('a guard model gave an answer that is no verdict')
}
