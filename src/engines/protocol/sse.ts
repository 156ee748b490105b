/** Server-sent events as engines send them: any chunking, CRLF or LF, comments, `data:` with or without a space. */
import { StringDecoder } from 'node:string_decoder'
import { createParser } from 'eventsource-parser'
import { Fault } from '../../platform/fault.ts'

/** An engine's event is a token or a few; a larger one is an attack or a bug. */
export const eventBytesMax = 1024 * 1024

/** Yields the data of the events completed by each chunk, in order. Multi-byte characters may be cut anywhere. */
export async function* readEvents(chunks: AsyncIterable<Buffer>): AsyncGenerator<string[]> {
  const decoder = new StringDecoder('utf8')
  let events: string[] = []
  const parser = createParser({
    onEvent: (event) => events.push(event.data),
  })
  let bytesWithoutEvent = 0
  for await (const chunk of chunks) {
    parser.feed(decoder.write(chunk))
    if (events.length === 0) {
      bytesWithoutEvent += chunk.length
      if (bytesWithoutEvent > eventBytesMax) throw tooLarge()
      continue
    }
    bytesWithoutEvent = 0
    const ready = events
    events = []
    yield ready
  }
}

function tooLarge(): Fault {
  return new Fault({
    code: 'upstream.invalid_response',
    public: 'The model server sent an event that is too large.',
    internal: `no complete event within ${eventBytesMax} bytes`,
  })
}
