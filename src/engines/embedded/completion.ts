/** One legacy completion: text that goes on where each prompt ends, without a chat template. */
import { toFault } from '../../platform/fault.ts'
import { randomBase62 } from '../../platform/ids.ts'
import { createAnswerText, toWireLogprob } from './answer.ts'
import { samplingOf, stopsOf } from './chat-request.ts'
import type { ChatUsage } from './chat-wire.ts'
import { doneEvent } from './chat-wire.ts'
import { refuseForeign, type ChatCall, type ChatModel } from './chat.ts'
import {
  parseCompletionRequest,
  readPrompts,
  type Prompt,
  type WireCompletionRequest,
} from './completion-request.ts'
import {
  createCompletionWire,
  type CompletionFinishReason,
  type WeighedToken,
} from './completion-wire.ts'
import { sendJson } from './http.ts'
import { foldSeed, toSamplerConfig } from './sampling.ts'

/** As OpenAI documents it for this endpoint. */
const maxTokensDefault = 16

/** What one choice says, in order. */
interface ChoiceListener {
  /** The prompt has been computed. */
  readonly onPrompt: () => void
  readonly onText: (text: string, logprobs: readonly WeighedToken[] | undefined) => void
  readonly onFinish: (reason: CompletionFinishReason) => void
}

interface Work {
  readonly request: WireCompletionRequest
  readonly prompts: readonly Prompt[]
  /** For each prompt. */
  readonly n: number
  readonly seed: number
  cachedTokens: number
  completionTokens: number
}

/** Answers on `call.response`. Throws a fault when there is nothing to answer, or when the answer broke off. */
export async function answerCompletion(model: ChatModel, call: ChatCall): Promise<void> {
  const request = parseCompletionRequest(call.body)
  refuseForeign(model, request)
  const prompts = readPrompts(request, model)
  const n = request.n ?? 1
  model.scheduler.refuseWhenFull(prompts.length * n)
  const seed = request.seed ?? model.randomSeed()
  const work: Work = { request, prompts, n, seed, cachedTokens: 0, completionTokens: 0 }
  if (request.stream) await stream(model, call, work)
  else await collect(model, call, work)
}

function createWire(model: ChatModel) {
  const createdSeconds = Math.floor(model.clock.nowMs() / 1_000)
  return createCompletionWire(`cmpl-${randomBase62(24)}`, model.modelId, createdSeconds)
}

async function stream(model: ChatModel, call: ChatCall, work: Work): Promise<void> {
  const { response, signal } = call
  const options = work.request.stream_options
  const wire = createWire(model)
  const runningUsage = () => (options?.continuous_usage_stats ? usageOf(work) : undefined)
  await generateAll(model, work, signal, (choice) => ({
    onPrompt() {
      // Until here the request can still be refused, or be tried elsewhere.
      if (response.headersSent) return
      response.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-cache',
      })
    },
    onText(text, logprobs) {
      response.write(wire.chunk({ choice, text, logprobs, usage: runningUsage() }))
    },
    onFinish(finishReason) {
      response.write(wire.chunk({ choice, text: '', finishReason, usage: runningUsage() }))
    },
  }))
  if (signal.aborted) return
  if (options?.include_usage) response.write(wire.usageChunk(usageOf(work)))
  response.end(doneEvent)
}

async function collect(model: ChatModel, call: ChatCall, work: Work): Promise<void> {
  const hasLogprobs = typeof work.request.logprobs === 'number'
  const choices = Array.from({ length: work.prompts.length * work.n }, () => ({
    text: '',
    logprobs: hasLogprobs ? ([] as WeighedToken[]) : undefined,
    finishReason: 'stop' as CompletionFinishReason,
  }))
  await generateAll(model, work, call.signal, (index) => {
    const choice = choices[index]
    return {
      onPrompt: () => {},
      onText(text, logprobs) {
        if (!choice) return
        choice.text += text
        for (const weighed of logprobs ?? []) choice.logprobs?.push(weighed)
      },
      onFinish(reason) {
        if (choice) choice.finishReason = reason
      },
    }
  })
  if (!call.signal.aborted)
    sendJson(call.response, 200, createWire(model).whole(choices, usageOf(work)))
}

