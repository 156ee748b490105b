/**
 * Journals of gateways that this start has no more: `--gateways 2` yesterday, one today. What they hold is settled and brought to the
 * ledger before anything else starts, because no gateway would do it.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { openBilling } from '../billing/billing.ts'
import { reclaimAbandoned } from '../limits/limits.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Database } from '../platform/postgres/database.ts'
import type { Config } from './config.ts'

/** A journal that needs longer goes on at the next start. */
const drainMs = 30_000

export async function settleAbandonedJournals(
  config: Config,
  database: Database,
  clock: Clock,
  log: Logger,
): Promise<void> {
  const parent = join(config.dataDirectory, 'gateways')
  const names = existsSync(parent) ? readdirSync(parent) : []
  for (const name of names) {
    if (!(Number(name) > config.gateway.count)) continue
    const billing = await openBilling({
      directory: join(parent, name),
      segmentBytes: config.journal.segmentBytes,
      bytesMax: config.journal.bytesMax,
      database,
      clock,
      log,
      onFatal: (error) => log.error({ error }, `the journal of gateway ${name} cannot be written`),
    })
    try {
      if (await billing.drain(drainMs)) await reclaimAbandoned(database, billing.gatewayId)
      else log.warn({ lag: billing.lagEvents() }, `usage stays in the journal of gateway ${name}`)
    } finally {
      await billing.close()
    }
  }
}
