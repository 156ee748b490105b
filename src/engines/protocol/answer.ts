/** What every reader of engines' answers needs: bounded bytes, JSON that may be anything, and one fault for what cannot be used. */
import { Fault } from '../../platform/fault.ts'

export const wholeAnswerBytesMax = 64 * 1024 * 1024

export async function collect(
  chunks: AsyncIterable<Buffer>,
  bytesMax = wholeAnswerBytesMax,
): Promise<Buffer> {
  const all: Buffer[] = []
  let bytes = 0
  for await (const chunk of chunks) {
    bytes += chunk.length
    if (bytes > bytesMax) throw invalid(`an answer larger than ${bytesMax} bytes`)
    all.push(chunk)
  }
  return all.length === 1 && all[0] ? all[0] : Buffer.concat(all)
}

export function parseEvent(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw invalid('an event that is not JSON')
  }
}

export function parseWhole(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    throw invalid('an answer that is not JSON')
  }
}

export function toNumber(value: unknown, absent: number): number {
  return typeof value === 'number' ? value : absent
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** `internal` says what was wrong, without a byte of the answer. */
export function invalid(internal: string): Fault {
  return new Fault({
    code: 'upstream.invalid_response',
    public: 'The model server gave an answer that cannot be used. Try again.',
    internal,
  })
}

export function failedInStream(internal = 'error event in the stream'): Fault {
  return new Fault({
    code: 'upstream.failed',
    public: 'The model server failed while it was answering. Try again.',
    internal,
  })
}

export function truncated(internal: string): Fault {
  return new Fault({
    code: 'upstream.truncated',
    public: 'The model server ended the answer before it was complete. Try again.',
    internal,
  })
}
