import { until } from '../../e2e/until.ts'
import type { Fault } from '../fault.ts'
import type { Point } from '../injection/plan.ts'
import { openScene } from '../scene.ts'
import { findingOf, underLoad } from '../under-load.ts'

const instants: readonly Point[] = [
  'ledger.before-commit',
  'ledger.commit-sent',
  'ledger.after-commit',
]
const fireTimeoutMs = 20_000

export const killInLedgerTransaction: Fault = {
  id: 'f4',
  title: 'kill -9 in the middle of the transaction that fills the ledger',
  injection: 'applied and not committed; COMMIT sent and not answered; answered and not noted',
  expectation: 'each event is in the ledger exactly once',
  async run({ random, say }) {
    await using scene = await openScene({ random })
    const course = await underLoad(scene, {}, async () => {
      for (const gateway of [1, 2]) {
        for (const point of instants) {
          const victim = scene.gateways().find(({ index }) => index === gateway)
          const armed = scene.arm(gateway, point, { do: 'kill' }, 2)
          await until(`gateway ${gateway} passes ${point}`, fireTimeoutMs, () => armed.fired)
          say(`gateway ${gateway} died at ${point}`)
          await scene.whole(victim ? [victim.pid] : [])
        }
      }
      return []
    })
    return findingOf(course, `${2 * instants.length} kills`)
  },
}
