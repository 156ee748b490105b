/**
 * Takes what the request may cost, meters what it does cost, and settles on every way out. The hold is durable before the engine hears
 * of the request; the settlement is durable before the client hears of the end.
 */
import type { Hold } from '../../billing/billing.ts'
import { holdAmount } from '../../billing/rating.ts'
import { decideUsage, type Metered } from '../../billing/settlement.ts'
import type { Outcome } from '../../billing/usage.ts'
import type { FinishReason, StreamPart, TokenUsage } from '../../engines/engine.ts'
import type { Principal } from '../../identity/principal.ts'
import { assert } from '../../platform/assert.ts'
import { Fault, toFault } from '../../platform/fault.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Exchange } from '../exchange.ts'
import type { Work } from '../work.ts'
import type { EngineAnswer } from '../replicas.ts'
import type { OfferedModel } from './resolve-model.ts'

/** Progress is durable this often, so this is the most that a crash can leave unbilled. */
export const progressWindowTokens = 64
/** The longest tokens of common vocabularies are runs of 128 spaces. */
const tokenBytesMax = 128
/** Tokens longer than this are rare in any vocabulary. */
const deltaCharactersMax = 32
/** Holds need an end even where the catalogue knows no context window. */
const contextWindowTokensDefault = 131_072

interface AdmissionJob {
  readonly caller: Principal
  readonly model: OfferedModel
  readonly work: Work
  readonly exchange: Exchange
}

type AdmissionDeps = Pick<GatewayDeps, 'billing' | 'clock' | 'metrics' | 'log' | 'isDraining'>

export async function admit(job: AdmissionJob, deps: AdmissionDeps): Promise<Admission> {
  if (deps.isDraining()) {
    const text = 'This gateway is shutting down. Try again at once.'
    throw new Fault({ code: 'capacity.draining', public: text, retryAfterMs: 1_000 })
  }
  const { caller, model, work, exchange } = job
  const bounds = boundsOf(work, model)
  const hold = await deps.billing.open({
    requestId: exchange.requestId,
    leg: 0,
    tenantId: caller.tenantId,
    projectId: caller.projectId,
    apiKeyId: caller.apiKeyId,
    modelId: model.model.id,
    endpoint: work.endpoint,
    streamed: work.streamed,
    price: model.price,
    estimatedInputTokens: work.estimatedInputTokens,
    maxOutputTokens: bounds.outputTokensMax,
    heldNanos: holdAmount(model.price, work.inputTokensMax, bounds.outputTokensMax),
    startedAtMs: deps.clock.nowMs(),
  })
  return new Admission(hold, bounds, job, deps)
}

interface Bounds {
  readonly inputTokensMax: number
  readonly outputTokensMax: number
}

function boundsOf(work: Work, offered: OfferedModel): Bounds {
  const window = offered.model.contextWindowTokens ?? contextWindowTokensDefault
  const inputTokensMax = work.inputTokensMax
  refuseHopeless(work, offered.model.contextWindowTokens)
  if (work.kind === 'embedding') return { inputTokensMax, outputTokensMax: 0 }
  const asked = work.maxOutputTokens
  if (asked !== undefined && offered.model.contextWindowTokens !== undefined && asked > window) {
    throw new Fault({
      code: 'client.context_length_exceeded',
      public: `This model's context window is ${window} tokens, and you asked for ${asked} output tokens. Lower max_tokens.`,
      param: 'max_tokens',
    })
  }
  return { inputTokensMax, outputTokensMax: Math.min(asked ?? window, window) * work.choices }
}

/** A text that no vocabulary could press into the window never reaches a tokenizer, which may take seconds for it. */
function refuseHopeless(work: Work, window: number | undefined): void {
  if (window === undefined || work.longestTextBytes <= window * tokenBytesMax) return
  throw new Fault({
    code: 'client.context_length_exceeded',
    public: `This model's context window is ${window} tokens, and ${work.longestTextBytes} bytes of text cannot fit. Shorten it.`,
    param: work.kind === 'chat' ? 'messages' : 'input',
  })
}

/** One admitted request. Leaving its scope settles it, if the end of the stream has not. */
export class Admission implements AsyncDisposable {
  readonly #hold: Hold
  readonly #bounds: Bounds
  readonly #job: AdmissionJob
  readonly #deps: AdmissionDeps
  readonly #startedMs: number
  /** A delta is at least one token. */
  #deltas = 0
  #reasoningDeltas = 0
  /** The same, with long deltas counted by their text: better for bills, too unsure to cut by. */
  #estimatedTokens = 0
  #claimed: TokenUsage | undefined
  #claimDecreased = false
  #firstDeltaMs: number | undefined
  #replicaId: string | undefined
  #failure: Fault | undefined
  #settled = false

  constructor(hold: Hold, bounds: Bounds, job: AdmissionJob, deps: AdmissionDeps) {
    this.#hold = hold
    this.#bounds = bounds
    this.#job = job
    this.#deps = deps
    this.#startedMs = job.exchange.startedMs
  }

