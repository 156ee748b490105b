/** The API as a client reaches it: plain HTTP and server-sent events, with nothing of the program that is checked. */
import { createParser } from 'eventsource-parser'
import { Agent, request as sendRequest, type Dispatcher } from 'undici'
import type { Clock } from '../platform/clock.ts'
import { sleep } from '../platform/clock.ts'
import { fail, type Api, type ApiAnswer, type ApiRequest, type StreamedAnswer } from './check.ts'
import type { TimedApi } from './suite.ts'

export interface ApiTarget {
  /** The base URL, with `/v1`. */
  readonly url: string
  readonly key: string
  readonly clock: Clock
}

const connectTimeoutMs = 5_000
const answerBytesMax = 32 * 1024 * 1024
const eventsMax = 100_000
/** As SDKs do: who is told to wait for a while waits, a few times. */
const retriesMax = 3
const retryAfterMsMax = 20_000

export type ConnectedApi = TimedApi & { close(): Promise<void> }

export function connectApi({ url, key, clock }: ApiTarget): ConnectedApi {
  const agent = new Agent({ connect: { timeout: connectTimeoutMs }, connections: 4 })
  const base = url.replace(/\/+$/, '')

  const open = async (wish: ApiRequest, signal: AbortSignal): Promise<Dispatcher.ResponseData> => {
    const method = wish.method ?? 'POST'
    const send = () =>
      sendRequest(`${base}${wish.path}`, {
        dispatcher: agent,
        method,
        headers: {
          authorization: `Bearer ${key}`,
          ...(wish.body !== undefined && { 'content-type': 'application/json' }),
          ...wish.headers,
        },
        body: typeof wish.body === 'object' ? JSON.stringify(wish.body) : (wish.body ?? null),
        signal,
        headersTimeout: 0,
        bodyTimeout: 0,
      })
    for (let retries = 0; ; retries += 1) {
      const response = await send()
      const waitMs = waitOf(response)
      if (waitMs === undefined || retries === retriesMax) return response
      await response.body.dump()
      await sleep(clock, waitMs)
      signal.throwIfAborted()
    }
  }

  const timed = (signal: AbortSignal): Api => ({
    async send(wish) {
      const beganMs = clock.monotonicMs()
      const response = await open(wish, signal)
      const body = parseJson(await readText(response.body))
      return { ...headOf(response), body, durationMs: clock.monotonicMs() - beganMs }
    },
    async stream(wish, leaveAfterEvents) {
      const beganMs = clock.monotonicMs()
      const leaving = new AbortController()
      const response = await open(wish, AbortSignal.any([signal, leaving.signal]))
      const sinceMs = (): number => clock.monotonicMs() - beganMs
      if (!isEventStream(response)) {
        const body = parseJson(await readText(response.body))
        const nothing = { events: [], isUtf8: true, isComplete: true }
        return { ...headOf(response), body, durationMs: sinceMs(), ...nothing }
      }
      const read = await readEvents(response.body, sinceMs, leaveAfterEvents)
      leaving.abort()
      if (!read.isComplete && leaveAfterEvents === undefined) signal.throwIfAborted()
      return { ...headOf(response), ...read, body: undefined, durationMs: sinceMs() }
    },
  })

  return {
    monotonicMs: () => clock.monotonicMs(),
    async within(limitMs, run) {
      const over = new AbortController()
      const cancel = clock.after(limitMs, () => over.abort())
      try {
        return await run(timed(over.signal))
      } catch (error) {
        if (over.signal.aborted) fail(`took longer than ${Math.ceil(limitMs / 1_000)} s`)
        const code = networkCode(error)
        if (code !== undefined) fail(`the connection failed (${code})`)
        throw error
      } finally {
        cancel()
      }
    },
    close: () => agent.destroy(),
  }
}

/** `undefined` for an answer that stands. */
function waitOf({ statusCode, headers }: Dispatcher.ResponseData): number | undefined {
  if (statusCode !== 429 && statusCode !== 503) return undefined
  if (headers['x-should-retry'] === 'false') return undefined
  const ms = Number(headers['retry-after-ms'] ?? Number(headers['retry-after']) * 1_000)
  return ms >= 0 && ms <= retryAfterMsMax ? ms : undefined
}

function headOf({
  statusCode,
  headers,
}: Dispatcher.ResponseData): Pick<ApiAnswer, 'status' | 'headers'> {
  const flat = Object.entries(headers).map(([name, value]) => [name, String(value)])
  return { status: statusCode, headers: Object.fromEntries(flat) }
}

function isEventStream({ statusCode, headers }: Dispatcher.ResponseData): boolean {
  return statusCode === 200 && String(headers['content-type']).startsWith('text/event-stream')
}

async function readText(body: AsyncIterable<Buffer>): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of body) {
    bytes += piece.length
    if (bytes > answerBytesMax) fail(`the answer is larger than ${answerBytesMax} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString()
}

async function readEvents(
  body: AsyncIterable<Buffer>,
  sinceMs: () => number,
  leaveAfterEvents = Number.POSITIVE_INFINITY,
): Promise<Pick<StreamedAnswer, 'events' | 'isUtf8' | 'isComplete'>> {
  const events: StreamedAnswer['events'][number][] = []
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const parser = createParser({
    onEvent: ({ event, data }) => events.push({ name: event, data, atMs: sinceMs() }),
  })
  let isUtf8 = true
  try {
    for await (const piece of body) {
      const text = decode(decoder, piece)
      isUtf8 &&= text !== undefined
      parser.feed(text ?? piece.toString())
      if (events.length > eventsMax) fail(`the stream has more than ${eventsMax} events`)
      if (events.length >= leaveAfterEvents) return { events, isUtf8, isComplete: false }
    }
    isUtf8 &&= decode(decoder) !== undefined
    return { events, isUtf8, isComplete: true }
  } catch (error) {
    // Broken off: what has come is judged.
    if (networkCode(error) === undefined) throw error
    return { events, isUtf8, isComplete: false }
  }
}

/** The characters that are whole by now; without a piece, the end. `undefined` for bytes that are no character. */
function decode(decoder: TextDecoder, piece?: Buffer): string | undefined {
  try {
    return decoder.decode(piece, { stream: piece !== undefined })
  } catch {
    return undefined
  }
}

/** `undefined` for what is no JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The code of a failed connection, such as `ECONNREFUSED`; `undefined` for any other error. */
function networkCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return error.name
  if ('code' in error && typeof error.code === 'string') return error.code
  return undefined
}
