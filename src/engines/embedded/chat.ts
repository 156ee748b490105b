/** One chat completion, from the request's body to the last byte of the answer. */
import type { ServerResponse } from 'node:http'
import { Fault, toFault } from '../../platform/fault.ts'
import { randomBase62 } from '../../platform/ids.ts'
import type { Clock } from '../../platform/clock.ts'
import type { TokenLogprob } from '../engine.ts'
import { createAnswerText, toWireLogprob } from './answer.ts'
import { parseChatRequest, samplingOf, stopsOf, type WireChatRequest } from './chat-request.ts'
import {
  createChatWire,
  doneEvent,
  type ChatUsage,
  type ChatWire,
  type WholeChoice,
  type WireDelta,
  type WireFinishReason,
} from './chat-wire.ts'
import { planConversation, type ConversationModel, type ConversationPlan } from './conversation.ts'
import { sendJson } from './http.ts'
import type { EngineMetrics } from './metrics.ts'
import { createReasoningReader } from './reasoning-reader.ts'
import { foldSeed, toSamplerConfig } from './sampling.ts'
import type { Scheduler, SequenceResult } from './scheduler.ts'
import { createToolReader, type ToolEvent } from './tool-reader.ts'

export interface ChatModel extends ConversationModel {
  readonly modelId: string
  readonly scheduler: Scheduler
  readonly metrics: EngineMetrics
  readonly clock: Clock
  /** Any number; makes answers differ that ask for no seed. */
  readonly randomSeed: () => number
}

export interface ChatCall {
  readonly body: unknown
  readonly response: ServerResponse
  readonly signal: AbortSignal
}

/** Answers on `call.response`. Throws a fault when there is nothing to answer, or when the answer broke off. */
export async function answerChat(model: ChatModel, call: ChatCall): Promise<void> {
  const request = parseChatRequest(call.body)
  refuseForeign(model, request)
  const plan = planConversation(request, model)
  const count = request.n ?? 1
  model.scheduler.refuseWhenFull(count)
  const wire = createChatWire(
    `chatcmpl-${randomBase62(24)}`,
    model.modelId,
    Math.floor(model.clock.nowMs() / 1_000),
  )
  const answer = createAnswer(plan.prompt.length, count)
  if (request.stream) await stream(model, call, { request, plan, wire, answer })
  else await collect(model, call, { request, plan, wire, answer })
}

interface Work {
  readonly request: WireChatRequest
  readonly plan: ConversationPlan
  readonly wire: ChatWire
  readonly answer: Answer
}

/** What all choices of an answer count together. */
interface Answer {
  readonly count: number
  readonly usage: () => ChatUsage
  cachedTokens: number
  completionTokens: number
  reasoningTokens: number
}

function createAnswer(promptTokens: number, count: number): Answer {
  const answer: Answer = {
    count,
    cachedTokens: 0,
    completionTokens: 0,
    reasoningTokens: 0,
    usage: () => ({
      promptTokens,
      cachedTokens: answer.cachedTokens,
      completionTokens: answer.completionTokens,
      reasoningTokens: answer.reasoningTokens,
    }),
  }
  return answer
}

/** What one choice says, in order. */
interface ChoiceListener {
  /** The prompt has been computed; the first token follows. */
  readonly onPrompt: () => void
  readonly onReasoning: (text: string) => void
  readonly onText: (text: string, logprobs: readonly TokenLogprob[] | undefined) => void
  readonly onTool: (event: Exclude<ToolEvent, { type: 'text' }>, id: string) => void
  readonly onFinish: (ending: Ending) => void
}

interface Ending {
  readonly finishReason: WireFinishReason
  /** The stop text of the request that ended the choice. */
  readonly stopReason?: string | undefined
}

async function stream(model: ChatModel, call: ChatCall, work: Work): Promise<void> {
  const { response, signal } = call
  const { wire, answer, request } = work
  const options = request.stream_options
  const runningUsage = () => (options?.continuous_usage_stats ? answer.usage() : undefined)
  const send = (choice: number, delta: WireDelta, logprobs?: readonly TokenLogprob[]): void => {
    response.write(wire.chunk({ choice, delta, logprobs, usage: runningUsage() }))
  }
  await generateAll(model, work, signal, (choice) => ({
    onPrompt() {
      // Until here the request can still be refused, or be tried elsewhere.
      if (!response.headersSent) {
        response.writeHead(200, {
          'content-type': 'text/event-stream; charset=utf-8',
          'cache-control': 'no-cache',
        })
      }
      send(choice, { role: 'assistant', content: '' })
    },
    onReasoning: (text) => send(choice, { reasoning_content: text }),
    onText: (content, logprobs) => send(choice, { content }, logprobs),
    onTool(event, id) {
      const { index } = event
      send(choice, {
        tool_calls: [
          event.type === 'start'
            ? { index, id, type: 'function', function: { name: event.name, arguments: '' } }
            : { index, function: { arguments: event.arguments } },
        ],
      })
    },
    onFinish(ending) {
      response.write(wire.chunk({ choice, delta: {}, ...ending, usage: runningUsage() }))
    },
  }))
  if (signal.aborted) return
  if (options?.include_usage) response.write(wire.usageChunk(answer.usage()))
  response.end(doneEvent)
}

