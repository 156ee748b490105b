/**
 * Tells what a model thinks from what it says. Models that think write it first, between `<think>` and `</think>`; some templates write the first mark
 * themselves. Pure but for its own buffer.
 */
import { overlap } from './stop-text.ts'

/** How an answer begins: said at once, thought at once, or with a mark if the model thinks. */
export type ThinkingStart = 'none' | 'opened' | 'possible'

export interface ReasoningReader {
  /** Whether what comes next is thought, said, or cannot be told yet. */
  readonly state: () => 'undecided' | 'thinking' | 'saying'
  push(text: string): ReasoningPiece
  /** What was held back, once no more text comes. */
  flush(): ReasoningPiece
}
export interface ReasoningPiece {
  readonly reasoning: string
  readonly text: string
}

const opening = '<think>'
const closing = '</think>'

/** Whether models with this template think. */
export function knowsThinking(templateText: string): boolean {
  return templateText.includes(closing)
}

/** Of a model that thinks: the end of its prompt says how the answer begins. */
export function thinkingStart(rendered: string): ThinkingStart {
  const end = rendered.trimEnd()
  if (end.endsWith(opening)) return 'opened'
  return end.endsWith(closing) ? 'none' : 'possible'
}

export function createReasoningReader(start: ThinkingStart): ReasoningReader {
  let state: 'undecided' | 'thinking' | 'saying' = {
    none: 'saying',
    opened: 'thinking',
    possible: 'undecided',
  }[start] as 'undecided' | 'thinking' | 'saying'
  let held = ''
  /** The line breaks around the marks belong to them. */
  let isAfterMark = start === 'opened'

  const withoutBreaks = (text: string): string => {
    const rest = isAfterMark ? text.trimStart() : text
    if (rest !== '') isAfterMark = false
    return rest
  }
  const decide = (): ReasoningPiece => {
    const begun = held.trimStart()
    if (begun.startsWith(opening)) {
      held = begun.slice(opening.length)
      state = 'thinking'
      isAfterMark = true
      return think()
    }
    if (opening.startsWith(begun)) return nothing
    state = 'saying'
    return say()
  }
  const think = (): ReasoningPiece => {
    const end = held.indexOf(closing)
    if (end < 0) {
      const kept = overlap(held, closing)
      const reasoning = withoutBreaks(held.slice(0, held.length - kept))
      held = held.slice(held.length - kept)
      return { reasoning, text: '' }
    }
    const reasoning = withoutBreaks(held.slice(0, end)).trimEnd()
    held = held.slice(end + closing.length)
    state = 'saying'
    isAfterMark = true
    return { reasoning, text: say().text }
  }
  const say = (): ReasoningPiece => {
    const text = withoutBreaks(held)
    held = ''
    return { reasoning: '', text }
  }

  return {
    state: () => state,
    push(text) {
      held += text
      if (state === 'undecided') return decide()
      return state === 'thinking' ? think() : say()
    },
    flush() {
      const rest = held
      held = ''
      return state === 'thinking' ? { reasoning: rest, text: '' } : { reasoning: '', text: rest }
    },
  }
}

const nothing: ReasoningPiece = { reasoning: '', text: '' }
