import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../e2e/until.ts'
import type { Fault } from '../fault.ts'
import { unless } from '../fault.ts'
import { openScene } from '../scene.ts'
import { findingOf, underLoad } from '../under-load.ts'

const hourMs = 3_600_000
const jumps = [
  { name: '-1 h', ms: -hourMs },
  { name: '+1 day', ms: 24 * hourMs },
  { name: '+1 s, as a leap second', ms: 1_000 },
] as const
const betweenMs = 2_000
const fireTimeoutMs = 20_000

export const clockJumps: Fault = {
  id: 'f35',
  title: 'the wall clock of a gateway jumps',
  injection: `${jumps.map(({ name }) => name).join('; ')}; in one of two gateways, under load`,
  expectation: 'no time-out, no lost or repeated bill; the order in the ledger is the journal’s',
  async run({ random, say }) {
    await using scene = await openScene({ random })
    // A price that begins after the moment is none: that is not what is asked here.
    await scene.books.query("UPDATE prices SET effective_from = effective_from - interval '2 days'")
    await sleep(betweenMs)
    const course = await underLoad(scene, {}, async (load) => {
      for (const { name, ms } of jumps) {
        const armed = scene.arm(1, 'journal.write', { do: 'shift-clock', ms })
        await until('gateway 1 writes', fireTimeoutMs, () => armed.fired)
        say(`jumped by ${name}`)
        await sleep(betweenMs)
      }
      const failed = load.seen.filter(({ completed, left }) => !completed && !left)
      return unless(failed.length === 0, `${failed.length} requests failed`)
    })
    const [row] = await scene.books.query(
      "SELECT count(*)::text AS jumped FROM usage_events WHERE abs(extract(epoch FROM settled_at - now())) > 1800",
    )
    const jumped = Number(row?.['jumped'])
    return findingOf(
      { ...course, broken: [...course.broken, ...unless(jumped > 0, 'no record was dated after a jump')] },
      `${jumped} records dated by a wrong clock`,
    )
  },
}