async function collect(model: ChatModel, call: ChatCall, work: Work): Promise<void> {
  const choices = Array.from({ length: work.answer.count }, () => ({
    content: '',
    reasoning: '',
    toolCalls: [] as { id: string; name: string; arguments: string }[],
    logprobs: work.request.logprobs ? ([] as TokenLogprob[]) : undefined,
    finishReason: 'stop' as WireFinishReason,
    stopReason: undefined as string | undefined,
  }))
  await generateAll(model, work, call.signal, (index) => {
    const choice = choices[index]
    return {
      onPrompt: () => {},
      onReasoning(text) {
        if (choice) choice.reasoning += text
      },
      onText(text, logprobs) {
        if (!choice) return
        choice.content += text
        if (logprobs) choice.logprobs?.push(...logprobs)
      },
      onTool(event, id) {
        if (event.type === 'start') choice?.toolCalls.push({ id, name: event.name, arguments: '' })
        const toolCall = choice?.toolCalls[event.index]
        if (toolCall && event.type === 'arguments') toolCall.arguments += event.arguments
      },
      onFinish({ finishReason, stopReason }) {
        if (!choice) return
        choice.finishReason = finishReason
        choice.stopReason = stopReason
      },
    }
  })
  if (call.signal.aborted) return
  const whole: readonly WholeChoice[] = choices
  sendJson(call.response, 200, work.wire.whole(whole, work.answer.usage()))
}

/** Runs all choices at once. When one fails the others are pointless, and end. */
async function generateAll(
  model: ChatModel,
  work: Work,
  signal: AbortSignal,
  listenerOf: (choice: number) => ChoiceListener,
): Promise<void> {
  const failure = new AbortController()
  const both = AbortSignal.any([signal, failure.signal])
  const seed = work.request.seed ?? model.randomSeed()
  await Promise.all(
    Array.from({ length: work.answer.count }, async (_, choice) => {
      try {
        await generateOne(model, work, { choice, seed, signal: both, listener: listenerOf(choice) })
      } catch (error) {
        failure.abort()
        throw toFault(error)
      }
    }),
  )
}

interface ChoiceTask {
  readonly choice: number
  readonly seed: number
  readonly signal: AbortSignal
  readonly listener: ChoiceListener
}

async function generateOne(model: ChatModel, work: Work, task: ChoiceTask): Promise<void> {
  const { vocabulary, metrics, clock } = model
  const { request, plan, answer } = work
  const { listener } = task
  const stops = stopsOf(request)
  const text = createAnswerText(vocabulary, [...stops, ...model.template.stops])
  let stopReason: string | undefined
  const speak = createSpeaker(plan, listener)
  const queuedAtMs = clock.monotonicMs()
  const result = await model.scheduler.generate({
    prompt: plan.prompt,
    salt: request.cache_salt ?? '',
    sampling: toSamplerConfig(
      samplingOf(request, vocabulary.endTokens),
      // Each choice another seed, and all of them repeatable.
      foldSeed(task.seed) + task.choice,
      model.windowTokens,
    ),
    grammar: plan.grammar,
    answerTokensMax: request.max_completion_tokens ?? request.max_tokens ?? Infinity,
    topLogprobs: request.logprobs ? (request.top_logprobs ?? 0) : undefined,
    signal: task.signal,
    onStart(reusedTokens) {
      if (task.choice === 0) answer.cachedTokens = reusedTokens
      metrics.promptTokens.inc(plan.prompt.length - reusedTokens)
      metrics.cachedTokens.inc(reusedTokens)
    },
    onPrompt() {
      metrics.firstTokenSeconds.observe((clock.monotonicMs() - queuedAtMs) / 1_000)
      listener.onPrompt()
    },
    onToken(token, probabilities) {
      answer.completionTokens += 1
      if (speak.isThinking()) answer.reasoningTokens += 1
      const piece = text.push(token)
      const logprobs = probabilities && [toWireLogprob(vocabulary, token, probabilities)]
      speak.text(piece.text, logprobs)
      // The model's own marks are nobody's business.
      stopReason = stops.find((stop) => stop === piece.stoppedBy)
      return !piece.isStopped
    },
  })
  metrics.generatedTokens.inc(result.generatedTokens)
  if (result.end === 'aborted') return
  // The end token was generated too, though it says nothing.
  if (result.end === 'end-token') answer.completionTokens += 1
  if (result.end !== 'complete') speak.text(text.flush(), undefined)
  speak.finish(result, stopReason)
}

