/** Counts the events of one HTTP answer from its bytes alone, however they are cut: parsing would cost more than the proxy does. */

const needle = Buffer.from('data:')
const statusLine = 'HTTP/1.1 200'

export interface EventCounter {
  /** How many events ended in this chunk. */
  count(chunk: Buffer): number
  readonly events: number
  /** The answer was a 200, and its last event was [DONE]. */
  readonly complete: boolean
}

export function createEventCounter(): EventCounter {
  let events = 0
  let accepted: boolean | undefined
  let sawDone = false
  /** The beginning of a line whose end has not come. */
  let rest: Buffer | undefined

  return {
    count(chunk) {
      accepted ??= chunk.toString('latin1', 0, statusLine.length) === statusLine
      const lines = rest ? Buffer.concat([rest, chunk]) : chunk
      const wholeBytes = lines.at(-1) === 10 ? lines.length : lines.lastIndexOf(10) + 1
      rest = wholeBytes < lines.length ? Buffer.from(lines.subarray(wholeBytes)) : undefined
      const before = events
      for (
        let at = lines.indexOf(needle);
        at >= 0 && at < wholeBytes;
        at = lines.indexOf(needle, at + needle.length)
      ) {
        events += 1
        // [DONE] is the only event that begins so.
        sawDone = lines[at + needle.length] === 91 || lines[at + needle.length + 1] === 91
      }
      return events - before
    },
    get events() {
      return events
    },
    get complete() {
      return accepted === true && sawDone
    },
  }
}
