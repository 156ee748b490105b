/** Plays a trace against one policy under a simulated clock: each request comes at its time, each token of an answer takes its time. */
import { createLoop, type Loop } from '../../sim/world/loop.ts'
import { createRandom } from '../../sim/world/random.ts'
import {
  add,
  windowMs,
  windowStart,
  type Admitted,
  type Policy,
  type PolicyWorld,
} from './policy.ts'
import type { TracedRequest } from './trace.ts'

export interface ReplayOptions {
  readonly limitTokens: number
  /** What every request asks for; the trace does not tell. */
  readonly outputTokensMax: number
  readonly msPerToken: number
}

export interface ReplayResult {
  readonly policy: string
  readonly requests: number
  readonly admitted: number
  readonly tokensServed: number
  /** The largest excess of what was charged to one window, as a part of the limit. */
  readonly overdraft: number
  /** The same, of what passed in one window by the clock: an answer that was reserved in one window may run into the next. */
  readonly passedOver: number
  /** Answers that ended before their last token. */
  readonly cut: number
  readonly tokensCut: number
  /** Of the limit in all windows that lie within the trace. */
  readonly utilisation: number
  readonly longestWaitMs: number
}

export async function replayTrace(
  trace: readonly TracedRequest[],
  createPolicy: (world: PolicyWorld & { readonly loop: Loop }) => Policy,
  options: ReplayOptions,
): Promise<ReplayResult> {
  const loop = createLoop(createRandom(1))
  const startMs = trace[0]?.atMs ?? 0
  const nowMs = (): number => startMs + loop.nowMs
  const policy = createPolicy({ limitTokens: options.limitTokens, nowMs, loop })
  const passed = new Map<number, number>()
  let [admitted, cut, tokensCut, longestWaitMs, underWay] = [0, 0, 0, 0, trace.length]

  const stream = async (request: TracedRequest, admission: Admitted): Promise<number> => {
    const length = Math.min(request.outputTokens, options.outputTokensMax)
    let tokens = 0
    while (tokens < length) {
      const covered = admission.covered(tokens)
      if (covered <= tokens) {
        if (await admission.more(tokens)) continue
        cut += 1
        tokensCut += length - tokens
        break
      }
      await loop.sleep(options.msPerToken)
      tokens += 1
      add(passed, windowStart(nowMs()), 1)
    }
    return tokens
  }
  const serve = async (request: TracedRequest): Promise<void> => {
    const { inputTokens } = request
    const cameMs = loop.nowMs
    const admission = await policy.admit({ inputTokens, outputTokensMax: options.outputTokensMax })
    longestWaitMs = Math.max(longestWaitMs, loop.nowMs - cameMs)
    if (admission) {
      admitted += 1
      add(passed, windowStart(nowMs()), inputTokens)
      admission.end(await stream(request, admission))
    }
    underWay -= 1
  }

  for (const request of trace) loop.after(request.atMs - startMs, () => void serve(request))
  const isOver = await loop.runUntil(() => underWay === 0, Number.MAX_SAFE_INTEGER)
  if (!isOver) throw new Error('requests wait for ever')
  const charged = policy.charged()
  let isClosed = false
  void policy.close().then(() => (isClosed = true))
  await loop.runUntil(() => isClosed, Number.MAX_SAFE_INTEGER)
  return {
    policy: policy.name,
    requests: trace.length,
    admitted,
    tokensServed: sumOf(passed),
    overdraft: excessOf(charged, options.limitTokens),
    passedOver: excessOf(passed, options.limitTokens),
    cut,
    tokensCut,
    utilisation: utilisationOf(charged, trace, options.limitTokens),
    longestWaitMs,
  }
}

function excessOf(counts: ReadonlyMap<number, number>, limitTokens: number): number {
  return Math.max(0, ...[...counts.values()].map((count) => count - limitTokens)) / limitTokens
}

function utilisationOf(
  charged: ReadonlyMap<number, number>,
  trace: readonly TracedRequest[],
  limitTokens: number,
): number {
  const first = windowStart(trace[0]?.atMs ?? 0) + windowMs
  const last = windowStart(trace.at(-1)?.atMs ?? 0)
  const whole = [...charged].filter(([start]) => start >= first && start < last)
  return sumOf(new Map(whole)) / (limitTokens * ((last - first) / windowMs))
}

function sumOf(counts: ReadonlyMap<number, number>): number {
  return [...counts.values()].reduce((sum, count) => sum + count, 0)
}
