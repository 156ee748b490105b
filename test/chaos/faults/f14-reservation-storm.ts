import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { budgetRounds } from '../budget.ts'
import type { Fault } from '../fault.ts'
import { unless } from '../fault.ts'
import { below } from '../random.ts'
import { openScene, type Scene } from '../scene.ts'
import { findingOf, underLoad } from '../under-load.ts'

const stormMs = 12_000
const holdMs = 300
const rounds = 3
const concurrency = 200

export const reservationStorm: Fault = {
  id: 'f14',
  title: 'deadlocks and lock time-outs while everybody reserves',
  injection: `a third party locks accounts and counters in the opposite order, again and again; ${rounds} budgets are fought over by ${concurrency} requests each`,
  expectation:
    'repeated within bounds; no update is lost, none is made twice, no budget is overshot',
  async run({ random, say }) {
    await using scene = await openScene({ random })
    const before = await countDeadlocks(scene)
    const course = await underLoad(scene, {}, () =>
      lockInOppositeOrder(scene, 'ledger_accounts', 'id', AbortSignal.timeout(stormMs)),
    )
    const deadlocks = (await countDeadlocks(scene)) - before
    const budgets = await budgetRounds({
      rounds,
      concurrency,
      kills: 0,
      seed: below(random, 2 ** 31),
      say,
      meanwhile: async (other, signal) => {
        await lockInOppositeOrder(other, 'limit_counters', 'rule_id', signal)
      },
    })
    return findingOf(
      {
        ...course,
        broken: [
          ...budgets.faults,
          ...unless(deadlocks > 0, 'there was no deadlock, so nothing was proven'),
        ],
      },
      `${deadlocks} deadlocks`,
      `${budgets.served} of ${budgets.requests} served by their budgets, overshoot ${budgets.overshootNanos}`,
    )
  },
}

async function lockInOppositeOrder(
  scene: Scene,
  table: string,
  key: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const client = new pg.Client({ connectionString: scene.database.ownerUrl })
  await client.connect()
  try {
    while (!signal.aborted) {
      const { rows } = await client.query<{ id: string }>(
        `SELECT ${key} AS id FROM ${table} ORDER BY ${key} DESC LIMIT 4`,
      )
      await client.query('BEGIN')
      try {
        for (const { id } of rows) {
          await client.query(`SELECT 1 FROM ${table} WHERE ${key} = $1 FOR UPDATE`, [id])
          await sleep(holdMs)
        }
      } catch {
        // This side was chosen to give way; the other one goes on.
      }
      await client.query('ROLLBACK')
      await sleep(holdMs)
    }
  } finally {
    await client.end()
  }
  return []
}

async function countDeadlocks(scene: Scene): Promise<number> {
  const [row] = await scene.books.query(
    'SELECT deadlocks::text FROM pg_stat_database WHERE datname = current_database()',
  )
  return Number(row?.['deadlocks'])
}
