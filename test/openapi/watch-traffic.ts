/**
 * Listens to every `fetch` of this process that a gateway answers, from the outside: neither the client nor the gateway notices. Node's client tells
 * of each request and of each piece that goes and comes (`undici:request:*` of node:diagnostics_channel).
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { ObservedExchange } from './exchange.ts'

interface Told {
  readonly request: {
    readonly method: string
    readonly path: string
    readonly headers: string | readonly string[]
  }
  readonly chunk?: Uint8Array | string
  readonly response?: { readonly statusCode: number; readonly headers: readonly Buffer[] }
}

/** Larger exchanges are passed over, so that tests of large bodies keep their memory. */
const bytesMax = 4 * 1024 * 1024

interface Heard {
  readonly requestPieces: Buffer[]
  readonly pieces: Buffer[]
  bytes: number
  response?: Told['response']
}

export interface TrafficWatch {
  /** Tells of what is still open, and listens no longer. */
  stop(): void
}

export function watchTraffic(tell: (exchange: ObservedExchange) => void): TrafficWatch {
  const open = new Map<Told['request'], Heard>()

  const finish = (request: Told['request'], isWhole: boolean): void => {
    const heard = open.get(request)
    open.delete(request)
    if (!heard?.response || heard.bytes > bytesMax) return
    const headers = pairsToRecord(heard.response.headers.map(String))
    if (!isFromGateway(headers)) return
    tell({
      method: request.method,
      path: request.path,
      requestHeaders: pairsToRecord(toPairs(request.headers)),
      requestBody: Buffer.concat(heard.requestPieces),
      status: heard.response.statusCode,
      headers,
      body: Buffer.concat(heard.pieces),
      isWhole,
    })
  }

  const keep = (heard: Heard | undefined, pieces: Buffer[] | undefined, { chunk }: Told): void => {
    if (!heard || chunk === undefined) return
    const piece = Buffer.from(chunk)
    heard.bytes += piece.length
    if (heard.bytes <= bytesMax) pieces?.push(piece)
  }

  const listeners: Readonly<Record<string, (told: Told) => void>> = {
    create: ({ request }) => void open.set(request, { requestPieces: [], pieces: [], bytes: 0 }),
    bodyChunkSent(told) {
      const heard = open.get(told.request)
      keep(heard, heard?.requestPieces, told)
    },
    headers({ request, response }) {
      const heard = open.get(request)
      if (heard) heard.response = response
    },
    bodyChunkReceived(told) {
      const heard = open.get(told.request)
      keep(heard, heard?.pieces, told)
    },
    trailers: ({ request }) => finish(request, true),
    error: ({ request }) => finish(request, false),
  }
  const subscriptions = Object.entries(listeners).map(([name, listener]) => {
    const channel = `undici:request:${name}`
    const onMessage = (message: unknown): void => listener(message as Told)
    subscribe(channel, onMessage)
    return { channel, onMessage }
  })

  return {
    stop() {
      for (const request of open.keys()) finish(request, false)
      for (const { channel, onMessage } of subscriptions) unsubscribe(channel, onMessage)
    },
  }
}

/** Engines that stand in for others send other headers. */
function isFromGateway(headers: Readonly<Record<string, string>>): boolean {
  return 'openai-version' in headers && 'request-id' in headers && 'x-request-id' in headers
}

/** undici keeps a request's headers as a list, or as the text that goes over the wire. */
function toPairs(headers: string | readonly string[]): readonly string[] {
  if (typeof headers !== 'string') return headers
  return headers
    .split('\r\n')
    .filter((line) => line !== '')
    .flatMap((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()])
}

function pairsToRecord(pairs: readonly string[]): Readonly<Record<string, string>> {
  const record: Record<string, string> = {}
  for (let index = 0; index + 1 < pairs.length; index += 2)
    record[(pairs[index] ?? '').toLowerCase()] = pairs[index + 1] ?? ''
  return record
}
