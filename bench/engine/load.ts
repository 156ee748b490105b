/** One burst of streamed chat requests, and what their clients saw. */
import { Agent, request } from 'node:http'

const requestTimeoutMs = 300_000

export interface BurstOptions {
  readonly port: number
  readonly streams: number
  readonly answerTokens: number
  /** Makes prompts differ between bursts, so that no cache answers for the engine. */
  readonly salt: string
  /** The processor time that the engine has spent so far. */
  readonly engineCpuMs: () => number
}

export interface Burst {
  readonly tokensPerSecond: number
  readonly firstTokenMs: readonly number[]
  /** What the engine worked until each first token: the time that a machine without other work would have taken. */
  readonly firstTokenCpuMs: readonly number[]
  readonly cpuMsPerToken: number
  readonly promptTokens: number
}

export async function runBurst(options: BurstOptions): Promise<Burst> {
  const agent = new Agent({ keepAlive: false })
  const startedMs = performance.now()
  const cpuBeforeMs = options.engineCpuMs()
  const answers = await Promise.all(
    Array.from({ length: options.streams }, (_, index) => askOne(agent, options, index)),
  )
  const seconds = (performance.now() - startedMs) / 1_000
  for (const answer of answers) {
    if (answer.completionTokens !== options.answerTokens) {
      throw new Error(`an answer has ${answer.completionTokens} tokens`)
    }
  }
  return {
    tokensPerSecond: (options.streams * options.answerTokens) / seconds,
    firstTokenMs: answers.map((answer) => answer.firstTokenMs),
    firstTokenCpuMs: answers.map((answer) => answer.firstTokenCpuMs - cpuBeforeMs),
    cpuMsPerToken: (options.engineCpuMs() - cpuBeforeMs) / (options.streams * options.answerTokens),
    promptTokens: answers[0]?.promptTokens ?? 0,
  }
}

interface Answer {
  readonly firstTokenMs: number
  readonly firstTokenCpuMs: number
  readonly completionTokens: number
  readonly promptTokens: number
}

function askOne(agent: Agent, options: BurstOptions, index: number): Promise<Answer> {
  const body = JSON.stringify({
    messages: [
      { role: 'system', content: 'You are a helpful assistant.' },
      {
        role: 'user',
        content: `${options.salt}-${index}: write a long story about a lighthouse keeper, a storm and a lost ship.`,
      },
    ],
    temperature: 0,
    max_tokens: options.answerTokens,
    ignore_eos: true,
    stream: true,
    stream_options: { include_usage: true },
  })
  return new Promise((resolve, reject) => {
    const startedMs = performance.now()
    let firstTokenMs: number | undefined
    let firstTokenCpuMs = 0
    let text = ''
    const call = request(
      {
        agent,
        host: '127.0.0.1',
        port: options.port,
        method: 'POST',
        path: '/v1/chat/completions',
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
        timeout: requestTimeoutMs,
      },
      (response) => {
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          text += chunk
          if (firstTokenMs === undefined && /"content":"[^"]/.test(text)) {
            firstTokenMs = performance.now() - startedMs
            firstTokenCpuMs = options.engineCpuMs()
          }
        })
        response.on('end', () => {
          const completion = /"completion_tokens":(\d+)/g
          const last = [...text.matchAll(completion)].at(-1)?.[1]
          const prompt = /"prompt_tokens":(\d+)/.exec(text)?.[1]
          if (firstTokenMs === undefined || last === undefined) {
            reject(new Error(`an answer without tokens, status ${response.statusCode}`))
            return
          }
          resolve({
            firstTokenMs,
            firstTokenCpuMs,
            completionTokens: Number(last),
            promptTokens: Number(prompt ?? 0),
          })
        })
      },
    )
    call.on('error', reject)
    call.on('timeout', () => call.destroy(new Error('an answer took too long')))
    call.end(body)
  })
}
