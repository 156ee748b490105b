/** Mixed load at a steady rate, streamed and not, that remembers for each request exactly what its client saw. */
import { Agent, request } from 'node:http'

export interface Seen {
  /** `undefined` when the response's head never came. */
  readonly requestId: string | undefined
  readonly status: number | undefined
  readonly streamed: boolean
  /** The terminal marker: `[DONE]` of a stream, or the last byte of a JSON body. */
  readonly completed: boolean
  readonly outputTokensClaimed: number | undefined
  /** The client itself went away in the middle. */
  readonly left: boolean
  /** On this process's monotonic clock. */
  readonly startedMs: number
}

export interface LoadShape {
  readonly ratePerSecond: number
  /** No more at once: what a client waits for is not asked for again. */
  readonly inFlightMax: number
  readonly tokensMax: number
  /** Of the streams, how many are left by their client in the middle. */
  readonly leavingShare: number
}

export interface Load {
  /** Those that have ended so far. */
  readonly seen: readonly Seen[]
  /** Lets the requests under way end, and returns all that were made. */
  stop(): Promise<readonly Seen[]>
}

export interface LoadOptions extends Partial<LoadShape> {
  readonly apiUrl: string
  readonly apiKey: string
  readonly model: string
  readonly random: () => number
}

const usualShape: LoadShape = {
  ratePerSecond: 50,
  inFlightMax: 128,
  tokensMax: 40,
  leavingShare: 0.03,
}
const streamedShare = 0.6
const tickMs = 10
/** Requests that are late by more than this are not made up for: the platform was away. */
const arrearsMax = 10
/** Of the connections, how many are given up after a request: so that a gateway that comes back gets some, too. */
const closingShare = 0.1
const callTimeoutMs = 60_000

interface Call {
  readonly streamed: boolean
  readonly closes: boolean
  readonly tokens: number
  /** The client leaves after so many bytes. */
  readonly leavesAfterBytes: number | undefined
}

export function startLoad(options: LoadOptions): Load {
  const shape = { ...usualShape, ...options }
  const { random } = options
  const agent = new Agent({ keepAlive: true, maxSockets: shape.inFlightMax })
  const seen: Seen[] = []
  const underWay = new Set<Promise<void>>()
  let due = 0
  let lastMs = performance.now()

  const fire = (): void => {
    const streamed = random() < streamedShare
    const tokens = 1 + Math.floor(random() * shape.tokensMax)
    const leaves = streamed && random() < shape.leavingShare
    const leavesAfterBytes = leaves ? Math.floor(random() * tokens * 100) : undefined
    const closes = random() < closingShare
    const one = { streamed, closes, tokens, leavesAfterBytes }
    const running = call(one, { ...options, agent }).then((result) => {
      seen.push(result)
      underWay.delete(running)
    })
    underWay.add(running)
  }
  const timer = setInterval(() => {
    const nowMs = performance.now()
    due = Math.min(due + ((nowMs - lastMs) * shape.ratePerSecond) / 1_000, arrearsMax)
    lastMs = nowMs
    for (; due >= 1 && underWay.size < shape.inFlightMax; due -= 1) fire()
  }, tickMs)

  return {
    seen,
    async stop() {
      clearInterval(timer)
      await Promise.all(underWay)
      agent.destroy()
      return seen
    },
  }
}

function call(
  { streamed, closes, tokens, leavesAfterBytes }: Call,
  options: LoadOptions & { readonly agent: Agent },
): Promise<Seen> {
  const body = JSON.stringify({
    model: options.model,
    stream: streamed,
    ...(streamed ? { stream_options: { include_usage: true } } : {}),
    max_completion_tokens: tokens,
    messages: [{ role: 'user', content: 'Tick, please, as often as you may.' }],
  })
  const startedMs = performance.now()
  return new Promise((resolve) => {
    let status: number | undefined
    let requestId: string | undefined
    let left = false
    let text = ''
    const outgoing = request(`${options.apiUrl}/chat/completions`, {
      method: 'POST',
      agent: options.agent,
      timeout: callTimeoutMs,
      headers: {
        authorization: `Bearer ${options.apiKey}`,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        ...(closes ? { connection: 'close' } : {}),
      },
    })
    const finish = (whole: boolean): void => {
      const completed = whole && status === 200 && isComplete(text, streamed)
      const outputTokensClaimed = completed ? claimedTokens(text) : undefined
      resolve({ requestId, status, streamed, completed, outputTokensClaimed, left, startedMs })
    }
    const leave = (): void => {
      left = true
      outgoing.destroy()
    }
    outgoing.on('timeout', leave)
    outgoing.on('response', (response) => {
      status = response.statusCode
      requestId = String(response.headers['x-request-id'] ?? '') || undefined
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString('utf8')
        if (leavesAfterBytes !== undefined && text.length > leavesAfterBytes) leave()
      })
      // The marker alone decides: a stream that was cut right behind `[DONE]` was seen to its end.
      response.on('end', () => finish(true))
      response.on('error', () => finish(streamed))
      response.on('close', () => finish(streamed))
    })
    outgoing.on('error', () => finish(false))
    outgoing.end(body)
  })
}

function isComplete(text: string, streamed: boolean): boolean {
  if (streamed) return /(?:^|\n)data: \[DONE\]\n/.test(text)
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function claimedTokens(text: string): number | undefined {
  const found = [...text.matchAll(/"completion_tokens":(\d+)/g)].at(-1)?.[1]
  return found === undefined ? undefined : Number(found)
}
