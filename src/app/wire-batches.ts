/** A gateway's files and batches: their stores on a pool of their own, and the worker that runs lines beside the gateway's requests. */
import { openBatches, type Batches } from '../batches/batches.ts'
import { openFiles, type Files } from '../batches/files.ts'
import { openBatchQueue } from '../batches/queue.ts'
import { batchEndpoints } from '../gateway/batch-worker/endpoints.ts'
import { createBatchMetrics } from '../gateway/batch-worker/metrics.ts'
import { startBatchWorker, type BatchWorker } from '../gateway/batch-worker/worker.ts'
import type { GatewayDeps } from '../gateway/deps.ts'
import { endpoints } from '../gateway/routes.ts'
import type { Clock } from '../platform/clock.ts'
import { newId } from '../platform/ids.ts'
import type { Logger } from '../platform/log.ts'
import { openDatabase } from '../platform/postgres/database.ts'
import type { Seal } from '../platform/seal.ts'
import { appDatabaseUrl, type Config } from './config.ts'

/** A chunk of a file, or a thousand lines, in one statement. */
const statementTimeoutMs = 10_000

export interface BatchWork {
  readonly files: Files
  readonly batches: Batches
  /** Begins to work, if this gateway shall. */
  start(deps: GatewayDeps, openRequests: () => number): void
  renderMetrics(): Promise<string>
  /** Ends the work, not the stores. */
  stop(): Promise<void>
  close(): Promise<void>
}

export function wireBatches(
  config: Config,
  given: {
    readonly name: string
    readonly seal: Seal
    readonly clock: Clock
    readonly log: Logger
  },
): BatchWork {
  const { seal, clock, log } = given
  const database = openDatabase({
    url: appDatabaseUrl(config),
    connectionsMax: 3,
    statementTimeoutMs,
    applicationName: `colonnade-${given.name}-batches`,
    onError: (error) => log.debug({ error }, 'a connection to the database ended'),
  })
  const { linesAtOnce, projectBytesMax } = config.batch
  const allowed = batchEndpoints(endpoints)
  const files = openFiles({ database, seal, clock, projectBytesMax })
  let worker: BatchWorker | undefined
  const metrics = createBatchMetrics(() => worker?.running() ?? 0)
  return {
    files,
    batches: openBatches({ database, seal, clock, endpoints: allowed.map(({ path }) => path) }),
    start(deps, openRequests) {
      if (linesAtOnce === 0) return
      const queue = openBatchQueue({ database, files, seal, clock, workerId: newId('lif') })
      const work = { queue, files, endpoints: allowed, metrics, deps }
      worker = startBatchWorker({ ...work, linesAtOnce, openRequests })
    },
    renderMetrics: () => metrics.render(),
    stop: async () => worker?.stop(),
    close: () => database.close(),
  }
}
