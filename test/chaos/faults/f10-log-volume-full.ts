import { setTimeout as sleep } from 'node:timers/promises'
import { isAlive } from '../../e2e/processes.ts'
import type { Fault } from '../fault.ts'
import { unless } from '../fault.ts'
import { logVariable } from '../injection/plan.ts'
import { openScene } from '../scene.ts'
import { findingOf, underLoad } from '../under-load.ts'

const secondsUnderLoad = 6

export const logVolumeFull: Fault = {
  id: 'f10',
  title: 'the volume of the logs is full',
  injection: 'standard error is /dev/full from the start, with the most talkative log level',
  expectation: 'serving and billing go on; the audit log is a table, so changes stay audited',
  async run({ random }) {
    await using scene = await openScene({
      random,
      environment: { [logVariable]: '/dev/full', COLONNADE_LOG_LEVEL: 'trace' },
    })
    const course = await underLoad(scene, {}, async () => {
      const pids = scene.gateways().map(({ pid }) => pid)
      // Its death is news, and so a line that cannot be written.
      process.kill(pids[0] ?? 0, 'SIGKILL')
      await scene.whole(pids.slice(0, 1))
      await sleep(secondsUnderLoad * 1_000)
      await scene.platform.control('POST', '/api/v1/tenants', { name: 'While the log is full' })
      const [entry] = await scene.books.query(
        "SELECT count(*)::text AS entries FROM audit_entries WHERE action = 'tenants.create'",
      )
      return [
        ...unless(isAlive(scene.platform.supervisorPid), 'the supervisor has ended'),
        ...unless(Number(entry?.['entries']) > 0, 'a change left no audit entry'),
      ]
    })
    return findingOf(course)
  },
}
