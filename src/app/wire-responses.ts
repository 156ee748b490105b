/** A gateway's kept responses: their store on a pool of its own, and the sweep of what no tenant wants kept any longer. */
import type { Clock } from '../platform/clock.ts'
import { toFault } from '../platform/fault.ts'
import type { Logger } from '../platform/log.ts'
import { openDatabase } from '../platform/postgres/database.ts'
import type { Seal } from '../platform/seal.ts'
import { openStoredResponses, type StoredResponses } from '../responses/responses.ts'
import { appDatabaseUrl, type Config } from './config.ts'

/** A client waits for it. */
const statementTimeoutMs = 5_000
const connectionsMax = 3
const sweepMs = 60_000

export interface ResponseKeeping {
  readonly stored: StoredResponses
  close(): Promise<void>
}

export function wireResponses(
  config: Config,
  given: {
    readonly name: string
    readonly seal: Seal
    readonly clock: Clock
    readonly log: Logger
  },
): ResponseKeeping {
  const { seal, clock, log } = given
  const database = openDatabase({
    url: appDatabaseUrl(config),
    connectionsMax,
    statementTimeoutMs,
    applicationName: `colonnade-${given.name}-responses`,
    onError: (error) => log.debug({ error }, 'a connection to the database ended'),
  })
  // As much as the files of a project may take, and beside them.
  const { projectBytesMax } = config.batch
  const stored = openStoredResponses({ database, seal, clock, projectBytesMax })

  let sweeping: Promise<void> | undefined
  const sweep = (): void => {
    sweeping = stored
      .sweep()
      .then(
        () => {},
        (error: unknown) => {
          const isAway = toFault(error).code === 'platform.database_unavailable'
          log[isAway ? 'debug' : 'warn']({ error }, 'outdated responses were not deleted')
        },
      )
      .then(() => {
        if (!isClosing) cancelSweep = clock.after(sweepMs, sweep)
      })
  }
  let isClosing = false
  let cancelSweep = clock.after(0, sweep)
  return {
    stored,
    async close() {
      isClosing = true
      cancelSweep()
      await sweeping
      await database.close()
    },
  }
}
