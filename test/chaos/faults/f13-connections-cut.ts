import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../e2e/until.ts'
import type { Fault } from '../fault.ts'
import { openScene } from '../scene.ts'
import { findingOf, underLoad } from '../under-load.ts'

const cuts = 30
const pauseMs = 150
const uncertain = 3
const fireTimeoutMs = 20_000

export const connectionsCut: Fault = {
  id: 'f13',
  title: 'connections to PostgreSQL break, also between COMMIT and its answer',
  injection: `${cuts} times pg_terminate_backend for all gateways; ${2 * uncertain} commits of unknown outcome`,
  expectation: 'what is uncertain is applied again, and changes nothing',
  async run({ random, say }) {
    await using scene = await openScene({ random })
    let ended = 0
    const course = await underLoad(scene, {}, async () => {
      for (let cut = 0; cut < cuts; cut += 1) {
        const rows = await scene.books.query(
          "SELECT pg_terminate_backend(pid)::text AS done FROM pg_stat_activity WHERE application_name LIKE 'colonnade-gateway%'",
        )
        ended += rows.length
        await sleep(pauseMs)
      }
      say(`${ended} connections ended`)
      for (let round = 0; round < uncertain; round += 1) {
        for (const gateway of [1, 2]) {
          const armed = scene.arm(gateway, 'ledger.commit-sent', { do: 'drop' })
          await until(`gateway ${gateway} commits`, fireTimeoutMs, () => armed.fired)
        }
      }
      return []
    })
    return findingOf(course, `${ended} connections ended`, `${2 * uncertain} uncertain commits`)
  },
}
