/** Tells tool calls from text while an answer streams in. Pure but for its own buffer. */
import { overlap } from './stop-text.ts'
import type { ToolFormat } from './tool-format.ts'

export type ToolEvent =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'start'; readonly index: number; readonly name: string }
  | { readonly type: 'arguments'; readonly index: number; readonly arguments: string }

export interface ToolReader {
  push(text: string): readonly ToolEvent[]
  /** What was held back, once no more text comes. */
  flush(): readonly ToolEvent[]
}

/** The beginning of a call, up to its arguments; what lies between two calls is skipped. */
const head =
  /^[^{]*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)/s

export function createToolReader(format: ToolFormat): ToolReader {
  let state: 'text' | 'between' | 'arguments' = 'text'
  let held = ''
  let isFirst = true
  let index = -1
  let nesting = { depth: 0, isString: false, isEscaped: false }

  /** Text up to the marker of a call. A format without marker begins the whole answer with the call itself. */
  const readText = (): readonly ToolEvent[] => {
    const position =
      format.opening === '' ? (isFirst ? held.search(/^\s*\{/) : -1) : held.indexOf(format.opening)
    if (position >= 0) {
      const text = held.slice(0, position)
      held = held.slice(position + format.opening.length)
      state = 'between'
      return [...spoken(text), ...readBetween()]
    }
    if (format.opening === '' && isFirst && /^\s*$/.test(held)) return []
    const kept = overlap(held, format.opening)
    const text = held.slice(0, held.length - kept)
    held = held.slice(held.length - kept)
    isFirst = false
    return spoken(text)
  }

  const readBetween = (): readonly ToolEvent[] => {
    const match = head.exec(held)
    if (!match) return []
    held = held.slice(match[0].length)
    state = 'arguments'
    nesting = { depth: 0, isString: false, isEscaped: false }
    index += 1
    const name: unknown = JSON.parse(match[1] ?? '""')
    return [{ type: 'start', index, name: String(name) }, ...readArguments()]
  }

  const readArguments = (): readonly ToolEvent[] => {
    const end = scanObject(held, nesting)
    const text = end === undefined ? held : held.slice(0, end)
    held = end === undefined ? '' : held.slice(end)
    const events: ToolEvent[] = text === '' ? [] : [{ type: 'arguments', index, arguments: text }]
    if (end === undefined) return events
    state = 'between'
    return [...events, ...readBetween()]
  }

  return {
    push(text) {
      held += text
      if (state === 'text') return readText()
      return state === 'between' ? readBetween() : readArguments()
    },
    flush() {
      // Before the first call the rest is text, whatever it looked like; after one it is closing marks.
      const text = index < 0 ? (state === 'text' ? '' : format.opening) + held : ''
      held = ''
      return spoken(text)
    },
  }
}

function spoken(text: string): readonly ToolEvent[] {
  return text === '' ? [] : [{ type: 'text', text }]
}

/** Advances over JSON; returns the position after the object's last brace, or `undefined` when the object goes on. */
function scanObject(
  text: string,
  nesting: { depth: number; isString: boolean; isEscaped: boolean },
): number | undefined {
  for (let position = 0; position < text.length; position += 1) {
    const character = text[position]
    if (nesting.isEscaped) nesting.isEscaped = false
    else if (nesting.isString) {
      if (character === '\\') nesting.isEscaped = true
      else if (character === '"') nesting.isString = false
    } else if (character === '"') nesting.isString = true
    else if (character === '{' || character === '[') nesting.depth += 1
    else if (character === '}' || character === ']') {
      nesting.depth -= 1
      if (nesting.depth === 0) return position + 1
    }
  }
  return undefined
}
