/**
 * A gateway's part in the work on batches. All gateways claim from one queue in the database, so the work goes on while any of them lives. It has the
 * lowest priority: each interactive request that is open takes a place from it, it starts nothing while requests wait for a limit, and it leaves half
 * of every limit that comes back to interactive requests.
 */
import type { BatchQueue, ClaimedLine } from '../../batches/queue.ts'
import type { Files } from '../../batches/files.ts'
import type { Principal } from '../../identity/principal.ts'
import { sleep } from '../../platform/clock.ts'
import { toFault } from '../../platform/fault.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Endpoint } from '../endpoint.ts'
import { pauseMsMax, judgeFailure } from './judge-failure.ts'
import type { BatchMetrics } from './metrics.ts'
import { runLine } from './run-line.ts'

export interface BatchWorker {
  /** Lines under way. */
  running(): number
  /** Begins nothing more; gives what is under way some time, ends it, and puts it back. */
  stop(): Promise<void>
}

export interface BatchWorkerOptions {
  readonly queue: BatchQueue
  readonly files: Pick<Files, 'sweep'>
  readonly endpoints: readonly Endpoint[]
  /** Places for lines while nobody else asks for anything. At least one is always there. */
  readonly linesAtOnce: number
  /** Requests of clients that are open on this gateway. */
  readonly openRequests: () => number
  readonly metrics: BatchMetrics
  readonly deps: GatewayDeps
}

const idleMs = 1_000
const failedTurnMs = 5_000
/** A third of the life of a claim. */
const keepClaimsMs = 20_000
const tidyMs = 5_000
const sweepMs = 60_000
const drainMs = 15_000
const noteRetryMs = 3_000
const noteTriesMax = 20
/** Keys reach all gateways within five seconds. */
const keysKnownMs = 10_000

