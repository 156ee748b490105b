/** PostgreSQL is gone, or it is there and does not answer. `npm run outage` does the same for ten minutes. */
import type { Fault, FaultJob, Finding } from '../fault.ts'
import { outage, type OutageOptions } from '../outage.ts'
import { findingOf } from '../under-load.ts'

const awayMs = 20_000
const warmMs = 4_000
const ratePerSecond = 50

export const databaseStopped: Fault = {
  id: 'f11',
  title: 'PostgreSQL is stopped',
  injection: `shut down at once, without a checkpoint, and back after ${awayMs / 1_000} s; limits are on`,
  expectation:
    'requests are served from the snapshot; control says what is wrong; totals are exact',
  run: (job) =>
    away(job, {
      leave: (scene) => scene.database.stop(),
      comeBack: (scene) => scene.database.start(),
    }),
}

export const databaseHangs: Fault = {
  id: 'f12',
  title: 'PostgreSQL hangs',
  injection: `SIGSTOP to all its processes for ${awayMs / 1_000} s; limits are on`,
  expectation: 'the same: no request waits for it, and each wait for it has an end',
  run: (job) =>
    away(job, {
      leave: (scene) => Promise.resolve(scene.database.signal('SIGSTOP')),
      comeBack: (scene) => Promise.resolve(scene.database.signal('SIGCONT')),
    }),
}

async function away(
  { random, say }: FaultJob,
  change: Pick<OutageOptions, 'leave' | 'comeBack'>,
): Promise<Finding> {
  const result = await outage({ ...change, random, say, ratePerSecond, warmMs, awayMs })
  return findingOf(
    result,
    `${(result.servedShare * 100).toFixed(2)} % served`,
    `control refused after ${Math.round(result.controlAnswerMs)} ms`,
    `caught up in ${(result.catchUpMs / 1_000).toFixed(1)} s`,
  )
}
