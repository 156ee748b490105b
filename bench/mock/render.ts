/** The bytes of an answer, rendered ahead where they do not change: the mock must cost a fraction of what the proxies do. Pure. */
import { hugeEventBytes, type Behaviour } from './behaviour.ts'

export interface Answer {
  readonly id: string
  readonly model: string
  readonly behaviour: Behaviour
  readonly promptTokens: number
  readonly tokens: number
  /** Taken in turn, since some proxies take equal tokens for a broken model. ASCII without quotes or backslashes. */
  readonly tokenTexts: readonly [string, string]
  readonly toolName: string
  /** The answer ends because it reached the limit that the request set. */
  readonly limited: boolean
  readonly includeUsage: boolean
  readonly continuousUsage: boolean
}

export interface StreamRenderer {
  readonly role: string
  /** The n-th token, from 1. */
  token(n: number): string
  readonly finish: string
  /** Empty when no usage is told. */
  usage(tokens: number): string
}

export const done = frame('[DONE]')
/** The end of a body in chunked transfer encoding. */
export const lastChunk = '0\r\n\r\n'
export const garbage = frame('{"choices":[{"delta":{"content":"\xff\xfe\x00')
export const hugeEvent = frame('x'.repeat(hugeEventBytes))

/** One SSE event as one chunk of a chunked body. The data is latin1: one character is one byte. */
function frame(data: string): string {
  return `${(data.length + 8).toString(16)}\r\ndata: ${data}\n\n\r\n`
}

export function streamRenderer(answer: Answer): StreamRenderer {
  const head = `{"id":"${answer.id}","object":"chat.completion.chunk","created":1750000000,"model":"${answer.model}",`
  const chunk = (delta: string, finish: string, usage: string): string =>
    frame(`${head}"choices":[{"index":0,"delta":${delta},"finish_reason":${finish}}]${usage}}`)
  const running = answer.continuousUsage || answer.behaviour.usage === 'decreasing'
  const runningUsage = (n: number): string => {
    const usage = running ? usageJson(answer, n) : undefined
    return usage === undefined ? '' : `,"usage":${usage}`
  }
  const plain = new Map<string, string>()
  return {
    role: chunk('{"role":"assistant","content":""}', 'null', runningUsage(0)),
    token(n) {
      const delta = tokenDelta(answer, n)
      if (running) return chunk(delta, 'null', runningUsage(n))
      let rendered = plain.get(delta)
      if (rendered === undefined) plain.set(delta, (rendered = chunk(delta, 'null', '')))
      return rendered
    },
    finish: chunk('{}', `"${finishReason(answer)}"`, runningUsage(answer.tokens)),
    usage(tokens) {
      const usage = answer.includeUsage ? usageJson(answer, tokens) : undefined
      return usage === undefined ? '' : frame(`${head}"choices":[],"usage":${usage}}`)
    },
  }
}

export function wholeAnswer(answer: Answer): string {
  const usage = usageJson(answer, answer.tokens)
  const finish = answer.behaviour.accident === 'close' ? 'null' : `"${finishReason(answer)}"`
  return (
    `{"id":"${answer.id}","object":"chat.completion","created":1750000000,"model":"${answer.model}",` +
    `"choices":[{"index":0,"message":${wholeMessage(answer)},"finish_reason":${finish}}]` +
    `${usage === undefined ? '' : `,"usage":${usage}`}}`
  )
}

function wholeMessage(answer: Answer): string {
  const { behaviour, tokens } = answer
  if (behaviour.kind === 'tools') {
    const pieces = Array.from({ length: tokens - 1 }, (_, at) => toolArguments(answer, at + 2))
    const call = `{"id":"call_${answer.id}","type":"function","function":{"name":"${answer.toolName}","arguments":"${pieces.join('')}"}}`
    return `{"role":"assistant","content":null,"tool_calls":[${call}]}`
  }
  if (behaviour.kind === 'reasoning') {
    const thought = textOf(answer, 1, reasoningTokens(answer, tokens))
    const said = textOf(answer, reasoningTokens(answer, tokens) + 1, tokens)
    return `{"role":"assistant","reasoning_content":"${thought}","content":"${said}"}`
  }
  return `{"role":"assistant","content":"${textOf(answer, 1, tokens)}"}`
}

/** The tokens from the first to the last, both included. */
function textOf(answer: Answer, first: number, last: number): string {
  let text = ''
  for (let n = first; n <= last; n += 1) text += tokenText(answer, n)
  return text
}

function tokenText(answer: Answer, n: number): string {
  return answer.tokenTexts[n % 2 === 1 ? 0 : 1]
}

function tokenDelta(answer: Answer, n: number): string {
  if (answer.behaviour.kind === 'reasoning' && n <= reasoningTokens(answer, answer.tokens)) {
    return `{"reasoning_content":"${tokenText(answer, n)}"}`
  }
  if (answer.behaviour.kind !== 'tools') return `{"content":"${tokenText(answer, n)}"}`
  const started = `"id":"call_${answer.id}","type":"function","function":{"name":"${answer.toolName}","arguments":""}`
  const more = `"function":{"arguments":"${toolArguments(answer, n)}"}`
  return `{"tool_calls":[{"index":0,${n === 1 ? started : more}}]}`
}

/** Together, from the second token on, `{"query":"…"}` (escaped for JSON within JSON), if the answer is long enough. */
function toolArguments(answer: Answer, n: number): string {
  if (n === 2) return '{\\"query\\":\\"'
  return n === answer.tokens ? '\\"}' : tokenText(answer, n)
}

function finishReason(answer: Answer): string {
  if (answer.limited) return 'length'
  return answer.behaviour.kind === 'tools' ? 'tool_calls' : 'stop'
}

function reasoningTokens(answer: Answer, tokens: number): number {
  return answer.behaviour.kind === 'reasoning' ? Math.min(tokens, answer.tokens >> 1) : 0
}

function usageJson(answer: Answer, tokens: number): string | undefined {
  const told = toldTokens(answer, tokens)
  if (told === undefined) return undefined
  const reasoning = reasoningTokens(answer, tokens)
  const details =
    reasoning === 0 ? '' : `,"completion_tokens_details":{"reasoning_tokens":${reasoning}}`
  return (
    `{"prompt_tokens":${answer.promptTokens},"completion_tokens":${told},` +
    `"total_tokens":${answer.promptTokens + told}${details}}`
  )
}

function toldTokens(answer: Answer, tokens: number): number | undefined {
  const lie = answer.behaviour.usage
  if (lie === 'missing') return undefined
  if (lie === 'negative') return -tokens - 1
  if (lie === 'huge') return 1e12
  if (lie === 'decreasing') return Math.max(0, answer.tokens - tokens)
  return tokens
}
