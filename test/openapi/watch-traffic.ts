/**
 * Listens to every `fetch` of this process that goes to one origin, from the outside: neither the client nor the gateway notices. Node's client tells
 * of each request and of each piece that goes and comes (`undici:request:*` of node:diagnostics_channel).
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { ObservedExchange } from './exchange.ts'

interface Told {
  readonly request: {
    readonly origin: string
    readonly method: string
    readonly path: string
    readonly headers: string | readonly string[]
  }
  readonly chunk?: Uint8Array | string
  readonly response?: { readonly statusCode: number; readonly headers: readonly Buffer[] }
}

interface Heard {
  readonly requestPieces: Buffer[]
  readonly pieces: Buffer[]
  response?: Told['response']
}

export interface TrafficWatch {
  /** Tells of what is still open, and listens no longer. */
  stop(): void
}

export function watchTraffic(
  origin: string,
  tell: (exchange: ObservedExchange) => void,
): TrafficWatch {
  const open = new Map<Told['request'], Heard>()

  const finish = (request: Told['request'], isWhole: boolean): void => {
    const heard = open.get(request)
    open.delete(request)
    if (!heard?.response) return
    tell({
      method: request.method,
      path: request.path,
      requestHeaders: pairsToRecord(toPairs(request.headers)),
      requestBody: Buffer.concat(heard.requestPieces),
      status: heard.response.statusCode,
      headers: pairsToRecord(heard.response.headers.map(String)),
      body: Buffer.concat(heard.pieces),
      isWhole,
    })
  }

  const listeners: Readonly<Record<string, (told: Told) => void>> = {
    create({ request }) {
      if (String(request.origin) === origin) open.set(request, { requestPieces: [], pieces: [] })
    },
    bodyChunkSent({ request, chunk }) {
      if (chunk !== undefined) open.get(request)?.requestPieces.push(Buffer.from(chunk))
    },
    headers({ request, response }) {
      const heard = open.get(request)
      if (heard) heard.response = response
    },
    bodyChunkReceived({ request, chunk }) {
      if (chunk !== undefined) open.get(request)?.pieces.push(Buffer.from(chunk))
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
