/** Holds back text that may turn out to be the beginning of a stop sequence. Pure but for its own buffer. */

/** What may be shown now, and the stop sequence that ended the text, if one did. */
export interface StopPiece {
  readonly text: string
  readonly isStopped: boolean
  readonly stoppedBy?: string | undefined
}

export interface StopText {
  push(text: string): StopPiece
  /** What was held back, once no more text comes. */
  flush(): string
}

export function createStopText(stops: readonly string[]): StopText {
  let held = ''
  return {
    push(text) {
      if (stops.length === 0) return { text, isStopped: false }
      const all = held + text
      const first = firstStop(all, stops)
      if (first) {
        held = ''
        return { text: all.slice(0, first.position), isStopped: true, stoppedBy: first.stop }
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

/** Of several at one place, the one that was named first. */
function firstStop(
  text: string,
  stops: readonly string[],
): { readonly stop: string; readonly position: number } | undefined {
  return stops
    .map((stop) => ({ stop, position: text.indexOf(stop) }))
    .filter(({ position }) => position >= 0)
    .toSorted((a, b) => a.position - b.position)[0]
}

/** The length of the longest end of `text` that begins `stop`. */
export function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length -= 1) {
    if (text.endsWith(stop.slice(0, length))) return length
  }
  return 0
}
