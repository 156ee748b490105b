/** Frames of an AWS event stream (docs.aws.amazon.com, "Event stream encoding"), however the bytes were cut. */
import { EventStreamCodec } from '@smithy/eventstream-codec'
import { invalid } from '../answer.ts'
import { eventBytesMax } from '../sse.ts'

export interface EventFrame {
  /** By lower-case name, only those that are text. */
  readonly headers: ReadonlyMap<string, string>
  readonly payload: Buffer
}

export interface FrameReader {
  /** The frames that this chunk completes, in order. Throws `upstream.invalid_response`. */
  read(chunk: Buffer): readonly EventFrame[]
  /** Whether part of a frame has come. */
  isAmidFrame(): boolean
}

/** Two lengths and their checksum, and the checksum of the whole. */
const frameBytesMin = 16

const codec = new EventStreamCodec(
  (bytes) => Buffer.from(bytes as Uint8Array).toString('utf8'),
  (text) => Buffer.from(text, 'utf8'),
)

export function createFrameReader(): FrameReader {
  let pieces: Buffer[] = []
  let bytes = 0

  /** The length that the frame at the front claims; 0 while that is not known. */
  const wantedBytes = (): number => {
    if (bytes < 4) return 0
    const [first] = pieces
    if (!first || first.length < 4) pieces = [Buffer.concat(pieces)]
    const length = pieces[0]?.readUInt32BE(0) ?? 0
    if (length < frameBytesMin || length > eventBytesMax) {
      throw invalid(`a frame of ${length} bytes`)
    }
    return length
  }
  return {
    read(chunk) {
      pieces.push(chunk)
      bytes += chunk.length
      const frames: EventFrame[] = []
      for (let wanted = wantedBytes(); wanted > 0 && bytes >= wanted; wanted = wantedBytes()) {
        const all = pieces.length === 1 && pieces[0] ? pieces[0] : Buffer.concat(pieces)
        frames.push(decode(all.subarray(0, wanted)))
        pieces = [all.subarray(wanted)]
        bytes -= wanted
      }
      return frames
    },
    isAmidFrame: () => bytes > 0,
  }
}

function decode(frame: Buffer): EventFrame {
  try {
    const { headers, body } = codec.decode(frame)
    const texts = Object.entries(headers).flatMap(([name, { value }]) =>
      typeof value === 'string' ? [[name.toLowerCase(), value] as const] : [],
    )
    return { headers: new Map(texts), payload: Buffer.from(body) }
  } catch {
    // A wrong checksum, or headers that are none. The codec's own words may quote the frame.
    throw invalid('a frame that is damaged')
  }
}
