/**
 * Engines, and their own account of what they did. They stream a token at a time, refuse, die in mid-answer, fall silent, and lie about usage, as the
 * seed has it. A call lives as long as its connection: when the gateway has died, the engine notices a little later.
 */
import type {
  ChatTask,
  Engine,
  EngineCall,
  EngineRequest,
  StreamPart,
  TokenUsage,
} from '../../src/engines/engine.ts'
import { Fault, type FaultCode } from '../../src/platform/fault.ts'
import type { Life } from './life.ts'
import type { Loop } from './loop.ts'
import type { Random } from './random.ts'

export interface EngineTroubles {
  readonly refusals: number
  readonly deaths: number
  readonly silences: number
  readonly lies: number
  readonly overruns: number
  readonly tokenMs: number
  readonly continuousUsage: boolean
}

export type UsageReport = 'honest' | 'missing' | 'impossible'

/** What an engine knows of one request that it has accepted. */
export interface EngineTruth {
  readonly requestId: string
  readonly streamed: boolean
  readonly report: UsageReport
  readonly inputTokens: number
  readonly cachedInputTokens: number
  /** Tokens made, whether anybody took them or not. */
  emittedTokens: number
  /** Tokens that the gateway took from the connection. */
  takenTokens: number
  takenReasoningTokens: number
  /** The gateway took the end of the answer. */
  isWhole: boolean
}

export interface EngineReplica {
  readonly id: string
  readonly troubles: EngineTroubles
}

export interface EngineFarm {
  /** As one life of a gateway reaches one replica. */
  connect(life: Life, replica: EngineReplica, onAccepted: () => void): Engine
  readonly truths: ReadonlyMap<string, EngineTruth>
}

const refusals: readonly [FaultCode, ...FaultCode[]] = [
  'upstream.unreachable',
  'upstream.failed',
  'capacity.overloaded',
  'upstream.rejected',
]
/** As the gateway's own client has it. */
const idleTimeoutMs = 30_000
const unreadPartsMax = 16
/** Four characters a token, so that an estimate from the text is right. */
const tokenText = 'tok '

export function createEngineFarm(loop: Loop, random: Random): EngineFarm {
  const truths = new Map<string, EngineTruth>()

  const accept = async (
    connection: {
      readonly life: Life
      readonly replica: EngineReplica
      readonly onAccepted: () => void
    },
    request: EngineRequest<ChatTask>,
    call: EngineCall,
  ): Promise<AsyncIterable<StreamPart>> => {
    const { life, replica } = connection
    const draw = random.fork(`${call.requestId} ${replica.id}`)
    await loop.sleep(draw.exponential(30))
    if (call.signal.aborted) throw fault('client.gone')
    if (draw.chance(replica.troubles.refusals)) throw fault(draw.pick(refusals))
    if (truths.has(call.requestId))
      throw new Error(`two engines accept ${call.requestId}: something would be made twice`)
    const answer = planAnswer(request, replica.troubles, draw)
    const truth = toTruth(request, call, answer)
    truths.set(call.requestId, truth)
    loop.note(`engine: ${replica.id} accepts ${call.requestId}`)
    const channel = createChannel(call, truth)
    speak({ loop, life, draw, truth, channel, answer, troubles: replica.troubles })
    connection.onAccepted()
    return channel
  }

  return {
    truths,
    connect: (life, replica, onAccepted) => ({
      kind: 'simulated',
      capabilities: {
        tasks: new Set(['chat']),
        continuousUsage: replica.troubles.continuousUsage,
        cacheSalt: false,
      },
      run: (request, call) => {
        if (!isChat(request)) return Promise.reject(fault('upstream.rejected'))
        return life.whileAlive(accept({ life, replica, onAccepted }, request, call))
      },
      listModels: () => Promise.resolve(['simulated']),
      checkHealth: () => Promise.resolve(),
      close: () => Promise.resolve(),
    }),
  }
}

function isChat(request: EngineRequest): request is EngineRequest<ChatTask> {
  return request.task.kind === 'chat'
}

