import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { Fault } from '../fault.ts'
import { unless } from '../fault.ts'
import { openScene, type Scene } from '../scene.ts'
import { findingOf, underLoad } from '../under-load.ts'

const stormMs = 12_000
const holdMs = 300

export const deadlocks: Fault = {
  id: 'f14',
  title: 'deadlocks and lock time-outs in the ledger',
  injection: 'a third party locks the same accounts in the opposite order, again and again',
  expectation: 'repeated within bounds; no update is lost, and none is made twice',
  async run({ random }) {
    await using scene = await openScene({ random })
    const before = await countDeadlocks(scene)
    let found = 0
    const course = await underLoad(scene, {}, async () => {
      await lockInOppositeOrder(scene)
      found = (await countDeadlocks(scene)) - before
      return unless(found > 0, 'there was no deadlock, so nothing was proven')
    })
    return findingOf(course, `${found} deadlocks`)
  },
}

async function lockInOppositeOrder(scene: Scene): Promise<void> {
  const client = new pg.Client({ connectionString: scene.database.ownerUrl })
  await client.connect()
  try {
    const { rows } = await client.query<{ id: string }>(
      'SELECT id FROM ledger_accounts ORDER BY id DESC',
    )
    const endMs = performance.now() + stormMs
    while (performance.now() < endMs) {
      await client.query('BEGIN')
      try {
        for (const { id } of rows) {
          await client.query('SELECT 1 FROM ledger_accounts WHERE id = $1 FOR UPDATE', [id])
          await sleep(holdMs)
        }
      } catch {
        // This side was chosen to give way; the other one goes on.
      }
      await client.query('ROLLBACK')
    }
  } finally {
    await client.end()
  }
}

async function countDeadlocks(scene: Scene): Promise<number> {
  const [row] = await scene.books.query(
    'SELECT deadlocks::text FROM pg_stat_database WHERE datname = current_database()',
  )
  return Number(row?.['deadlocks'])
}