  /**
   * Whether the engine shall stream, even if the client does not: only a stream tells what a cut answer cost. An answer that
   * fits into one progress window may come whole, which is cheaper, and loses no more than a crash may.
   */
  get streamsFromEngine(): boolean {
    return this.#job.work.streamed || this.#bounds.outputTokensMax > progressWindowTokens
  }

  /** Counts the parts as they pass. Finishes are held back until the settlement is durable; then they, the usage and the end go on. */
  async *meter(answer: EngineAnswer): AsyncGenerator<StreamPart> {
    this.#replicaId = answer.replicaId
    const finishes: StreamPart[] = []
    try {
      for await (const part of answer.parts) {
        if (part.type === 'usage') this.#claim(part.usage)
        else if (part.type === 'choice-finish') finishes.push(part)
        else if (part.type === 'end') break
        else {
          this.#count(part)
          yield part
          if (this.#deltas > this.#bounds.outputTokensMax && part.type !== 'embeddings') {
            // The engine ignores max_tokens; the hold covers no more than this.
            finishes.push(...this.#cut(finishes))
            break
          }
        }
      }
    } catch (error) {
      this.#failure = toFault(error)
      throw error
    }
    const usage = await this.#settle('completed')
    yield* finishes
    yield { type: 'usage', usage }
    yield { type: 'end' }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#settled) return
    // No engine works for nobody.
    const outcome = this.#outcomeOfInterruption()
    this.#job.exchange.abort()
    await this.#settle(outcome)
  }

  #claim(usage: TokenUsage): void {
    if (this.#claimed && usage.outputTokens < this.#claimed.outputTokens)
      this.#claimDecreased = true
    this.#claimed = usage
    this.#hold.progress(this.#usageSoFar())
  }

  #count(part: StreamPart): void {
    if (part.type === 'embeddings' || part.type === 'tool-call-start') return
    if (this.#firstDeltaMs === undefined) {
      this.#firstDeltaMs = this.#deps.clock.monotonicMs()
      this.#deps.metrics.firstToken(this.#job.model.model.id, this.#firstDeltaMs - this.#startedMs)
    }
    this.#deltas += 1
    this.#estimatedTokens += tokensIn(part)
    if (part.type === 'reasoning-delta') this.#reasoningDeltas += 1
    if (!this.#claimed) this.#hold.progress(this.#usageSoFar())
  }

  #metered(): Metered {
    return {
      outputTokens: this.#deltas,
      estimatedOutputTokens: this.#estimatedTokens,
      reasoningTokens: this.#reasoningDeltas,
      claimDecreased: this.#claimDecreased,
    }
  }

  #decide(complete: boolean): { usage: TokenUsage; suspect: boolean } {
    return decideUsage({
      claimed: this.#claimed,
      metered: this.#metered(),
      estimatedInputTokens: this.#job.work.estimatedInputTokens,
      bounds: this.#bounds,
      complete,
    })
  }

  #usageSoFar(): TokenUsage {
    return this.#decide(false).usage
  }

  #cut(finishes: readonly StreamPart[]): StreamPart[] {
    const { work } = this.#job
    const choices = work.kind === 'chat' ? work.choices : 0
    const finished = new Set(finishes.flatMap((part) => ('choice' in part ? [part.choice] : [])))
    const reason: FinishReason = 'length'
    return Array.from({ length: choices }, (_, choice) => choice)
      .filter((choice) => !finished.has(choice))
      .map((choice) => ({ type: 'choice-finish', choice, reason }))
  }

  #outcomeOfInterruption(): Outcome {
    if (this.#deltas === 0 && !this.#job.exchange.clientLeft) return 'voided'
    if (this.#job.exchange.clientLeft)
      return this.#replicaId === undefined ? 'voided' : 'client_left'
    if (this.#failure?.code === 'guardrail.blocked') return 'guardrail_stopped'
    return 'upstream_failed'
  }

  async #settle(outcome: Outcome): Promise<TokenUsage> {
    assert(!this.#settled, 'a request is settled once')
    this.#settled = true
    const { usage, suspect } = this.#decide(outcome === 'completed')
    const nowMs = this.#deps.clock.monotonicMs()
    const settled = await this.#hold.settle({
      outcome,
      usage,
      usageSuspect: suspect,
      replicaId: this.#replicaId,
      timeToFirstTokenMs:
        this.#firstDeltaMs === undefined
          ? undefined
          : Math.round(this.#firstDeltaMs - this.#startedMs),
      durationMs: Math.round(nowMs - this.#startedMs),
    })
    this.#deps.metrics.settled({
      model: this.#job.model.model.id,
      outcome,
      usage: settled.usage,
      decodeMs: this.#firstDeltaMs === undefined ? undefined : nowMs - this.#firstDeltaMs,
    })
    return settled.usage
  }
}

/** A delta of a stream is a token; a long one, or a whole answer, is several: four characters each, as in English prose. */
function tokensIn(part: StreamPart): number {
  const text = 'text' in part ? part.text : 'arguments' in part ? part.arguments : ''
  return text.length <= deltaCharactersMax ? 1 : Math.ceil(text.length / 4)
}
