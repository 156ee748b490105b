/** The two instants around the record that decides a bill: just durable and nobody told, and not yet written. */
import type { Fault, FaultJob, Finding } from '../fault.ts'
import { unless } from '../fault.ts'
import type { Point } from '../injection/plan.ts'
import { openScene } from '../scene.ts'
import { findingOf, underLoad } from '../under-load.ts'
import { until } from '../../e2e/until.ts'

const rounds = 4
const passagesMax = 20
const fireTimeoutMs = 20_000

export const killAfterSettlement: Fault = {
  id: 'f2',
  title: 'kill -9 between the durable settlement and the end that the client sees',
  injection: `${rounds} times: the gateway dies in the write's return, before anybody is told`,
  expectation: 'the request is billed once as completed, though its client saw an error',
  run: (job) => killAt(job, 'settle.after-write'),
}

export const killBeforeSettlement: Fault = {
  id: 'f3',
  title: "kill -9 between the engine's end and the settlement",
  injection: `${rounds} times: the gateway dies with the settlement in hand, unwritten`,
  expectation: 'settled by rule: at most one progress window less than the engine emitted',
  run: (job) => killAt(job, 'settle.before-write'),
}

async function killAt({ random, say }: FaultJob, point: Point): Promise<Finding> {
  await using scene = await openScene({ random })
  const course = await underLoad(scene, {}, async () => {
    for (let round = 0; round < rounds; round += 1) {
      const gateway = 1 + (round % 2)
      const victim = scene.gateways().find(({ index }) => index === gateway)
      const armed = scene.arm(gateway, point, { do: 'kill' }, 1 + Math.floor(random() * passagesMax))
      await until(`gateway ${gateway} passes ${point}`, fireTimeoutMs, () => armed.fired)
      say(`gateway ${gateway} died at ${point}`)
      await scene.whole(victim ? [victim.pid] : [])
    }
    return []
  })
  const { seen, verdict } = course
  const completedIds = new Set(seen.filter((each) => each.completed).map((each) => each.requestId))
  const unseen = (await scene.books.usage()).filter(
    (row) => row.outcome === 'completed' && !completedIds.has(row.requestId),
  )
  const proven =
    point === 'settle.after-write'
      ? unless(unseen.length > 0, 'no request was billed whose end its client did not see')
      : unless(verdict.crashed > 0, 'no request was settled by rule')
  return findingOf({ ...course, broken: [...course.broken, ...proven] }, `${rounds} kills`)
}