interface PlannedAnswer {
  readonly tokens: number
  readonly reasoningTokens: number
  readonly inputTokens: number
  readonly cachedInputTokens: number
  /** After so many tokens it dies, or falls silent; `undefined` for never. */
  readonly diesAfter: number | undefined
  readonly silentAfter: number | undefined
  readonly report: UsageReport
  readonly finishReason: 'stop' | 'length'
}

function planAnswer(
  request: EngineRequest<ChatTask>,
  troubles: EngineTroubles,
  draw: Random,
): PlannedAnswer {
  const asked = Number(request.task.body['max_tokens'] ?? 200)
  const own = Math.ceil(draw.exponential(45))
  const isOverrun = draw.chance(troubles.overruns)
  const tokens = isOverrun ? asked + draw.whole(1, 40) : Math.min(own, asked)
  const inputTokens = countInput(request, draw)
  const reasoningTokens = draw.chance(0.3) ? draw.whole(0, tokens) : 0
  const point = (probability: number): number | undefined =>
    draw.chance(probability) ? draw.whole(0, tokens) : undefined
  return {
    tokens,
    reasoningTokens,
    inputTokens,
    cachedInputTokens: draw.chance(0.5) ? draw.whole(0, inputTokens) : 0,
    diesAfter: point(troubles.deaths),
    silentAfter: point(troubles.silences),
    report: draw.chance(troubles.lies)
      ? draw.pick<UsageReport>(['missing', 'impossible'])
      : 'honest',
    finishReason: own < asked ? 'stop' : 'length',
  }
}

/** As many as usual for such a text, give or take a third: the gateway's own estimate is no better. */
function countInput(request: EngineRequest<ChatTask>, draw: Random): number {
  const characters = JSON.stringify(request.task.body['messages']).length
  return Math.max(1, Math.round((characters / 5) * draw.between(0.7, 1.3)))
}

function toTruth(
  request: EngineRequest<ChatTask>,
  call: EngineCall,
  answer: PlannedAnswer,
): EngineTruth {
  return {
    requestId: call.requestId,
    streamed: request.stream,
    report: answer.report,
    inputTokens: answer.inputTokens,
    cachedInputTokens: answer.cachedInputTokens,
    emittedTokens: 0,
    takenTokens: 0,
    takenReasoningTokens: 0,
    isWhole: false,
  }
}

function speak(scope: {
  readonly loop: Loop
  readonly life: Life
  readonly draw: Random
  readonly truth: EngineTruth
  readonly channel: Channel
  readonly answer: PlannedAnswer
  readonly troubles: EngineTroubles
}): void {
  const { loop, life, draw, truth, channel, answer, troubles } = scope
  const usage = (outputTokens: number): TokenUsage => ({
    inputTokens: answer.inputTokens,
    cachedInputTokens: answer.cachedInputTokens,
    outputTokens,
    reasoningTokens: Math.min(answer.reasoningTokens, outputTokens),
  })
  const report = (isLast: boolean): void => {
    if (answer.report === 'missing') return
    if (answer.report === 'honest')
      channel.push({ type: 'usage', usage: usage(truth.emittedTokens) })
    else if (isLast) channel.push({ type: 'usage', usage: lie(usage(truth.emittedTokens), draw) })
  }
  const fail = (code: FaultCode): void => {
    if (!life.isOver) channel.fail(fault(code))
  }
  const end = (): void => {
    if (!truth.streamed)
      for (const part of wholeText(truth.emittedTokens, answer)) channel.push(part)
    channel.push({ type: 'choice-finish', choice: 0, reason: answer.finishReason })
    report(true)
    channel.push({ type: 'end' })
  }
  const step = (): void => {
    if (channel.isClosed || life.isOver) return
    if (channel.unread > unreadPartsMax) return channel.whenRead(next)
    if (truth.emittedTokens === answer.diesAfter) return fail('upstream.truncated')
    if (truth.emittedTokens === answer.silentAfter) {
      loop.after(idleTimeoutMs, () => fail('upstream.timeout'))
      return
    }
    if (truth.emittedTokens === answer.tokens) return end()
    truth.emittedTokens += 1
    if (truth.streamed) {
      const type = truth.emittedTokens <= answer.reasoningTokens ? 'reasoning-delta' : 'text-delta'
      channel.push({ type, choice: 0, text: tokenText })
      if (troubles.continuousUsage) report(false)
    }
    next()
  }
  const next = (): void => void loop.after(draw.exponential(troubles.tokenMs), step)
  next()
}