function usageOf(work: Work): ChatUsage {
  return {
    promptTokens: work.prompts.reduce((sum, { tokens }) => sum + tokens.length, 0),
    cachedTokens: work.cachedTokens,
    completionTokens: work.completionTokens,
    // What goes on from a prompt is all said.
    reasoningTokens: 0,
  }
}

/** Runs all choices of all prompts at once. When one fails the others are pointless, and end. */
async function generateAll(
  model: ChatModel,
  work: Work,
  signal: AbortSignal,
  listenerOf: (choice: number) => ChoiceListener,
): Promise<void> {
  const failure = new AbortController()
  const both = AbortSignal.any([signal, failure.signal])
  await Promise.all(
    work.prompts.flatMap((prompt, position) =>
      Array.from({ length: work.n }, async (_, nth) => {
        const listener = listenerOf(position * work.n + nth)
        try {
          await generateOne(model, work, { prompt, nth, signal: both, listener })
        } catch (error) {
          failure.abort()
          throw toFault(error)
        }
      }),
    ),
  )
}

interface ChoiceTask {
  readonly prompt: Prompt
  /** Which of its prompt's choices this is. */
  readonly nth: number
  readonly signal: AbortSignal
  readonly listener: ChoiceListener
}

async function generateOne(model: ChatModel, work: Work, task: ChoiceTask): Promise<void> {
  const { vocabulary, metrics, clock } = model
  const { request } = work
  const { prompt, listener } = task
  const top = request.logprobs ?? undefined
  const text = createAnswerText(vocabulary, stopsOf(request))
  const promptTokens: WeighedToken[] = []
  const queuedAtMs = clock.monotonicMs()
  const say = (piece: string, logprobs?: readonly WeighedToken[]): void => {
    if (piece !== '' || logprobs) listener.onText(piece, logprobs)
  }
  const result = await model.scheduler.generate({
    prompt: prompt.tokens,
    salt: request.cache_salt ?? '',
    sampling: toSamplerConfig(
      samplingOf(request, vocabulary.endTokens),
      foldSeed(work.seed) + task.nth,
      model.windowTokens,
    ),
    grammar: undefined,
    answerTokensMax: request.max_tokens ?? maxTokensDefault,
    topLogprobs: top,
    signal: task.signal,
    onStart(reusedTokens) {
      if (task.nth === 0) work.cachedTokens += reusedTokens
      metrics.promptTokens.inc(prompt.tokens.length - reusedTokens)
      metrics.cachedTokens.inc(reusedTokens)
    },
    onPromptToken:
      request.echo && top !== undefined
        ? (token, probabilities) => {
            promptTokens.push(
              probabilities
                ? toWireLogprob(vocabulary, token, probabilities)
                : { token: vocabulary.spellingOf(token).toString('utf8'), logprob: null },
            )
          }
        : undefined,
    onPrompt() {
      metrics.firstTokenSeconds.observe((clock.monotonicMs() - queuedAtMs) / 1_000)
      listener.onPrompt()
      if (request.echo) say(prompt.text, top === undefined ? undefined : promptTokens)
    },
    onToken(token, probabilities) {
      work.completionTokens += 1
      const piece = text.push(token)
      say(piece.text, probabilities && [toWireLogprob(vocabulary, token, probabilities)])
      return !piece.isStopped
    },
  })
  metrics.generatedTokens.inc(result.generatedTokens)
  if (result.end === 'aborted') return
  // The end token was generated too, though it says nothing.
  if (result.end === 'end-token') work.completionTokens += 1
  if (result.end !== 'complete') say(text.flush())
  listener.onFinish(result.end === 'length' ? 'length' : 'stop')
}
