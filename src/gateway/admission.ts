/**
 * One admitted request: meters what it costs, and settles on every way out. The settlement is durable before the client hears of the end, and
 * what limits had reserved beyond it is free only then.
 */
import type { Hold, Progress } from '../billing/billing.ts'
import { rate } from '../billing/rating.ts'
import { decideUsage, type Metered } from '../billing/settlement.ts'
import { spentOf } from '../billing/spend.ts'
import type { BillableUsage, OpenedRequest, Outcome, SettledRequest } from '../billing/usage.ts'
import type {
  FinishCause,
  FinishReason,
  StreamPart,
  TaskKind,
  TokenUsage,
} from '../engines/engine.ts'
import type { Principal } from '../identity/principal.ts'
import type { Amounts, Extension, Grip } from '../limits/limits.ts'
import { assert } from '../platform/assert.ts'
import { toFault, type Fault } from '../platform/fault.ts'
import type { GatewayDeps } from './deps.ts'
import type { Exchange } from './exchange.ts'
import type { ClaimedLeg } from './idempotency.ts'
import { wholeAnswerTokens, type Bounds, type Forecast } from './forecast.ts'
import { toFacts } from './limit-fault.ts'
import { receiptHeader, wantsReceipt } from './receipt.ts'
import type { EngineAnswer } from './replicas.ts'
import type { OfferedModel } from './stages/resolve-model.ts'
import { unitsOf } from './units.ts'
import type { Work } from './work.ts'

/** Tokens longer than this are rare in any vocabulary. */
const deltaCharactersMax = 32
/** Learned ratios are kept as whole hundredths. */
export const ratioScale = 100
/** A stream takes more of its limits in steps of this. */
const stepTokens = 64
/** It takes the next step this far ahead, so that it seldom waits. */
const aheadTokens = 32

export interface AdmissionJob {
  readonly caller: Principal
  readonly model: OfferedModel
  readonly work: Work
  readonly exchange: Exchange
  readonly leg: ClaimedLeg
}

type AdmissionDeps = Pick<
  GatewayDeps,
  'billing' | 'clock' | 'metrics' | 'outputs' | 'inputs' | 'latencies' | 'receipts'
>

/** One admitted request. Leaving its scope settles it, if the end of the stream has not. */
export class Admission implements AsyncDisposable {
  readonly #hold: Hold
  readonly #opened: OpenedRequest
  readonly #grip: Grip
  readonly #bounds: Bounds
  readonly #forecast: Forecast
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
  #receipt: string | undefined
  /** Output tokens that its limits have reserved so far: none is passed on beyond them. */
  #reservedTokens: number
  /** Where a limit ended the answer: what came beyond was not passed on, and is not billed. */
  #cutAtTokens = Infinity

  constructor(
    admitted: {
      readonly hold: Hold
      readonly opened: OpenedRequest
      readonly grip: Grip
      readonly bounds: Bounds
      readonly forecast: Forecast
    },
    job: AdmissionJob,
    deps: AdmissionDeps,
  ) {
    this.#hold = admitted.hold
    this.#opened = admitted.opened
    this.#grip = admitted.grip
    this.#bounds = admitted.bounds
    this.#forecast = admitted.forecast
    this.#job = job
    this.#deps = deps
    this.#startedMs = job.exchange.startedMs
    this.#reservedTokens = this.#countReserved(admitted.forecast.outputTokens)
  }

  /**
   * Whether the engine shall stream, even if the client does not: only a stream tells what a cut answer cost. An answer that
   * fits into one progress window may come whole, which is cheaper, and loses no more than a crash may.
   */
  get streamsFromEngine(): boolean {
    return this.#job.work.streamed || this.#bounds.outputTokensMax > wholeAnswerTokens
  }

