/** Mixed load, streamed and not, that remembers for each request exactly what its client saw. */
import { Agent, request } from 'node:http'

export interface Seen {
  /** `undefined` when the response's head never came. */
  readonly requestId: string | undefined
  readonly status: number | undefined
  readonly streamed: boolean
  /** The terminal marker: `[DONE]` of a stream, or the last byte of a JSON body. */
  readonly completed: boolean
  readonly outputTokensClaimed: number | undefined
}

export interface Load {
  /** Lets the requests under way end, and returns all that were made. */
  stop(): Promise<readonly Seen[]>
}

const pauseAfterFailureMs = 200
const tokensMax = 240

export function startLoad(options: {
  readonly apiUrl: string
  readonly apiKey: string
  readonly model: string
  readonly clients: number
  readonly random: () => number
}): Load {
  const agent = new Agent({ keepAlive: true, maxSockets: options.clients })
  const seen: Seen[] = []
  let running = true
  const client = async (): Promise<void> => {
    while (running) {
      const streamed = options.random() < 0.6
      const tokens = 1 + Math.floor(options.random() * tokensMax)
      const result = await call({ ...options, agent, streamed, tokens })
      seen.push(result)
      if (!result.completed)
        await new Promise((resolve) => setTimeout(resolve, pauseAfterFailureMs))
    }
  }
  const clients = Array.from({ length: options.clients }, client)
  return {
    async stop() {
      running = false
      await Promise.all(clients)
      agent.destroy()
      return seen
    },
  }
}

function call(options: {
  readonly apiUrl: string
  readonly apiKey: string
  readonly model: string
  readonly agent: Agent
  readonly streamed: boolean
  readonly tokens: number
}): Promise<Seen> {
  const body = JSON.stringify({
    model: options.model,
    stream: options.streamed,
    ...(options.streamed ? { stream_options: { include_usage: true } } : {}),
    max_completion_tokens: options.tokens,
    messages: [{ role: 'user', content: 'Tick, please, as often as you may.' }],
  })
  return new Promise((resolve) => {
    let status: number | undefined
    let requestId: string | undefined
    let text = ''
    const finish = (whole: boolean): void => {
      const completed = whole && status === 200 && isComplete(text, options.streamed)
      resolve({
        requestId,
        status,
        streamed: options.streamed,
        completed,
        outputTokensClaimed: completed ? claimedTokens(text) : undefined,
      })
    }
    const outgoing = request(`${options.apiUrl}/chat/completions`, {
      method: 'POST',
      agent: options.agent,
      headers: {
        authorization: `Bearer ${options.apiKey}`,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      },
    })
    outgoing.on('response', (response) => {
      status = response.statusCode
      requestId = String(response.headers['x-request-id'] ?? '') || undefined
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString('utf8')
      })
      // The marker alone decides: a stream that was cut right behind `[DONE]` was seen to its end.
      response.on('end', () => finish(true))
      response.on('error', () => finish(options.streamed))
      response.on('close', () => finish(options.streamed))
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
