/** Builds the control API from its modules, and gives it a life. */
import { readFileSync } from 'node:fs'
import { createReceiptSigner } from '../billing/receipt.ts'
import { createControl } from '../control/control.ts'
import { startReconcileJob } from '../jobs/reconcile.ts'
import { detectKind } from '../engines/detect.ts'
import { findAdapter } from '../engines/registry.ts'
import { createAnswerBook } from '../idempotency/answers.ts'
import { assert } from '../platform/assert.ts'
import { systemClock } from '../platform/clock.ts'
import { createLogger } from '../platform/log.ts'
import { openDatabase } from '../platform/postgres/database.ts'
import { appDatabaseUrl, isLoopback, type Config } from './config.ts'
import type { Role } from './lifecycle.ts'
import { loadSecrets, secretPath } from './secrets.ts'
import { listeningUrl } from './wire-gateway.ts'

export async function startControl(config: Config): Promise<Role> {
  const log = createLogger('control', config.logLevel)
  const secrets = loadSecrets(secretPath(config))
  const pepper = secrets.peppers.get(secrets.pepperVersion)
  assert(pepper, 'the current pepper is among the peppers')
  // On loopback nobody else listens in, and the agent need not know the certificate.
  const tls = isLoopback(config.control.host) ? undefined : config.tls
  const database = openDatabase({
    url: appDatabaseUrl(config),
    connectionsMax: 10,
    statementTimeoutMs: 10_000,
    applicationName: 'colonnade-control',
    onError: (error) => log.debug({ error }, 'a connection to the database ended'),
  })
  // A look at the whole ledger takes its time, and holds up nobody else.
  const jobsDatabase = openDatabase({
    url: appDatabaseUrl(config),
    connectionsMax: 1,
    statementTimeoutMs: 600_000,
    applicationName: 'colonnade-jobs',
    onError: (error) => log.debug({ error }, 'a connection to the database ended'),
  })
  const reconcileJob = startReconcileJob({ database: jobsDatabase, clock: systemClock, log })
  const app = createControl({
    database,
    openFindings: reconcileJob.openFindings,
    deps: {
      clock: systemClock,
      pepper: { version: secrets.pepperVersion, key: pepper },
      seal: secrets.atRest,
      receipts: createReceiptSigner(secrets.receiptSeed),
      findAdapter,
      detectKind,
    },
    answers: createAnswerBook(secrets.idempotency, secrets.atRest),
    peppers: secrets.peppers,
    log,
    hostNames: [...config.control.hostNames, config.control.host],
    tls: tls && { cert: readFileSync(tls.certPath), key: readFileSync(tls.keyPath) },
  })
  await app.listen({ host: config.control.host, port: config.control.port })
  return {
    name: 'control',
    url: listeningUrl(app.server.address(), config.control.host, tls !== undefined),
    drain: () => app.close(),
    async stop() {
      await reconcileJob.stop()
      await jobsDatabase.close()
      await database.close()
    },
  }
}
