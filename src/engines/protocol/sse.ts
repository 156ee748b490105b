/** Server-sent events as engines send them: any chunking, CRLF or LF, comments, `data:` with or without a space. */
import { StringDecoder } from 'node:string_decoder'
import { createParser } from 'eventsource-parser'
import { Fault } from '../../platform/fault.ts'

/** An engine's event is a token or a few; a larger one is an attack or a bug. */
export const eventBytesMax = 1024 * 1024

export interface EventReader {
  /** The data of the events that this chunk completes, in order; mostly one. Throws `upstream.invalid_response`. */
  read(chunk: Buffer): readonly string[]
}

/** Multi-byte characters and events may be cut anywhere. */
export function createEventReader(): EventReader {
  const decoder = new StringDecoder('utf8')
  let events: string[] = []
  let bytesWithoutEvent = 0
  const parser = createParser({
    onEvent: (event) => events.push(event.data),
  })
  return {
    read(chunk) {
      events = []
      parser.feed(decoder.write(chunk))
      bytesWithoutEvent = events.length === 0 ? bytesWithoutEvent + chunk.length : 0
      if (bytesWithoutEvent > eventBytesMax) throw tooLarge()
      return events
    },
  }
}

function tooLarge(): Fault {
  return new Fault({
    code: 'upstream.invalid_response',
    public: 'The model server sent an event that is too large.',
    internal: `no complete event within ${eventBytesMax} bytes`,
  })
}