  /** Counts the parts as they pass. Finishes are held back until the settlement is durable; then they, the usage and the end go on. */
  async *meter(answer: EngineAnswer): AsyncGenerator<StreamPart> {
    this.#replicaId = answer.replicaId
    const finishes: StreamPart[] = []
    let isWhole = false
    try {
      for await (const part of answer.parts) {
        if (part.type === 'usage') this.#claim(part.usage)
        else if (part.type === 'choice-finish') finishes.push(part)
        else if (part.type === 'end') {
          isWhole = true
          if (this.#claimed && !isMeteredByUnits(this.#job.model.task.kind))
            this.#hold.noteEngine(this.#claimed)
          break
        } else {
          const durable = this.#count(part)
          if (durable) await durable
          const cause = this.#isCovered() ? undefined : await this.#takeMore()
          if (cause) {
            this.#cutAtTokens = this.#reservedTokens
            finishes.push(...this.#cut(finishes, cause))
            break
          }
          yield part
          if (this.#deltas > this.#bounds.outputTokensMax) {
            // The engine ignores max_tokens; the hold covers no more than this.
            finishes.push(...this.#cut(finishes))
            break
          }
        }
      }
    } catch (error) {
      this.#failure = toFault(error)
      throw error
    } finally {
      answer.closed(isWhole, this.#failure)
    }
    const usage = await this.#settle('completed')
    yield* finishes
    yield { type: 'usage', usage }
    yield { type: 'end' }
  }

  /** Signed; only once it is settled, and for a client that asks for it. */
  get receipt(): string | undefined {
    return this.#receipt
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#settled) return
    // No engine works for nobody.
    const outcome = this.#outcomeOfInterruption()
    this.#job.exchange.abort()
    await this.#settle(outcome)
  }

  /** Whether what has gone by, and a little more, is reserved. A whole answer is reserved whole. */
  #isCovered(): boolean {
    const { outputTokensMax } = this.#bounds
    if (this.#reservedTokens >= outputTokensMax) return true
    const ahead = Math.min(this.#passedTokens() + aheadTokens, outputTokensMax)
    if (this.#reservedTokens >= ahead) return true
    const step = this.#nextStep()
    const extension = this.#grip.tryExtend(step, step)
    if (extension) this.#noteExtension(extension)
    return this.#reservedTokens >= this.#passedTokens()
  }

  /** Takes what is passed on but not covered, and more where there is more. Tells why, when nothing is left. */
  async #takeMore(): Promise<FinishCause | undefined> {
    const missing = Math.max(1, this.#passedTokens() - this.#reservedTokens)
    const taken = await this.#grip.extend(this.#amountsOf(missing), this.#nextStep())
    if (taken.outcome === 'refused') return toFacts(taken.refusal)
    this.#noteExtension(taken)
    return undefined
  }

  #passedTokens(): number {
    return Math.max(this.#deltas, this.#estimatedTokens)
  }

  #nextStep(): Amounts {
    const behind = this.#passedTokens() - this.#reservedTokens
    const rest = this.#bounds.outputTokensMax - this.#reservedTokens
    return this.#amountsOf(Math.max(1, Math.min(Math.max(behind, 0) + stepTokens, rest)))
  }

  #amountsOf(tokens: number): Amounts {
    const amount = BigInt(tokens) * this.#forecast.outputTokenNanos
    return { output_tokens: BigInt(tokens), tokens: BigInt(tokens), amount }
  }

  #noteExtension(extension: Extension): void {
    if (extension.fresh.length > 0) this.#hold.noteTakes(extension.fresh)
    this.#reservedTokens = this.#countReserved(this.#reservedTokens + stepTokens)
  }

  /** As many output tokens as every hard limit has room reserved for; `wanted` where none bounds them. */
  #countReserved(wanted: number): number {
    const { inputTokens, outputTokenNanos, inputNanos } = this.#forecast
    const output = this.#grip.reserved('output_tokens')
    const both = this.#grip.reserved('tokens')
    const nanos = this.#grip.reserved('amount')
    const counts = [
      output,
      both === undefined ? undefined : both - BigInt(inputTokens),
      nanos === undefined || outputTokenNanos === 0n
        ? undefined
        : (nanos - inputNanos) / outputTokenNanos,
    ].filter((count) => count !== undefined)
    return counts.reduce(
      (least, count) => Math.min(least, Number(count)),
      counts.length > 0 ? Infinity : wanted,
    )
  }

  #claim(usage: TokenUsage): void {
    if (this.#claimed && usage.outputTokens < this.#claimed.outputTokens)
      this.#claimDecreased = true
    this.#claimed = usage
  }

  /** Returns what to wait for, if a crash could lose too much. */
  #count(part: StreamPart): Promise<void> | undefined {
    // Only what an engine generates token by token is counted by tokens.
    if (this.#job.work.choices === 0 || isUncounted(part)) return undefined
    if (this.#firstDeltaMs === undefined) {
      this.#firstDeltaMs = this.#deps.clock.monotonicMs()
      this.#deps.metrics.firstToken(this.#job.model.model.id, this.#firstDeltaMs - this.#startedMs)
    }
    this.#deltas += 1
    this.#estimatedTokens += tokensIn(part)
    if (part.type === 'reasoning-delta') this.#reasoningDeltas += 1
    return this.#hold.progress(this.#outputSoFar(), this.#describeProgress)
  }

  /** As `decideUsage` has it for an answer that is not whole. */
  #outputSoFar(): number {
    return Math.max(this.#deltas, this.#claimed?.outputTokens ?? 0)
  }

  readonly #describeProgress = (): Progress => ({
    usage: this.#decide(false).usage,
    replicaId: this.#replicaId,
  })