function wholeText(tokens: number, answer: PlannedAnswer): StreamPart[] {
  const reasoning = Math.min(answer.reasoningTokens, tokens)
  const text = tokens - reasoning
  return [
    ...(reasoning > 0
      ? [{ type: 'reasoning-delta' as const, choice: 0, text: tokenText.repeat(reasoning) }]
      : []),
    ...(text > 0 ? [{ type: 'text-delta' as const, choice: 0, text: tokenText.repeat(text) }] : []),
  ]
}

/** Figures that no honest engine gives. */
function lie(usage: TokenUsage, draw: Random): TokenUsage {
  return draw.pick<TokenUsage>([
    { ...usage, outputTokens: -1 },
    { ...usage, outputTokens: Number.NaN },
    { ...usage, outputTokens: 1e12 },
    { ...usage, inputTokens: 1e12 },
    { ...usage, inputTokens: 1.5 },
    { ...usage, cachedInputTokens: usage.inputTokens + 1 },
    { ...usage, reasoningTokens: usage.outputTokens + 1 },
  ])
}

interface Channel extends AsyncIterable<StreamPart> {
  readonly isClosed: boolean
  /** Parts that the gateway has not taken yet. */
  readonly unread: number
  push(part: StreamPart): void
  /** Calls back when the gateway takes a part. */
  whenRead(work: () => void): void
  fail(error: Fault): void
}

/** The connection on which an answer comes back. What has arrived is read before a failure is seen. */
function createChannel(call: EngineCall, truth: EngineTruth): Channel {
  const parts: StreamPart[] = []
  let failure: Fault | undefined
  let isClosed = false
  let onRead: (() => void) | undefined
  let waiting: PromiseWithResolvers<IteratorResult<StreamPart>> | undefined

  const take = (part: StreamPart): IteratorResult<StreamPart> => {
    if (part.type === 'text-delta' || part.type === 'reasoning-delta') {
      const tokens = part.text.length / tokenText.length
      truth.takenTokens += tokens
      if (part.type === 'reasoning-delta') truth.takenReasoningTokens += tokens
    }
    if (part.type === 'end') truth.isWhole = true
    return { done: false, value: part }
  }
  const fail = (error: Fault): void => {
    if (isClosed) return
    isClosed = true
    failure = error
    waiting?.reject(error)
    waiting = undefined
  }
  const onAbort = (): void => fail(fault('client.gone'))
  call.signal.addEventListener('abort', onAbort, { once: true })

  const iterator: AsyncIterator<StreamPart> = {
    next() {
      const part = parts.shift()
      if (part) {
        onRead?.()
        onRead = undefined
        return Promise.resolve(take(part))
      }
      if (failure) return Promise.reject(failure)
      if (isClosed) return Promise.resolve({ done: true, value: undefined })
      waiting = Promise.withResolvers()
      return waiting.promise
    },
    return() {
      isClosed = true
      parts.length = 0
      return Promise.resolve({ done: true, value: undefined })
    },
  }
  return {
    get isClosed() {
      return isClosed
    },
    get unread() {
      return parts.length
    },
    push(part) {
      if (isClosed) return
      if (!waiting) {
        parts.push(part)
        return
      }
      waiting.resolve(take(part))
      waiting = undefined
    },
    whenRead(work) {
      onRead = work
    },
    fail,
    [Symbol.asyncIterator]: () => iterator,
  }
}

function fault(code: FaultCode): Fault {
  return new Fault({ code, public: `${code}, as the seed has it.` })
}
