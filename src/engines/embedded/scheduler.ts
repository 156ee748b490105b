/**
 * Continuous batching. One loop runs the context: each step computes one batch, made of the newest token of every answer and as much
 * of the waiting prompts as fits into the time of a step; then it picks the next token of each answer. JavaScript runs
 * a few microseconds a token, between two steps; all else is in llama.cpp.
 *
 * Steps are short, because they are the grain of everything: a request that is aborted costs at most the step under way, and a long
 * prompt delays the answers of others by at most one step.
 */
import { Fault } from '../../platform/fault.ts'
import { assert } from '../../platform/assert.ts'
import type { Clock } from '../../platform/clock.ts'
import type { NativeContext, NativeSampler, OpenModel, SamplerConfig } from './native.ts'
import { readProbabilities, type TokenProbabilities } from './probabilities.ts'
import { chooseSlot, type SlotCache } from './slot.ts'
import { planStep } from './step.ts'

export interface SequenceRequest {
  readonly prompt: Uint32Array
  /** Prefixes are shared only among requests with the same salt. */
  readonly salt: string
  readonly sampling: SamplerConfig
  readonly grammar: string | undefined
  readonly answerTokensMax: number
  /** How many alternatives to report with each token; `undefined` for no probabilities at all. */
  readonly topLogprobs: number | undefined
  readonly signal: AbortSignal
  /** The prompt will be computed from now on; its first `reusedTokens` tokens are in the cache. */
  readonly onStart: (reusedTokens: number) => void
  /**
   * Each token of the prompt, and how likely the model found it; the first one has nothing before it. A prompt that is watched is computed anew, and
   * costs some milliseconds a token.
   */
  readonly onPromptToken?:
    | ((token: number, probabilities: TokenProbabilities | undefined) => void)
    | undefined
  /** The prompt has been computed. */
  readonly onPrompt: () => void
  /** Returns false when the answer is complete. Must not throw. */
  readonly onToken: (token: number, probabilities: TokenProbabilities | undefined) => boolean
}

export type SequenceEnd = 'end-token' | 'length' | 'complete' | 'aborted'

export interface SequenceResult {
  readonly end: SequenceEnd
  /** All tokens that were picked, the end token included. */
  readonly generatedTokens: number
}

export interface SchedulerState {
  readonly running: number
  readonly waiting: number
  readonly sequences: number
  readonly usedCells: number
  readonly totalCells: number
}

export interface Scheduler {
  /** Throws `capacity.overloaded` when the queue cannot take `count` more. */
  refuseWhenFull(count: number): void
  /** Resolves when the sequence ended. */
  generate(request: SequenceRequest): Promise<SequenceResult>
  state(): SchedulerState
  /** Ends what runs, and resolves when nothing does. */
  stop(): Promise<void>
}

export interface SchedulerOptions {
  readonly model: OpenModel
  readonly context: NativeContext
  readonly isEndToken: (token: number) => boolean
  readonly sequences: number
  readonly windowTokens: number
  readonly batchTokens: number
  readonly clock: Clock
}

/** Sequences that may wait for a free slot. */
const waitingMax = 256
const overloadedRetryMs = 1_000
/** Aborts are to be felt within 100 ms, and a step cannot be interrupted. */
const stepMsTarget = 90
/** Smaller batches waste a slow machine's time: 8 tokens at once cost a tenth more than 16. */
const stepTokensMin = 8
/** Of a prompt whose tokens are all asked for: each is read one by one. */
const watchedTokensMax = 8
/** Weight of the newest step in the running average of a token's cost. */
const costSmoothing = 0.2

interface Sequence {
  readonly request: SequenceRequest
  readonly resolve: (result: SequenceResult) => void
  readonly reject: (error: unknown) => void
}

interface Running extends Sequence {
  readonly slot: number
  readonly sampler: NativeSampler
  /** Picks nothing: it only tells the distribution that the model itself gave. One each, for they work at the same time. */
  readonly observer: NativeSampler | undefined
  /** What the slot's cache holds once the step under way is done. */
  readonly cached: number[]
  readonly positionsMax: number
  /** Tokens to compute next: the rest of the prompt, or the one token that was picked last. */
  pending: Uint32Array
  generatedTokens: number
}

interface Slot extends SlotCache {
  readonly tokens: number[]
  salt: string
  lastUse: number
}

