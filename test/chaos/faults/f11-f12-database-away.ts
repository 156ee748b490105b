/** PostgreSQL is gone, or it is there and does not answer. `npm run outage` does the same for ten minutes. */
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../e2e/until.ts'
import type { Fault, FaultJob, Finding } from '../fault.ts'
import { unless } from '../fault.ts'
import { openScene, type Scene } from '../scene.ts'
import { findingOf, underLoad } from '../under-load.ts'

const awayMs = 20_000
const controlAnswerMsMax = 12_000
const servedShareMin = 0.999
const catchUpMsMax = 60_000

export const databaseStopped: Fault = {
  id: 'f11',
  title: 'PostgreSQL is stopped',
  injection: `shut down at once, without a checkpoint, and back after ${awayMs / 1_000} s`,
  expectation: 'requests are served from the snapshot; control says what is wrong; totals are exact',
  run: (job) =>
    away(job, {
      leave: (scene) => scene.database.stop(),
      comeBack: (scene) => scene.database.start(),
    }),
}

export const databaseHangs: Fault = {
  id: 'f12',
  title: 'PostgreSQL hangs',
  injection: `SIGSTOP to all its processes for ${awayMs / 1_000} s`,
  expectation: 'the same: no request waits for it, and each wait for it has an end',
  run: (job) =>
    away(job, {
      leave: (scene) => Promise.resolve(scene.database.signal('SIGSTOP')),
      comeBack: (scene) => Promise.resolve(scene.database.signal('SIGCONT')),
    }),
}

async function away(
  { random, say }: FaultJob,
  change: {
    readonly leave: (scene: Scene) => Promise<void>
    readonly comeBack: (scene: Scene) => Promise<void>
  },
): Promise<Finding> {
  await using scene = await openScene({ random })
  let served = 0
  let controlAnswerMs = 0
  let catchUpMs = 0
  const course = await underLoad(scene, {}, async (load) => {
    await change.leave(scene)
    const fromMs = performance.now()
    const answer = await askControl(scene)
    controlAnswerMs = performance.now() - fromMs
    await sleep(Math.max(0, awayMs - controlAnswerMs))
    const untilMs = performance.now()
    const during = load.seen.filter(({ startedMs }) => startedMs > fromMs && startedMs < untilMs)
    const good = during.filter(({ completed, left }) => completed || left)
    served = good.length / Math.max(1, during.length)
    await change.comeBack(scene)
    const backMs = performance.now()
    const ids = during.flatMap(({ requestId, status }) =>
      status === 200 && requestId !== undefined ? [requestId] : [],
    )
    await until('the ledger has caught up', catchUpMsMax, async () => {
      const known = new Set((await scene.books.usage()).map((row) => row.requestId))
      return ids.every((id) => known.has(id))
    })
    catchUpMs = performance.now() - backMs
    say(`control answered ${answer}; caught up after ${Math.round(catchUpMs)} ms`)
    return [
      ...unless(served >= servedShareMin, `only ${(served * 100).toFixed(2)} % were served`),
      ...unless(answer === 503, `control answered ${answer}`),
      ...unless(controlAnswerMs < controlAnswerMsMax, `control took ${controlAnswerMs} ms`),
    ]
  })
  return findingOf(
    course,
    `${(served * 100).toFixed(2)} % served`,
    `control refused after ${Math.round(controlAnswerMs)} ms`,
    `caught up in ${(catchUpMs / 1_000).toFixed(1)} s`,
  )
}

async function askControl({ platform }: Scene): Promise<number> {
  const response = await fetch(`${platform.ready.controlUrl}/api/v1/tenants`, {
    headers: { authorization: `Bearer ${platform.adminToken}` },
    signal: AbortSignal.timeout(2 * controlAnswerMsMax),
  })
  await response.text()
  return response.status
}
