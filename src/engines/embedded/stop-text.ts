/** Holds back text that may turn out to be the beginning of a stop sequence. Pure but for its own buffer. */

export interface StopText {
  /** Returns what may be shown now, and whether a stop sequence ended the text. */
  push(text: string): { readonly text: string; readonly isStopped: boolean }
  /** What was held back, once no more text comes. */
  flush(): string
}

export function createStopText(stops: readonly string[]): StopText {
  let held = ''
  return {
    push(text) {
      if (stops.length === 0) return { text, isStopped: false }
      const all = held + text
      const positions = stops.map((stop) => all.indexOf(stop)).filter((position) => position >= 0)
      if (positions.length > 0) {
        held = ''
        return { text: all.slice(0, Math.min(...positions)), isStopped: true }
      }
      const keep = Math.max(...stops.map((stop) => overlap(all, stop)))
      held = all.slice(all.length - keep)
      return { text: all.slice(0, all.length - keep), isStopped: false }
    },
    flush() {
      const rest = held
      held = ''
      return rest
    },
  }
}

/** The length of the longest end of `text` that begins `stop`. */
export function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length -= 1) {
    if (text.endsWith(stop.slice(0, length))) return length
  }
  return 0
}
