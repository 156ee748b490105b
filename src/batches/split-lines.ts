/** Cuts a stream of bytes into lines, and tells where each begins. Holds one line at a time, up to a bound. Pure. */

export interface FoundLine {
  /** Counted from 1; empty lines count, and are not found. */
  readonly number: number
  readonly start: number
  readonly length: number
  /** Without its end; `undefined` for a line that is too long. */
  readonly bytes: Buffer | undefined
}

const lineFeed = 0x0a
const carriageReturn = 0x0d
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])

export async function* splitLines(
  chunks: AsyncIterable<Buffer>,
  bytesMax: number,
): AsyncGenerator<FoundLine> {
  let number = 1
  let start = 0
  let length = 0
  let pieces: Buffer[] = []
  const add = (piece: Buffer): void => {
    length += piece.length
    if (length <= bytesMax) pieces.push(piece)
    else pieces = []
  }
  const take = (): FoundLine | undefined => {
    const whole = length > bytesMax ? undefined : Buffer.concat(pieces)
    const line = whole && trim(whole, number)
    const found = {
      number,
      start: start + (line?.skipped ?? 0),
      length: line?.bytes.length ?? length,
      bytes: line?.bytes,
    }
    pieces = []
    length = 0
    return found.length === 0 ? undefined : found
  }
  for await (const chunk of chunks) {
    let from = 0
    for (let end = chunk.indexOf(lineFeed); end !== -1; end = chunk.indexOf(lineFeed, from)) {
      add(chunk.subarray(from, end))
      const consumed = length + 1
      const found = take()
      if (found) yield found
      start += consumed
      number += 1
      from = end + 1
    }
    add(chunk.subarray(from))
  }
  const rest = take()
  if (rest) yield rest
}

/** A mark at the beginning of a file and a carriage return at the end of a line are not part of it. */
function trim(line: Buffer, number: number): { bytes: Buffer; skipped: number } {
  const skipped = number === 1 && line.subarray(0, 3).equals(byteOrderMark) ? 3 : 0
  const end = line.at(-1) === carriageReturn ? line.length - 1 : line.length
  return { bytes: line.subarray(skipped, Math.max(skipped, end)), skipped }
}
