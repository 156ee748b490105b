import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../e2e/until.ts'
import type { Fault } from '../fault.ts'
import { unless } from '../fault.ts'
import { openScene, type Scene } from '../scene.ts'
import { findingOf, underLoad } from '../under-load.ts'

const hourMs = 3_600_000
const jumps = [
  { name: '−1 h', ms: -hourMs },
  { name: '+1 day', ms: 24 * hourMs },
  { name: '+1 s, as a leap second', ms: 1_000 },
] as const
const betweenMs = 2_000
const fireTimeoutMs = 20_000
/** Used up soon after the jumps. */
const requestsToday = 400
const limitTimeoutMs = 30_000
const knownWithinMs = 5_000

export const clockJumps: Fault = {
  id: 'f35',
  title: 'the wall clock of a gateway jumps',
  injection: `${jumps.map(({ name }) => name).join('; ')}; in one of two gateways, under load, with a limit of ${requestsToday} requests a day`,
  expectation: 'no time-out, no lost or repeated bill, and no second window: the day stays one day',
  async run({ random, say }) {
    await using scene = await openScene({ random })
    // A price that begins after the moment is none: that is not what is asked here.
    await scene.books.query("UPDATE prices SET effective_from = effective_from - interval '2 days'")
    const ruleId = await limitToday(scene)
    await sleep(knownWithinMs)
    const course = await underLoad(scene, { leavingShare: 0 }, async (load) => {
      for (const { name, ms } of jumps) {
        const armed = scene.arm(1, 'open.after-write', { do: 'shift-clock', ms })
        await until('gateway 1 admits', fireTimeoutMs, () => armed.fired)
        say(`jumped by ${name}`)
        await sleep(betweenMs)
      }
      await until('the limit is reached', limitTimeoutMs, () =>
        load.seen.some(({ status }) => status === 429),
      )
      return []
    })
    const failed = course.seen.filter(({ completed, status }) => !completed && status !== 429)
    const served = course.seen.filter(({ completed }) => completed).length
    const windows = await scene.books.query(
      `SELECT window_start::text, sum(spent)::text AS spent FROM limit_leases WHERE rule_id = '${ruleId}' GROUP BY 1`,
    )
    const [row] = await scene.books.query(
      'SELECT count(*)::text AS jumped FROM usage_events WHERE abs(extract(epoch FROM settled_at - now())) > 1800',
    )
    const jumped = Number(row?.['jumped'])
    const broken = [
      ...course.broken,
      ...unless(failed.length === 0, `${failed.length} requests failed`),
      ...unless(jumped > 0, 'no record was dated after a jump'),
      ...unless(served === requestsToday, `${served} were served, the limit is ${requestsToday}`),
      ...unless(
        windows.length === 1 && windows[0]?.['spent'] === String(requestsToday),
        `the windows are ${JSON.stringify(windows)}`,
      ),
    ]
    return findingOf(
      { ...course, broken },
      `${jumped} records dated by a wrong clock`,
      `${served} served of ${requestsToday} allowed`,
    )
  },
}

async function limitToday({ platform, books }: Scene): Promise<string> {
  const [tenant] = await books.query('SELECT id FROM tenants LIMIT 1')
  // Its schema is documented in openapi.json.
  const rule = (await platform.control('POST', `/api/v1/tenants/${tenant?.['id']}/limits`, {
    measure: 'requests',
    window: 'day',
    limit: String(requestsToday),
  })) as { id: string }
  return rule.id
}