export function startBatchWorker(options: BatchWorkerOptions): BatchWorker {
  const { queue, files, metrics, deps } = options
  const { clock, log } = deps
  const endpoints = new Map(options.endpoints.map((endpoint) => [endpoint.path, endpoint]))
  const running = new Map<ClaimedLine, Promise<void>>()
  const ending = new AbortController()
  let isStopping = false
  let turn: Promise<void> | undefined
  /** Something changed while a turn was under way. */
  let isWoken = false
  let cancelNext = (): void => {}
  let advancing: Promise<void> | undefined
  const dueMs = { tidy: 0, sweep: 0, claims: clock.monotonicMs() + keepClaimsMs }

  const isDue = (name: keyof typeof dueMs, everyMs: number): boolean => {
    const nowMs = clock.monotonicMs()
    if (nowMs < dueMs[name]) return false
    dueMs[name] = nowMs + everyMs
    return true
  }
  const freePlaces = (): number => {
    if (deps.isDraining() || deps.limits.waiting() > 0) return 0
    return Math.max(1, options.linesAtOnce - options.openRequests()) - running.size
  }
  const schedule = (inMs: number): void => {
    cancelNext()
    if (!isStopping) cancelNext = clock.after(inMs, begin)
  }
  const begin = (): void => {
    if (turn) {
      isWoken = true
      return
    }
    isWoken = false
    turn = takeTurn().then((waitMs) => {
      turn = undefined
      schedule(isWoken ? 0 : waitMs)
    })
  }

  /** Without the database nothing is lost: claims run out, and others, or the next turns, go on. */
  const tellFailure = (error: unknown, text: string): void => {
    const isAway = toFault(error).code === 'platform.database_unavailable'
    log[isAway ? 'debug' : 'warn']({ error }, text)
  }
  /** Never throws. Returns when to look again, if nothing happens before. */
  const takeTurn = async (): Promise<number> => {
    try {
      if (isDue('claims', keepClaimsMs) && running.size > 0)
        await queue.keepClaims([...running.keys()])
      if (isDue('tidy', tidyMs)) {
        await queue.tidy()
        metrics.waiting(await queue.countWaiting())
      }
      if (isDue('sweep', sweepMs)) await files.sweep()
      const places = freePlaces()
      const lines = places > 0 ? await queue.claimLines(places) : []
      for (const line of lines) start(line)
      advancing ??= advance().finally(() => {
        advancing = undefined
      })
      return lines.length > 0 && freePlaces() > 0 ? 0 : idleMs
    } catch (error) {
      tellFailure(error, 'batches rest for a moment')
      return failedTurnMs
    }
  }

  /** Checks inputs and writes outputs, one after the other. */
  const advance = async (): Promise<void> => {
    try {
      let hasMore = !deps.isDraining()
      while (hasMore && !isStopping) {
        hasMore = await queue.advanceBatch()
        if (hasMore) schedule(0)
      }
    } catch (error) {
      tellFailure(error, 'a batch was not advanced; it is tried again')
    }
  }

  const start = (line: ClaimedLine): void => {
    const work = runClaimed(line)
      .catch((error: unknown) => {
        // The claim runs out, and the line runs again, as a further leg.
        log.warn({ batchId: line.batchId, line: line.line, error }, 'a line’s end was not noted')
      })
      .finally(() => {
        running.delete(line)
        schedule(0)
      })
    running.set(line, work)
  }
  /** Tries for a while, because what was answered should not have to be made again. */
  const note = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    for (let tries = 1; ; tries += 1) {
      try {
        return await work()
      } catch (error) {
        const isAway = toFault(error).code === 'platform.database_unavailable'
        if (!isAway || tries === noteTriesMax || ending.signal.aborted) throw error
        await sleep(clock, noteRetryMs)
      }
    }
  }

  const runClaimed = async (line: ClaimedLine): Promise<void> => {
    const endpoint = endpoints.get(line.endpoint)
    const caller = await recall(line)
    if (!endpoint || !caller) return
    if (isHopeless(line, caller)) {
      await putBack(line, { costNothing: false, hasFailed: false, pause: hopelessPause })
      return
    }
    const { result, fault, costNothing } = await runLine(
      line,
      { endpoint, caller, signal: ending.signal },
      deps,
    )
    if (fault) {
      const verdict = judgeFailure(fault, {
        tries: line.tries,
        endsInMs: line.batchExpiresAtMs - clock.nowMs(),
        isEnding: ending.signal.aborted,
      })
      deps.metrics.failed(fault.code)
      if (fault.code === 'platform.bug')
        log.error(
          { batchId: line.batchId, line: line.line, error: fault.cause },
          'a line failed by a bug',
        )
      if (verdict.outcome === 'again') {
        await putBack(line, { costNothing, hasFailed: verdict.hasFailed, pause: verdict.pause })
        return
      }
    }
    const isNoted = await note(() => queue.finish(line, result))
    metrics.lineEnded(!isNoted ? 'lost' : result.failed ? 'failed' : 'completed')
  }

  const putBack = async (
    line: ClaimedLine,
    how: Parameters<BatchQueue['defer']>[1],
  ): Promise<void> => {
    await note(() => queue.defer(line, how))
    metrics.lineEnded('put_back')
  }

  /** Who the batch's key acts as now. A key that may do nothing any more ends the batch. */
  const recall = async (line: ClaimedLine): Promise<Principal | undefined> => {
    const known = deps.keys().recall(line.apiKeyId, clock.nowMs())
    if (known.outcome === 'accepted') return known.principal
    const isNews = clock.nowMs() - line.batchCreatedAtMs < keysKnownMs
    if (isNews) await putBack(line, { costNothing: false, hasFailed: false, pause: hopelessPause })
    else {
      await queue.stop(line.batchId, keyRefused)
      await queue.returnLine(line)
      log.info(
        { batchId: line.batchId, internal: known.reason },
        'a batch was stopped with its key',
      )
    }
    return undefined
  }

  /** Whether no engine serves its model, or more than half of a limit that comes back is taken: then it need not begin. */
  const isHopeless = (line: ClaimedLine, caller: Principal): boolean => {
    const model =
      line.modelName === undefined ? undefined : deps.catalogue().resolve(line.modelName)
    // What no waiting cures is an error of the line's, which says so.
    if (!model) return false
    const { tenantId, projectId, apiKeyId, allowedLocations } = caller
    const isServed = deps.replicas.plan(model.id, allowedLocations).length > 0
    if (!isServed && !deps.replicas.isDenied(model.id, allowedLocations)) return true
    const scope = { tenantId, projectId, apiKeyId, modelId: model.id }
    return deps.limits
      .standings(scope)
      .some(
        ({ rule, limit, remaining }) =>
          rule.enforcement !== 'shadow' &&
          (rule.measure === 'concurrency' || rule.window === 'minute' || rule.window === 'hour') &&
          remaining * 2n < limit,
      )
  }

  schedule(0)
  return {
    running: () => running.size,
    async stop() {
      isStopping = true
      cancelNext()
      await turn
      const cancelDrain = clock.after(drainMs, () => ending.abort())
      await Promise.allSettled([...running.values(), advancing])
      cancelDrain()
    },
  }
}

/** A limit that is half taken fills again within a minute or an hour, and engines come back. */
const hopelessPause = { msMin: 2_000, msMax: pauseMsMax }

const keyRefused = {
  code: 'invalid_api_key',
  message:
    'The API key of this batch was revoked, has expired, or its project is not active any more. What was done until then is in the output file.',
  line: null,
  param: null,
} as const
