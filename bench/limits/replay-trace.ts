/** Plays a trace against one policy under a simulated clock: each request comes at its time, each token of an answer takes its time. */
import { createLoop, type Loop } from '../../sim/world/loop.ts'
import { createRandom } from '../../sim/world/random.ts'
import { createBucket } from './bucket.ts'
import type { Admitted, Policy, PolicyWorld } from './policy.ts'
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
  /** How far below empty the bucket has been, as a part of the limit. */
  readonly overdraft: number
  /** The most that passed in any 60 seconds, as a part of the limit. A full bucket and a minute's refill are two. */
  readonly busiestMinute: number
  /** Answers that ended before their last token. */
  readonly cut: number
  readonly tokensCut: number
  /** Of one limit at the start, and its refill until the last request came. */
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
  const { limitTokens } = options
  const bucket = createBucket(limitTokens, nowMs)
  const policy = createPolicy({ limitTokens, nowMs, bucket, loop })
  /** By the second since the start. */
  const passed = new Map<number, number>()
  const pass = (tokens: number): void => {
    const second = Math.floor(loop.nowMs / 1_000)
    passed.set(second, (passed.get(second) ?? 0) + tokens)
  }
  let [admitted, cut, tokensCut, longestWaitMs, underWay] = [0, 0, 0, 0, trace.length]

  const stream = async (request: TracedRequest, admission: Admitted): Promise<number> => {
    const length = Math.min(request.outputTokens, options.outputTokensMax)
    let tokens = 0
    while (tokens < length) {
      const covered = admission.covered(tokens)
      if (covered <= tokens) {
        if (await admission.more()) continue
        cut += 1
        tokensCut += length - tokens
        break
      }
      await loop.sleep(options.msPerToken)
      tokens += 1
      pass(1)
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
      pass(inputTokens)
      admission.end(await stream(request, admission))
    }
    underWay -= 1
  }

  for (const request of trace) loop.after(request.atMs - startMs, () => void serve(request))
  const isOver = await loop.runUntil(() => underWay === 0, Number.MAX_SAFE_INTEGER)
  if (!isOver) throw new Error('requests wait for ever')
  let isClosed = false
  void policy.close().then(() => (isClosed = true))
  await loop.runUntil(() => isClosed, Number.MAX_SAFE_INTEGER)
  const tokensServed = [...passed.values()].reduce((sum, tokens) => sum + tokens, 0)
  const minutes = ((trace.at(-1)?.atMs ?? startMs) - startMs) / 60_000
  return {
    policy: policy.name,
    requests: trace.length,
    admitted,
    tokensServed,
    overdraft: bucket.deepest() / limitTokens,
    busiestMinute: busiestMinute(passed) / limitTokens,
    cut,
    tokensCut,
    utilisation: tokensServed / (limitTokens * (1 + minutes)),
    longestWaitMs,
  }
}

function busiestMinute(passed: ReadonlyMap<number, number>): number {
  const seconds = [...passed.keys()]
  const inMinuteFrom = (start: number): number =>
    Array.from({ length: 60 }, (_, index) => passed.get(start + index) ?? 0).reduce(
      (sum, tokens) => sum + tokens,
      0,
    )
  return Math.max(0, ...seconds.map(inMinuteFrom))
}
