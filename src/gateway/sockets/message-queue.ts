/** What a client has said and nobody has read yet. A full queue pauses the socket, so that the client waits; it never drops anything. */

/** Beyond one of these the socket is paused. What its last read had brought still comes: 64 KiB at most. */
const messagesMax = 64

export interface MessageQueue {
  readonly messages: AsyncIterable<string | Buffer>
  readonly isPaused: boolean
  push(message: string | Buffer): void
  /** Nothing comes after what is in the queue. */
  end(): void
  /** Nobody wants what is in the queue. */
  discard(): void
}

export function createMessageQueue(
  bytesMax: number,
  socket: { pause(): void; resume(): void },
): MessageQueue {
  let queued: (string | Buffer)[] = []
  let bytes = 0
  let isPaused = false
  let isEnded = false
  let arrival = Promise.withResolvers<void>()

  const isFull = (): boolean => queued.length >= messagesMax || bytes >= bytesMax
  const take = (): string | Buffer | undefined => {
    const message = queued.shift()
    if (message === undefined) return undefined
    bytes -= Buffer.byteLength(message)
    if (isPaused && !isFull()) {
      isPaused = false
      socket.resume()
    }
    return message
  }
  async function* read(): AsyncGenerator<string | Buffer> {
    while (true) {
      const message = take()
      if (message !== undefined) yield message
      else if (isEnded) return
      else await arrival.promise
    }
  }
  const announce = (): void => {
    arrival.resolve()
    arrival = Promise.withResolvers()
  }

  return {
    messages: read(),
    get isPaused() {
      return isPaused
    },
    push(message) {
      if (isEnded) return
      queued.push(message)
      bytes += Buffer.byteLength(message)
      if (!isPaused && isFull()) {
        isPaused = true
        socket.pause()
      }
      announce()
    },
    end() {
      isEnded = true
      // The rest is read off, so that the client's own goodbye can arrive.
      if (isPaused) socket.resume()
      isPaused = false
      announce()
    },
    discard() {
      queued = []
      bytes = 0
    },
  }
}
