/** The connection between a client and one life of a gateway: the gateway holds it as an `Exchange`, the client as what arrives, in order and later. */
import type { Exchange } from '../../src/gateway/exchange.ts'
import type { Life } from './life.ts'
import type { Loop } from './loop.ts'
import type { Random } from './random.ts'

/** What the client sees. */
export interface Arrivals {
  onHead(status: number): void
  onText(text: string): void
  /** The answer is over in its proper way. */
  onEnd(): void
  onCut(): void
}

export interface Connection {
  readonly exchange: Exchange
  /** The client closes it. */
  leave(): void
  /** The gateway's process is dead: of what was sent, the kernel may still deliver a part. */
  cut(delivers: boolean): void
}

/** As in the gateway: a reader that takes nothing for so long is given up, and so is a request that takes so long. */
const stalledReaderMs = 30_000
const totalTimeoutMs = 3_600_000
const unreadMax = 12
const ended = new Error('the exchange ended')

export function openConnection(options: {
  readonly loop: Loop
  readonly random: Random
  readonly life: Life
  readonly requestId: string
  readonly body: string
  readonly headers: Readonly<Record<string, string>>
  readonly latencyMs: number
  /** How long the client takes to read one piece. */
  readonly readMs: number
  readonly arrivals: Arrivals
  /** The gateway has sent the last byte. */
  readonly onEndSent: () => void
}): Connection & { close(): void } {
  const { loop, random, life, arrivals } = options
  const abort = new AbortController()
  const pieces: (() => void)[] = []
  let isDelivering = false
  let isOpen = true
  let clientLeft = false
  let streamStarted = false
  let isFinished = false
  let room: PromiseWithResolvers<void> | undefined

  const makeRoom = (): void => {
    room?.resolve()
    room = undefined
  }
  const deliver = (): void => {
    isDelivering = pieces.length > 0
    if (!isDelivering) return
    const delayMs = random.exponential(options.latencyMs) + options.readMs
    loop.after(delayMs, () => {
      if (!isOpen) return
      pieces.shift()?.()
      if (pieces.length <= unreadMax && !life.isOver) makeRoom()
      deliver()
    })
  }
  const send = (piece: () => void): void => {
    pieces.push(piece)
    if (!isDelivering) deliver()
  }
  const finish = (): void => {
    isFinished = true
    options.onEndSent()
    send(() => {
      isOpen = false
      arrivals.onEnd()
    })
  }
  const giveUp = (): void => {
    if (!isOpen || isFinished) return
    isOpen = false
    clientLeft = true
    makeRoom()
    abort.abort(ended)
    arrivals.onCut()
  }
  const cancelTotal = life.clock.after(totalTimeoutMs, () => abort.abort(ended))

  const exchange: Exchange = {
    requestId: options.requestId,
    headers: options.headers,
    query: new URLSearchParams(),
    ip: '192.0.2.1',
    startedMs: life.clock.monotonicMs(),
    signal: abort.signal,
    get clientLeft() {
      return clientLeft
    },
    get streamStarted() {
      return streamStarted
    },
    adoptRequestId: () => {},
    addHeaders: () => {},
    abort: () => abort.abort(ended),
    readBody: () => Promise.resolve([Buffer.from(options.body)]),
    async *bodyPieces() {
      yield Buffer.from(options.body)
    },
    send(status, _headers, body) {
      if (!isOpen) return Promise.resolve()
      send(() => arrivals.onHead(status))
      send(() => arrivals.onText(String(body)))
      finish()
      return Promise.resolve()
    },
    startStream() {
      streamStarted = true
      if (isOpen) send(() => arrivals.onHead(200))
    },
    write(piece) {
      if (!isOpen) return undefined
      send(() => arrivals.onText(String(piece)))
      if (pieces.length <= unreadMax) return undefined
      const cancel = life.clock.after(stalledReaderMs, giveUp)
      room ??= Promise.withResolvers()
      return room.promise.then(cancel)
    },
    endStream() {
      if (isOpen) finish()
    },
  }

  return {
    exchange,
    leave() {
      if (!isOpen) return
      isOpen = false
      if (isFinished) return
      loop.after(random.exponential(options.latencyMs), () => {
        if (life.isOver || isFinished) return
        clientLeft = true
        makeRoom()
        abort.abort(ended)
      })
    },
    cut(delivers) {
      if (!isOpen) return
      if (!delivers) {
        isOpen = false
        loop.after(random.exponential(options.latencyMs), arrivals.onCut)
      } else if (!isFinished) {
        send(() => {
          isOpen = false
          arrivals.onCut()
        })
      }
    },
    close: cancelTotal,
  }
}
