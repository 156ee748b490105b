/**
 * Writes requests to engines as JSON. `JSON.stringify` makes one text of the whole body, which is then copied to bytes; for a prompt of
 * 400 KB that costs a quarter of all that the request costs, most of it for the collector. So long texts that need no escape, as the data of
 * images and much prose, are left out of it, and go straight into the memory that they are sent from.
 */
import { lend, longBodyBytes, reclaim } from './engine-socket.ts'
import { isPlain } from './json-limits.ts'

/** Stands for a long text. Where a value has it in a text of its own, the gaps are not as many as the long texts. */
const gap = '\u0000'
const gapAsJson = JSON.stringify(gap).slice(1, -1)
const quote = 0x22
const mostEscapes = ['\n', '"', '\\']

/** A body for `HttpClient.open`, to be sent once: of plain data, nested as deeply as `parseBoundedJson` allows. */
export function toJsonBody(value: unknown): string | Buffer {
  const texts: string[] = []
  const rest = JSON.stringify(withGaps(value, texts))
  if (texts.length === 0) return toBytes(rest)
  const frame = rest.split(gapAsJson)
  const isExact = frame.length === texts.length + 1
  return (isExact ? fillGaps(frame, texts) : undefined) ?? toBytes(JSON.stringify(value))
}

/** The same value, but for its long texts, which are added to `texts` in the order in which they are written. */
function withGaps(value: unknown, texts: string[]): unknown {
  if (typeof value === 'string') {
    if (value.length < longBodyBytes || mostEscapes.some((found) => value.includes(found)))
      return value
    texts.push(value)
    return gap
  }
  if (Array.isArray(value)) return arrayWithGaps(value, texts)
  if (typeof value !== 'object' || value === null) return value
  let changed: Record<string, unknown> | undefined
  for (const [key, item] of Object.entries(value)) {
    const kept = withGaps(item, texts)
    if (kept !== item) (changed ??= { ...value })[key] = kept
  }
  return changed ?? value
}

function arrayWithGaps(items: readonly unknown[], texts: string[]): readonly unknown[] {
  let changed: unknown[] | undefined
  for (const [index, item] of items.entries()) {
    const kept = withGaps(item, texts)
    if (kept !== item) (changed ??= [...items])[index] = kept
  }
  return changed ?? items
}

/** Returns `undefined` if one of the texts needs an escape after all. */
function fillGaps(frame: readonly string[], texts: readonly string[]): Buffer | undefined {
  const length = [...frame, ...texts].reduce((sum, text) => sum + Buffer.byteLength(text), 0)
  const body = lend(length)
  let end = 0
  for (const [index, text] of texts.entries()) {
    const start = end + body.write(frame[index] ?? '', end)
    end = start + body.write(text, start)
    const written = body.subarray(start, end)
    if (isPlain(written) && !written.includes(quote) && text.isWellFormed()) continue
    reclaim(body)
    return undefined
  }
  body.write(frame.at(-1) ?? '', end)
  return body
}

function toBytes(text: string): string | Buffer {
  if (text.length < longBodyBytes) return text
  const body = lend(Buffer.byteLength(text))
  body.write(text)
  return body
}
