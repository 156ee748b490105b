/** Applies all journals to the ledger again, from their first record on: nothing may change. */
import type { Scene } from '../chaos/scene.ts'
import { until } from '../e2e/until.ts'
import type { JournalArchive } from './journal-archive.ts'

const replayTimeoutMs = 600_000

/** Sums over all that a journal may change. */
const contents = [
  'SELECT count(*)::text AS rows, coalesce(sum(amount_nanos), 0)::text AS amount, coalesce(sum(input_tokens + output_tokens), 0)::text AS tokens FROM usage_events',
  'SELECT count(*)::text AS rows FROM ledger_transactions',
  'SELECT count(*)::text AS rows, coalesce(sum(abs(amount_nanos)), 0)::text AS amount FROM ledger_entries',
  'SELECT id, balance_nanos::text FROM ledger_accounts ORDER BY id',
  'SELECT rule_id, subject, sum(spent)::text AS spent FROM limit_leases GROUP BY 1, 2 ORDER BY 1, 2',
]
export interface Replayed {
  readonly events: number
  readonly faults: readonly string[]
}

export async function replay(
  scene: Scene,
  archive: JournalArchive,
  times: number,
  say: (line: string) => void,
): Promise<Replayed> {
  const faults: string[] = []
  let events = 0
  // In order, so that all of the journals is in the ledger.
  await scene.stopPlatform()
  const before = await read(scene)
  const ends = await checkpoints(scene)
  for (let time = 1; time <= times; time += 1) {
    archive.restore()
    await scene.books.query('UPDATE journal_checkpoints SET applied_sequence = 0')
    await scene.startPlatform()
    await until('all was applied again', replayTimeoutMs, async () => {
      const now = await checkpoints(scene)
      return [...ends].every(([gateway, sequence]) => (now.get(gateway) ?? 0) >= sequence)
    })
    const applied = [...ends.values()].reduce((sum, sequence) => sum + sequence, 0)
    events += applied
    await scene.stopPlatform()
    const after = await read(scene)
    say(`replay ${time} of ${times}: ${applied} events applied again`)
    if (after !== before) faults.push(`replay ${time} changed the ledger: ${before} → ${after}`)
  }
  await scene.startPlatform()
  return { events, faults }
}

async function read({ books }: Scene): Promise<string> {
  const tables = await Promise.all(contents.map((query) => books.query(query)))
  return JSON.stringify(tables)
}

async function checkpoints({ books }: Scene): Promise<ReadonlyMap<string, number>> {
  const rows = await books.query(
    'SELECT gateway_id, applied_sequence::text AS sequence FROM journal_checkpoints',
  )
  return new Map(rows.map((row) => [row['gateway_id'] ?? '', Number(row['sequence'])]))
}