  #metered(): Metered {
    return {
      outputTokens: this.#deltas,
      estimatedOutputTokens: this.#estimatedTokens,
      reasoningTokens: this.#reasoningDeltas,
      claimDecreased: this.#claimDecreased,
    }
  }

  #decide(complete: boolean): { usage: BillableUsage; suspect: boolean } {
    if (isMeteredByUnits(this.#job.model.task.kind))
      return { usage: { ...noTokens, units: this.#job.work.units }, suspect: false }
    const { usage, suspect } = decideUsage({
      claimed: this.#claimed,
      metered: this.#metered(),
      estimatedInputTokens: this.#job.work.estimatedInputTokens,
      bounds: this.#bounds,
      complete,
    })
    const outputTokens = Math.min(usage.outputTokens, this.#cutAtTokens)
    const reasoningTokens = Math.min(usage.reasoningTokens, outputTokens)
    const units = unitsOf(this.#job.work, this.#job.model, usage.inputTokens)
    return { usage: { ...usage, outputTokens, reasoningTokens, ...(units && { units }) }, suspect }
  }

  #cut(finishes: readonly StreamPart[], cause?: FinishCause): StreamPart[] {
    const { work } = this.#job
    const { choices } = work
    const finished = new Set(finishes.flatMap((part) => ('choice' in part ? [part.choice] : [])))
    const reason: FinishReason = 'length'
    return Array.from({ length: choices }, (_, choice) => choice)
      .filter((choice) => !finished.has(choice))
      .map((choice) => ({ type: 'choice-finish', choice, reason, cause }))
  }

  #outcomeOfInterruption(): Outcome {
    if (this.#deltas === 0 && !this.#job.exchange.clientLeft) return 'voided'
    if (this.#job.exchange.clientLeft)
      return this.#replicaId === undefined ? 'voided' : 'client_left'
    if (this.#failure?.code === 'guardrail.blocked') return 'guardrail_stopped'
    // A whole answer that never became one: the client has not seen a byte of it, and its SDK asks again by itself.
    return this.#job.exchange.streamStarted ? 'upstream_failed' : 'voided'
  }

  /** Engines may count more than went by: what can still be had for it is taken, and the rest is not charged. */
  #coverClaims(usage: BillableUsage): void {
    const missing = (
      measure: 'output_tokens' | 'tokens' | 'input_tokens' | 'amount',
      spent: bigint,
    ): bigint => {
      const reserved = this.#grip.reserved(measure)
      return reserved === undefined || reserved >= spent ? 0n : spent - reserved
    }
    const amounts = {
      input_tokens: missing('input_tokens', BigInt(usage.inputTokens)),
      output_tokens: missing('output_tokens', BigInt(usage.outputTokens)),
      tokens: missing('tokens', BigInt(usage.inputTokens + usage.outputTokens)),
      amount: missing('amount', rate(this.#job.model.price, usage)),
    }
    const extension = this.#grip.tryExtend({}, amounts)
    if (extension && extension.fresh.length > 0) this.#hold.noteTakes(extension.fresh)
  }

  /** What the next requests like this one will reserve. */
  #learn(usage: TokenUsage, nowMs: number): void {
    const { caller, model, work } = this.#job
    if (this.streamsFromEngine && this.#firstDeltaMs !== undefined)
      this.#deps.latencies.learn(caller.apiKeyId, model.model.id, {
        timeToFirstTokenMs: this.#firstDeltaMs - this.#startedMs,
        durationMs: nowMs - this.#startedMs,
        outputTokens: usage.outputTokens,
      })
    if (work.choices > 0)
      this.#deps.outputs.learn(caller.apiKeyId, model.model.id, usage.outputTokens)
    const ratio = (usage.inputTokens / Math.max(1, work.estimatedInputTokens)) * ratioScale
    this.#deps.inputs.learn(caller.apiKeyId, model.model.id, Math.ceil(ratio))
  }

  /** What budgets have reserved for it, on top of what earlier legs were charged. */
  #chargeableNanos(): bigint | undefined {
    const reserved = this.#grip.reserved('amount')
    return reserved === undefined ? undefined : reserved + this.#opened.alreadyChargedNanos
  }

  /** The head of a stream may have gone; then the stream has it. */
  #giveReceipt(settled: SettledRequest): void {
    const { exchange } = this.#job
    if (!wantsReceipt(exchange)) return
    const { gatewayId } = this.#deps.billing
    this.#receipt = this.#deps.receipts.sign({ request: this.#opened, settled, gatewayId })
    exchange.addHeaders({ [receiptHeader]: this.#receipt })
  }

  async #settle(outcome: Outcome): Promise<BillableUsage> {
    assert(!this.#settled, 'a request is settled once')
    this.#settled = true
    const isVoided = outcome === 'voided'
    const { usage, suspect } = isVoided ? nothingServed : this.#decide(outcome === 'completed')
    if (!isVoided) this.#coverClaims(usage)
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
      amountMaxNanos: this.#chargeableNanos(),
      chargeLimits: (amountNanos) =>
        this.#grip.settle((measure) =>
          isVoided && measure !== 'requests' ? 0n : spentOf(measure, usage, amountNanos),
        ),
    })
    this.#grip.release()
    if (outcome === 'completed' && !suspect) this.#learn(usage, nowMs)
    this.#giveReceipt(settled)
    this.#deps.metrics.settled({
      model: this.#job.model.model.id,
      outcome,
      usage: settled.usage,
      decodeMs: this.#firstDeltaMs === undefined ? undefined : nowMs - this.#firstDeltaMs,
    })
    return settled.usage
  }
}

/** Names and verdicts: engines count the tokens behind them, which nobody sees go by. */
function isUncounted(part: StreamPart): boolean {
  return part.type === 'tool-call-start' || part.type === 'moderations'
}

/** Minutes heard, characters spoken and images drawn are what such work costs; an engine's tokens say nothing of it. */
function isMeteredByUnits(kind: TaskKind): boolean {
  return kind === 'transcription' || kind === 'speech' || kind === 'image'
}

const noTokens: TokenUsage = {
  inputTokens: 0,
  cachedInputTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
}
const nothingServed = { usage: noTokens, suspect: false } as const

/** A delta of a stream is a token; a long one, or a whole answer, is several: four characters each, as in English prose. */
function tokensIn(part: StreamPart): number {
  const text = 'text' in part ? part.text : 'arguments' in part ? part.arguments : ''
  return text.length <= deltaCharactersMax ? 1 : Math.ceil(text.length / 4)
}
