/** What the bench asks of each proxy that it measures. One file a proxy; bench/peers/list.ts names them all. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cores } from '../process.ts'

export interface Peer {
  readonly name: string
  /** How many streams it is measured with; more than it manages would measure its queue. */
  readonly streamsMax: number
  /** Puts what is missing into the cache folder, or throws with what the user has to do. */
  install(cacheDirectory: string): Promise<void>
  start(options: PeerOptions): Promise<RunningPeer>
}

export interface PeerOptions {
  /** Of the mock engine, without `/v1`. */
  readonly mockUrl: string
  readonly port: number
  /** Helper processes of the proxy belong to the load's core. */
  readonly cores: Cores
  readonly cacheDirectory: string
  /** Empty; removed afterwards. */
  readonly workDirectory: string
}

export interface RunningPeer {
  /** Without `/v1`. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** A key in each line, of which requests take one each instead of that of the headers. */
  readonly keysFile?: string | undefined
  readonly model: string
  readonly version: string
  /** The processes that carry the request: their CPU and memory count. */
  readonly pids: () => readonly number[]
  /** What else it keeps running (database, control plane), reported by itself. */
  readonly otherPids: () => readonly number[]
  readonly stop: () => Promise<void>
}

const probeTimeoutMs = 2_000
const probeEveryMs = 200

/** Resolves when a chat request is answered as it should be. */
export async function answers(
  peer: Pick<RunningPeer, 'url' | 'headers' | 'model'>,
  timeoutMs: number,
  diagnosis: () => string,
): Promise<void> {
  const untilMs = performance.now() + timeoutMs
  let last = 'no answer'
  while (performance.now() < untilMs) {
    try {
      const response = await fetch(`${peer.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...peer.headers },
        body: JSON.stringify({
          model: peer.model,
          max_tokens: 2,
          messages: [{ role: 'user', content: 'Hello' }],
        }),
        signal: AbortSignal.timeout(probeTimeoutMs),
      })
      const text = await response.text()
      if (response.ok && text.includes('chat.completion')) return
      last = `${response.status} ${text.slice(0, 300)}`
    } catch (error) {
      last = error instanceof Error ? error.message : String(error)
    }
    await sleep(probeEveryMs)
  }
  throw new Error(`it did not answer within ${timeoutMs} ms: ${last}\n${diagnosis()}`)
}