interface Speaker {
  /** Whether the next token belongs to what is thought. */
  isThinking(): boolean
  text(text: string, logprobs: readonly TokenLogprob[] | undefined): void
  finish(result: SequenceResult, stopReason: string | undefined): void
}

/** Tells thoughts from what is said, where the model thinks. Thoughts come without probabilities, as OpenAI's do. */
function createSpeaker(plan: ConversationPlan, listener: ChoiceListener): Speaker {
  const reader = createReasoningReader(plan.thinking)
  const voice = createVoice(plan, listener)
  /** Of tokens that nobody can tell yet whether they are said. */
  let held: TokenLogprob[] = []
  return {
    isThinking: () => reader.state() === 'thinking',
    text(text, logprobs) {
      const piece = reader.push(text)
      if (piece.reasoning !== '') listener.onReasoning(piece.reasoning)
      if (reader.state() === 'undecided') {
        held.push(...(logprobs ?? []))
        return
      }
      if (reader.state() === 'saying') voice.text(piece.text, logprobs && [...held, ...logprobs])
      held = []
    },
    finish(result, stopReason) {
      const piece = reader.flush()
      if (piece.reasoning !== '') listener.onReasoning(piece.reasoning)
      if (piece.text !== '') voice.text(piece.text, held.length > 0 ? held : undefined)
      voice.finish(result, stopReason)
    },
  }
}

/** Tells text from tool calls, where the conversation offers tools. */
function createVoice(
  plan: ConversationPlan,
  listener: ChoiceListener,
): Omit<Speaker, 'isThinking'> {
  const say = (text: string, logprobs?: readonly TokenLogprob[]): void => {
    if (text !== '' || logprobs) listener.onText(text, logprobs)
  }
  const end = (hasCalls: boolean, result: SequenceResult, stopReason: string | undefined): void => {
    if (result.end === 'length') listener.onFinish({ finishReason: 'length' })
    else if (hasCalls && !plan.isForcedByName) listener.onFinish({ finishReason: 'tool_calls' })
    else listener.onFinish({ finishReason: 'stop', stopReason })
  }
  if (!plan.toolFormat) {
    return { text: say, finish: (result, stopReason) => end(false, result, stopReason) }
  }
  const reader = createToolReader(plan.toolFormat)
  const ids: string[] = []
  const tell = (events: readonly ToolEvent[], logprobs?: readonly TokenLogprob[]): void => {
    // Whatever a token says, even where it is held back or belongs to a call, its probability comes with it, and not after.
    if (logprobs && events[0]?.type !== 'text') say('', logprobs)
    for (const [index, event] of events.entries()) {
      if (event.type === 'text') say(event.text, index === 0 ? logprobs : undefined)
      else listener.onTool(event, (ids[event.index] ??= `call_${randomBase62(24)}`))
    }
  }
  return {
    text(text, logprobs) {
      tell(reader.push(text), logprobs)
    },
    finish(result, stopReason) {
      tell(reader.flush())
      end(ids.length > 0, result, stopReason)
    },
  }
}

/** Another model's requests, and token ids that are not this model's. */
export function refuseForeign(
  model: Pick<ChatModel, 'modelId' | 'vocabulary'>,
  request: Pick<WireChatRequest, 'model' | 'logit_bias'>,
): void {
  if (request.model && request.model !== model.modelId) {
    throw new Fault({
      code: 'catalog.model_not_found',
      public: `This server runs another model: '${model.modelId}'.`,
      param: 'model',
    })
  }
  for (const token of Object.keys(request.logit_bias ?? {})) {
    if (Number(token) >= model.vocabulary.size) {
      throw new Fault({
        code: 'client.invalid_request',
        public: `'logit_bias': this model's token ids end at ${model.vocabulary.size - 1}.`,
        param: 'logit_bias',
      })
    }
  }
}
