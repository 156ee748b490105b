/**
 * PostgreSQL goes away under steady load with limits on, and comes back: how many were served meanwhile, and how soon the ledger has
 * everything, exactly.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../e2e/until.ts'
import { unless } from './fault.ts'
import { hasRows, openScene, type Scene } from './scene.ts'
import { underLoad, type Course } from './under-load.ts'

export interface OutageOptions {
  readonly random: () => number
  readonly ratePerSecond: number
  /** Load before it, from which gateways learn how much they spend. */
  readonly warmMs: number
  readonly awayMs: number
  readonly leave: (scene: Scene) => Promise<void>
  readonly comeBack: (scene: Scene) => Promise<void>
  readonly say: (line: string) => void
}

export interface Outage extends Course {
  /** Of the requests that began while it was away. */
  readonly requests: number
  readonly served: number
  readonly servedShare: number
  /** How long control took to say that it cannot answer. */
  readonly controlAnswerMs: number
  readonly catchUpMs: number
}

const controlAnswerMsMax = 12_000
const servedShareMin = 0.999
const catchUpMsMax = 60_000
const progressMs = 30_000

/** None of these is ever reached. A window that begins during the outage has no lease yet: only an open rule lets it begin. */
const limits = [
  { per: 'tenant', measure: 'amount', window: 'month', limit: '1000000000000000' },
  { per: 'key', measure: 'tokens', window: 'day', limit: '100000000000' },
  { per: 'project', measure: 'concurrency', limit: '100000' },
  {
    per: 'key',
    measure: 'requests',
    window: 'minute',
    limit: '1000000',
    enforcement: 'soft',
    onOutage: 'open',
  },
]

export async function outage(options: OutageOptions): Promise<Outage> {
  const { ratePerSecond, awayMs, say } = options
  await using scene = await openScene({ random: options.random })
  const [tenant] = await scene.books.query('SELECT id FROM tenants LIMIT 1')
  for (const rule of limits)
    await scene.platform.control('POST', `/api/v1/tenants/${tenant?.['id']}/limits`, rule)

  const figures = { requests: 0, served: 0, servedShare: 0, controlAnswerMs: 0, catchUpMs: 0 }
  const course = await underLoad(scene, { ratePerSecond }, async (load) => {
    await sleep(options.warmMs)
    await options.leave(scene)
    const fromMs = performance.now()
    const answer = await askControl(scene)
    figures.controlAnswerMs = performance.now() - fromMs
    const leftMs = (): number => fromMs + awayMs - performance.now()
    while (leftMs() >= 1) {
      await sleep(Math.min(Math.ceil(leftMs()), progressMs))
      say(
        `away for ${Math.round((performance.now() - fromMs) / 1_000)} s; ${load.seen.length} requests`,
      )
    }
    const toMs = performance.now()
    const during = load.seen.filter(({ startedMs }) => startedMs > fromMs && startedMs < toMs)
    figures.requests = during.length
    figures.served = during.filter(({ completed, left }) => completed || left).length
    figures.servedShare = figures.served / Math.max(1, during.length)
    await options.comeBack(scene)
    figures.catchUpMs = await catchUp(scene, new Set(scene.engine.truth.keys()))
    say(`control answered ${answer}; caught up after ${Math.round(figures.catchUpMs)} ms`)
    return [
      ...unless(
        figures.servedShare >= servedShareMin,
        `only ${figures.served} of ${during.length} were served: ${failures(during)}`,
      ),
      ...unless(answer === 503, `control answered ${answer}`),
      ...unless(
        figures.controlAnswerMs < controlAnswerMsMax,
        `control took ${figures.controlAnswerMs} ms to say so`,
      ),
      ...unless(figures.catchUpMs < catchUpMsMax, 'the ledger had not caught up within a minute'),
    ]
  })
  return { ...course, ...figures }
}

function failures(seen: Course['seen']): string {
  const failed = seen.filter(({ completed, left }) => !completed && !left)
  const statuses = Map.groupBy(failed, ({ status }) => status ?? 'no answer')
  return [...statuses].map(([status, each]) => `${each.length} × ${status}`).join(', ')
}

/** Until everything that had reached the engine by now, and has ended, is in the ledger. */
async function catchUp(scene: Scene, ids: ReadonlySet<string>): Promise<number> {
  const backMs = performance.now()
  await until('the ledger has caught up', catchUpMsMax, async () => {
    if (!(await hasRows(scene.books, ids.size))) return false
    const known = new Set((await scene.books.usage()).map((row) => row.requestId))
    return [...ids].every((id) => known.has(id))
  }).catch(() => {
    // Said by the comparison of times.
  })
  return performance.now() - backMs
}

async function askControl({ platform }: Scene): Promise<number> {
  const response = await fetch(`${platform.ready.controlUrl}/api/v1/tenants`, {
    headers: { authorization: `Bearer ${platform.adminToken}` },
    signal: AbortSignal.timeout(2 * controlAnswerMsMax),
  })
  await response.text()
  return response.status
}
