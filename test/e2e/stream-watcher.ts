/**
 * A well-behaved client on a thread of its own, so that the attacks of the test do not delay its clock: it reads one steady stream after
 * the other, and answers each message from the test with the longest silence since the message before.
 */
import { request } from 'node:http'
import { parentPort, workerData } from 'node:worker_threads'

/** What the thread is started with. */
export interface WatcherOptions {
  readonly url: string
  readonly apiKey: string
  readonly model: string
}

export interface WatcherReport {
  readonly longestSilenceMs: number
  readonly events: number
  /** Answers that were no stream, or ended without `[DONE]`. */
  readonly broken: number
}

// Handed over by the test that starts this thread.
const options = workerData as WatcherOptions
const tokensOfOneStream = 600

let lastEventMs = performance.now()
let longestSilenceMs = 0
let events = 0
let broken = 0

function heard(): void {
  const nowMs = performance.now()
  longestSilenceMs = Math.max(longestSilenceMs, nowMs - lastEventMs)
  lastEventMs = nowMs
  events += 1
}

function watch(): void {
  const body = JSON.stringify({
    model: options.model,
    stream: true,
    max_completion_tokens: tokensOfOneStream,
    messages: [{ role: 'user', content: 'tick' }],
  })
  const call = request(`${options.url}/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${options.apiKey}`,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    },
  })
  call.on('response', (response) => {
    let tail = ''
    if (response.statusCode !== 200) broken += 1
    response.on('data', (chunk: Buffer) => {
      heard()
      tail = (tail + chunk.toString('latin1')).slice(-20)
    })
    response.on('close', () => {
      if (!tail.includes('[DONE]')) broken += 1
      watch()
    })
  })
  call.on('error', () => {
    broken += 1
    setTimeout(watch, 200)
  })
  call.end(body)
}

parentPort?.on('message', () => {
  longestSilenceMs = Math.max(longestSilenceMs, performance.now() - lastEventMs)
  const report: WatcherReport = { longestSilenceMs, events, broken }
  parentPort?.postMessage(report)
  longestSilenceMs = 0
  events = 0
  broken = 0
})
watch()