export function createScheduler(options: SchedulerOptions): Scheduler {
  const { model, context, clock } = options
  const slots = Array.from({ length: options.sequences }, (): Slot => {
    return { tokens: [], salt: '', lastUse: 0 }
  })
  const free = new Map<number, Slot>(slots.entries())
  const waiting: Sequence[] = []
  let running: Running[] = []
  let uses = 0
  let loop: Promise<void> | undefined
  let isStopping = false
  let tokenCostMs = stepMsTarget / stepTokensMin
  let answerCredit = 0

  return {
    refuseWhenFull(count) {
      if (isStopping) throw overloaded('capacity.draining', 'The model server is shutting down.')
      if (waiting.length + count - free.size > waitingMax) {
        throw overloaded('capacity.overloaded', 'Too many requests are waiting for this model.')
      }
    },
    generate(request) {
      return new Promise((resolve, reject) => {
        waiting.push({ request, resolve, reject })
        loop ??= run()
      })
    },
    state: () => ({
      running: running.length,
      waiting: waiting.length,
      sequences: options.sequences,
      usedCells: slots.reduce((sum, slot) => sum + slot.tokens.length, 0),
      totalCells: options.sequences * options.windowTokens,
    }),
    async stop() {
      isStopping = true
      await loop
    },
  }

  async function run(): Promise<void> {
    // One turn of the event loop, so that requests that arrived together share the first step.
    await new Promise((resolve) => setImmediate(resolve))
    while (waiting.length + running.length > 0) {
      try {
        dropAborted()
        admit()
        if (running.length > 0) await step()
      } catch (error) {
        abandon(error)
      }
    }
    loop = undefined
  }

  function dropAborted(): void {
    for (const sequence of running) if (isAborted(sequence)) finish(sequence, 'aborted')
    for (const sequence of waiting.filter(isAborted)) {
      waiting.splice(waiting.indexOf(sequence), 1)
      sequence.resolve({ end: 'aborted', generatedTokens: 0 })
    }
  }

  function isAborted(sequence: Sequence): boolean {
    return isStopping || sequence.request.signal.aborted
  }

  function admit(): void {
    for (let next = waiting[0]; next; next = waiting[0]) {
      const choice = chooseSlot(free, next.request.prompt, next.request.salt)
      if (!choice) return
      waiting.shift()
      try {
        running.push(start(next, choice.index, choice.reusedTokens))
      } catch (error) {
        next.reject(error)
      }
    }
  }

  function start(sequence: Sequence, index: number, reusedTokens: number): Running {
    const { request } = sequence
    const slot = slots[index]
    assert(slot, 'the chosen slot exists')
    const sampler = createSampler(request)
    const kept = keep(index, request.onPromptToken ? 0 : reusedTokens)
    free.delete(index)
    slot.tokens.length = kept
    slot.salt = request.salt
    slot.lastUse = uses += 1
    request.onStart(kept)
    return {
      ...sequence,
      slot: index,
      sampler,
      observer: createObserver(request),
      cached: slot.tokens,
      // The newest token is not computed until the next one is wanted, so it takes no position.
      positionsMax: Math.min(
        options.windowTokens - 1,
        request.prompt.length + request.answerTokensMax - 1,
      ),
      pending: request.prompt.subarray(kept),
      generatedTokens: 0,
    }
  }

  function createSampler(request: SequenceRequest): NativeSampler {
    const sampler = model.newSampler()
    sampler.applyConfig(
      request.grammar === undefined
        ? request.sampling
        : {
            ...request.sampling,
            grammarEvaluationState: model.newGrammarState(request.grammar),
          },
    )
    return sampler
  }

  function createObserver({
    topLogprobs,
    onPromptToken,
  }: SequenceRequest): NativeSampler | undefined {
    if (topLogprobs === undefined && !onPromptToken) return undefined
    const observer = model.newSampler()
    observer.applyConfig({ temperature: 0 })
    return observer
  }

  /** Cuts the slot's cache to its first tokens; recurrent models cannot forget a part, and start over. */
  function keep(index: number, tokens: number): number {
    if (tokens > 0 && context.removeTokenCellsFromSequence(index, tokens, -1)) return tokens
    context.disposeSequence(index)
    return 0
  }

  async function step(): Promise<void> {
    const stepTokens = Math.max(stepTokensMin, Math.floor(stepMsTarget / tokenCostMs))
    const { parts: planned, credit } = planStep(
      running,
      Math.min(stepTokens, options.batchTokens),
      answerCredit,
    )
    answerCredit = credit
    const parts = planned.map(({ sequence, tokens }) => ({
      sequence,
      tokens: isWatched(sequence) ? Math.min(tokens, watchedTokensMax) : tokens,
    }))
    const total = parts.reduce((sum, part) => sum + part.tokens, 0)
    context.initBatch(total)
    const computed = parts.map(({ sequence, tokens }) => addToBatch(sequence, tokens))
    const startedMs = clock.monotonicMs()
    await context.decodeBatch()
    learnCost(total, clock.monotonicMs() - startedMs)
    // All have to end, even when one fails: a sampler in use must not be disposed of.
    const picks = await Promise.allSettled(computed.map(read))
    for (const [index, { sequence, isPromptDone }] of computed.entries()) {
      const picked = picks[index]
      if (picked?.status !== 'fulfilled') fail(sequence, picked?.reason)
      else if (isPromptDone) advance(sequence, picked.value)
    }
  }

  function addToBatch(sequence: Running, tokens: number): Computed {
    const isPromptDone = tokens === sequence.pending.length
    const firstToken = sequence.cached.length
    const added = sequence.pending.subarray(0, tokens)
    const last = isPromptDone ? Uint32Array.of(tokens - 1) : none
    const wanted = isWatched(sequence) ? Uint32Array.from(added, (_, index) => index) : last
    const positions = context.addToBatch(sequence.slot, firstToken, added, wanted)
    for (const token of added) sequence.cached.push(token)
    sequence.pending = sequence.pending.subarray(tokens)
    return { sequence, isPromptDone, firstToken, positions }
  }

  /** What the model found of the prompt's tokens where somebody asked; then, after the last one, the next token. */
  async function read(computed: Computed): Promise<Pick | undefined> {
    const { sequence, isPromptDone, positions } = computed
    if (isWatched(sequence)) await watchPrompt(computed)
    const position = positions.at(-1)
    if (!isPromptDone || position === undefined) return undefined
    return sequence.request.answerTokensMax > 0 ? await pick(sequence, position) : undefined
  }

  async function watchPrompt({ sequence, firstToken, positions }: Computed): Promise<void> {
    const { prompt, topLogprobs = 0, onPromptToken } = sequence.request
    if (firstToken === 0) onPromptToken?.(prompt[0] ?? 0, undefined)
    for (const [index, position] of positions.entries()) {
      const next = prompt[firstToken + index + 1]
      if (next !== undefined) {
        onPromptToken?.(next, await observe(sequence, { position, token: next, top: topLogprobs }))
      }
    }
  }

  async function observe(
    { observer }: Running,
    { position, token, top }: { position: number; token: number; top: number },
  ): Promise<TokenProbabilities> {
    assert(observer, 'a sequence that is asked for probabilities has an observer')
    const [, all] = await context.sampleToken(position, observer, true)
    return readProbabilities(all, token, top)
  }

  function learnCost(tokens: number, ms: number): void {
    // A token alone costs twice as much as one among many, and says nothing about a full step.
    if (tokens >= stepTokensMin) tokenCostMs += (ms / tokens - tokenCostMs) * costSmoothing
  }

  async function pick(sequence: Running, position: number): Promise<Pick> {
    const { topLogprobs } = sequence.request
    const token = await context.sampleToken(position, sequence.sampler)
    if (topLogprobs === undefined) return { token, probabilities: undefined }
    return {
      token,
      probabilities: await observe(sequence, { position, token, top: topLogprobs }),
    }
  }

  /** Without a pick, nothing but the prompt was wanted. */
  function advance(sequence: Running, picked: Pick | undefined): void {
    const { request } = sequence
    if (sequence.generatedTokens === 0) request.onPrompt()
    if (!picked) return finish(sequence, 'length')
    const { token, probabilities } = picked
    // -1: the grammar is at its end and allows no end token either.
    if (token < 0) return finish(sequence, 'end-token')
    sequence.generatedTokens += 1
    if (options.isEndToken(token)) return finish(sequence, 'end-token')
    if (!request.onToken(token, probabilities)) return finish(sequence, 'complete')
    if (sequence.cached.length >= sequence.positionsMax) return finish(sequence, 'length')
    sequence.pending = Uint32Array.of(token)
  }

  function finish(sequence: Running, end: SequenceEnd): void {
    release(sequence)
    sequence.resolve({ end, generatedTokens: sequence.generatedTokens })
  }

  function fail(sequence: Running, error: unknown): void {
    release(sequence)
    sequence.reject(error)
  }

  function release(sequence: Running): void {
    running = running.filter((other) => other !== sequence)
    sequence.sampler.dispose()
    sequence.observer?.dispose()
    const slot = slots[sequence.slot]
    assert(slot, 'a running sequence has a slot')
    slot.lastUse = uses += 1
    free.set(sequence.slot, slot)
  }

  /** After a failed step nothing is known about the caches: all answers fail, and every slot starts anew. */
  function abandon(error: unknown): void {
    for (const sequence of running) fail(sequence, error)
    for (const [index, slot] of slots.entries()) {
      slot.tokens.length = 0
      context.disposeSequence(index)
    }
  }
}

const none = new Uint32Array(0)

function isWatched({ request, generatedTokens }: Running): boolean {
  return request.onPromptToken !== undefined && generatedTokens === 0
}

/** What a step computed of one sequence. */
interface Computed {
  readonly sequence: Running
  readonly isPromptDone: boolean
  /** Where the first of the computed tokens stands. */
  readonly firstToken: number
  /** In the batch, where the model's distribution can be read. */
  readonly positions: Uint32Array
}

interface Pick {
  readonly token: number
  readonly probabilities: TokenProbabilities | undefined
}

function overloaded(code: 'capacity.overloaded' | 'capacity.draining', text: string): Fault {
  return new Fault({
    code,
    public: `${text} Try again shortly.`,
    retryAfterMs: overloadedRetryMs,
  })
}
