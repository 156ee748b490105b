/**
 * Reads the free text of a custom tool out of its function's arguments while they still arrive: `{"input":"…"}`. A model that writes something else is
 * taken at its word: all that it wrote is the input then.
 */

const opening = /^\s*\{\s*"input"\s*:\s*"/
const escape = /^\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/
const unfinished = /^(?:\\(?:u[0-9a-fA-F]{0,3})?)?$/

export interface CustomInput {
  /** Takes a piece of the arguments and returns the piece of the input that is now certain. */
  push(piece: string): string
  /** Returns what is left of the input. */
  end(): string
}

export function createCustomInput(): CustomInput {
  /** All arguments, until the text begins; from there on what is not decoded yet. */
  let pending = ''
  let state: 'before' | 'within' | 'after' = 'before'

  /** Takes all but a half-written escape off `pending`. */
  const decode = (): string => {
    let at = 0
    while (at < pending.length) {
      const character = pending[at]
      if (character === '"') {
        state = 'after'
        break
      }
      if (character !== '\\') at += 1
      else {
        const length = escapeLength(pending, at)
        if (length === undefined) break
        at += length
      }
    }
    const certain = pending.slice(0, at)
    pending = state === 'after' ? '' : pending.slice(at)
    return unescape(certain)
  }

  return {
    push(piece) {
      if (state === 'after') return ''
      pending += piece
      if (state === 'before') {
        const start = opening.exec(pending)
        if (!start) return ''
        pending = pending.slice(start[0].length)
        state = 'within'
      }
      return decode()
    },
    end() {
      if (state === 'after') return ''
      const rest = pending
      const wasBefore = state === 'before'
      pending = ''
      state = 'after'
      // A text that was cut within an escape ends before it.
      return wasBefore ? readWhole(rest) : ''
    },
  }
}

/** `undefined` while it is not written to its end; half a pair of surrogates waits for the other half. 1 for a backslash that escapes nothing. */
function escapeLength(text: string, at: number): number | undefined {
  const first = text.slice(at, at + 6)
  const length = escape.exec(first)?.[0].length
  if (length === undefined) return unfinished.test(first) ? undefined : 1
  if (!/^\\u[dD][89abAB]/.test(first)) return length
  const second = text.slice(at + 6, at + 12)
  if (unfinished.test(second)) return undefined
  return /^\\u[dD][c-fC-F][0-9a-fA-F]{2}/.test(second) ? 12 : 6
}

function unescape(text: string): string {
  return parseString(text) ?? parseString(Array.from(text, toEscape).join('')) ?? text
}

function parseString(text: string): string | undefined {
  try {
    const decoded: unknown = JSON.parse(`"${text}"`)
    return String(decoded)
  } catch {
    // The caller has another way to read it.
    return undefined
  }
}

/** Models write line breaks into strings as they are, though JSON wants them escaped. */
function toEscape(character: string): string {
  if (character >= ' ') return character
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

function readWhole(text: string): string {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && 'input' in value) {
      if (typeof value.input === 'string') return value.input
    }
  } catch {
    // Not JSON: the text itself.
  }
  return text
}
