/** Gives a chat answer at its pace, streamed or whole, and has the accident that the model is for. */
import type { ServerResponse } from 'node:http'
import { done, garbage, hugeEvent, lastChunk, streamRenderer, wholeAnswer } from './render.ts'
import type { Answer } from './render.ts'
import { truthEveryTokens, type Truth, type TruthLine } from './truth.ts'

export interface Pace {
  readonly firstTokenMs: number
  /** Tokens each second of a stream; 0 for as fast as possible. */
  readonly tokenRate: number
}

export interface Counts {
  streams: number
  openStreams: number
  /** `data:` lines written, [DONE] and roles included. */
  events: number
  tokens: number
  finished: number
  aborted: number
}

export interface Chat {
  readonly requestId: string
  readonly answer: Answer
  readonly pace: Pace
  readonly response: ServerResponse
  readonly truth: Truth
  readonly counts: Counts
}

/** Tokens written before other streams get their turn. */
const tokensPerTurn = 64

export function stream(chat: Chat): void {
  const { response, answer, counts } = chat
  const rendered = streamRenderer(answer)
  const record = recorder(chat, true)
  const accidentAt = accidentToken(answer)
  let sent = 0
  let startedMs = 0
  let timer: NodeJS.Timeout | undefined
  let over = false

  counts.streams += 1
  counts.openStreams += 1
  record(0, 'open')
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    'transfer-encoding': 'chunked',
  })
  response.flushHeaders()
  // The chunks are framed ahead of time; Node would frame each of them again.
  response.chunkedEncoding = false
  response.once('close', () => end('aborted'))
  wait(chat.pace.firstTokenMs, begin)

  function wait(ms: number, next: () => void): void {
    if (ms > 0) timer = setTimeout(next, ms)
    else next()
  }
  function begin(): void {
    write(rendered.role)
    startedMs = performance.now()
    const { tokenRate } = chat.pace
    if (tokenRate > 0) timer = setInterval(() => give(owed(tokenRate)), 1_000 / tokenRate)
    else turn()
  }
  function write(event: string): void {
    counts.events += 1
    response.write(event, 'latin1')
  }
  function owed(tokenRate: number): number {
    return Math.floor(((performance.now() - startedMs) * tokenRate) / 1_000 + 0.5) - sent
  }
  /** As fast as the reader reads. */
  function turn(): void {
    if (over) return
    give(tokensPerTurn)
    if (over) return
    if (response.writableNeedDrain) response.once('drain', turn)
    else setImmediate(turn)
  }
  function give(count: number): void {
    for (let n = 0; n < count && sent < answer.tokens && sent < accidentAt; n += 1) {
      // A slow reader gets what it is owed when it reads again.
      if (response.writableNeedDrain) break
      sent += 1
      counts.tokens += 1
      write(rendered.token(sent))
      if (sent % truthEveryTokens === 0) record(sent, 'open')
    }
    if (sent >= accidentAt) haveAccident()
    else if (sent >= answer.tokens) finish()
  }
  function finish(): void {
    write(rendered.finish)
    const usage = rendered.usage(sent)
    if (usage !== '') write(usage)
    counts.events += 1
    response.end(done + lastChunk, 'latin1')
    end('finished')
  }
  function haveAccident(): void {
    clearInterval(timer)
    const { accident } = answer.behaviour
    if (accident === 'garbage') write(garbage)
    if (accident === 'huge-event') write(hugeEvent)
    if (accident === 'reset') response.socket?.resetAndDestroy()
    else if (accident !== 'stall') response.end(lastChunk, 'latin1')
    if (accident !== 'stall') end('aborted')
  }
  function end(state: 'finished' | 'aborted'): void {
    if (over) return
    over = true
    clearInterval(timer)
    counts.openStreams -= 1
    counts[state] += 1
    record(sent, state)
  }
}

/** The whole answer at once; only streams have a rate. */
export function whole(chat: Chat): void {
  const { response, answer, counts, pace } = chat
  const record = recorder(chat, false)
  record(0, 'open')
  if (pace.firstTokenMs === 0) {
    finish()
    return
  }
  const timer = setTimeout(finish, pace.firstTokenMs)
  response.once('close', () => {
    clearTimeout(timer)
    if (!response.writableEnded) end('aborted')
  })

  function finish(): void {
    const { accident } = answer.behaviour
    if (accident === 'stall') {
      response.once('close', () => end('aborted'))
      return
    }
    let text = wholeAnswer(answer)
    if (accident === 'huge-event') text += ' '.repeat(hugeEvent.length)
    const broken = accident === 'garbage' ? text.slice(0, text.length >> 1) + '\xff\x00' : text
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': accident === 'reset' ? broken.length + 1 : broken.length,
    })
    if (accident === 'reset') {
      response.write(broken, 'latin1', () => response.socket?.resetAndDestroy())
      end('aborted')
      return
    }
    counts.tokens += answer.tokens
    response.end(broken, 'latin1')
    end(accident === 'garbage' ? 'aborted' : 'finished')
  }
  function end(state: 'finished' | 'aborted'): void {
    counts[state] += 1
    record(state === 'finished' ? answer.tokens : 0, state)
  }
}

function recorder(
  chat: Chat,
  isStream: boolean,
): (tokens: number, state: TruthLine['state']) => void {
  const { answer, truth, requestId } = chat
  return (outputTokens, state) =>
    truth.write({
      id: requestId,
      responseId: answer.id,
      model: answer.model,
      stream: isStream,
      inputTokens: answer.promptTokens,
      outputTokens,
      state,
    })
}

function accidentToken(answer: Answer): number {
  if (answer.behaviour.accident === undefined) return Infinity
  return Math.min(answer.behaviour.accidentAfterTokens ?? Infinity, answer.tokens)
}
