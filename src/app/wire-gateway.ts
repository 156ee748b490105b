/** Builds a gateway from its modules, in the order of their dependencies, and gives it a life. */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { openBilling, type Billing } from '../billing/billing.ts'
import { createReceiptSigner } from '../billing/receipt.ts'
import { createCatalogue, type Catalogue } from '../catalog/catalogue.ts'
import type { Engine } from '../engines/engine.ts'
import { findAdapter } from '../engines/registry.ts'
import { engineKeyContext, type ReplicaRecord } from '../fleet/fleet.ts'
import type { GatewayDeps } from '../gateway/deps.ts'
import { createGateway } from '../gateway/gateway.ts'
import { createLatencyEstimator } from '../gateway/latency-estimate.ts'
import { createGatewayMetrics } from '../gateway/metrics.ts'
import { createReplicas } from '../gateway/replicas.ts'
import { keepSnapshot, type SnapshotRecords } from '../gateway/snapshot.ts'
import { createAnswerBook } from '../idempotency/answers.ts'
import { openIdempotency } from '../idempotency/idempotency.ts'
import { recordKeyUse } from '../identity/identity.ts'
import { createKeyDirectory, type KeyDirectory } from '../identity/key-directory.ts'
import { createKeyRecords } from '../identity/key-records.ts'
import { leaseAuthority, openLimits, type Limits } from '../limits/limits.ts'
import { createOutputEstimator } from '../limits/output-estimate.ts'
import { sleep, systemClock } from '../platform/clock.ts'
import { assert } from '../platform/assert.ts'
import { Fault } from '../platform/fault.ts'
import { newId } from '../platform/ids.ts'
import { createLogger } from '../platform/log.ts'
import { openDatabase, platformScope } from '../platform/postgres/database.ts'
import { listen } from '../platform/postgres/listen.ts'
import type { Seal } from '../platform/seal.ts'
import { appDatabaseUrl, type Config } from './config.ts'
import type { Role } from './lifecycle.ts'
import { loadSecrets, secretPath } from './secrets.ts'
import { wireBatches } from './wire-batches.ts'
import { wireResponses } from './wire-responses.ts'

const exchangeLimits = { bodyTimeoutMs: 30_000, stalledReaderMs: 30_000, totalTimeoutMs: 3_600_000 }
const keyUseFlushMs = 60_000
const idleSweepMs = 100
const leaseTimeoutMs = 2_000
const idempotencyTimeoutMs = 2_000
const reclaimRetryMs = 1_000
/** Pairs of key and model whose answers are learned from: some 20 MB. */
const estimatorEntriesMax = 50_000
/** After its streams have ended, a gateway stays this long to bring the rest of its journal to the ledger. */
const shipTimeoutMs = 10_000

export async function startGateway(config: Config): Promise<Role> {
  const { gateway: settings } = config
  const name = `gateway ${settings.index}`
  const log = createLogger(name, config.logLevel)
  const clock = systemClock
  const secrets = loadSecrets(secretPath(config))
  const directory = join(config.dataDirectory, 'gateways', String(settings.index))
  const databaseUrl = appDatabaseUrl(config)
  const database = openDatabase({
    url: databaseUrl,
    connectionsMax: 3,
    statementTimeoutMs: 5_000,
    applicationName: `colonnade-${name}`,
    onError: (error) => log.debug({ error }, 'a connection to the database ended'),
  })
  // Of its own, so that requests that wait for a lease never wait behind the ledger.
  const leaseDatabase = openDatabase({
    url: databaseUrl,
    connectionsMax: 2,
    statementTimeoutMs: leaseTimeoutMs,
    applicationName: `colonnade-${name}-limits`,
    onError: (error) => log.debug({ error }, 'a connection to the database ended'),
  })
  const billing = await openBilling({
    directory,
    segmentBytes: config.journal.segmentBytes,
    bytesMax: config.journal.bytesMax,
    database,
    clock,
    log,
    onFatal(error) {
      log.fatal(
        { error },
        'the journal failed: this gateway can promise nothing any more, and ends',
      )
      // Who waits is answered first.
      setTimeout(() => process.exit(1), 1_000)
    },
  })

  // Opened with the first request that carries a key.
  const keyedDatabase = openDatabase({
    url: databaseUrl,
    connectionsMax: 4,
    statementTimeoutMs: idempotencyTimeoutMs,
    applicationName: `colonnade-${name}-idempotency`,
    onError: (error) => log.debug({ error }, 'a connection to the database ended'),
  })
  let lifeId = ''
  const limits = openLimits({
    authority: leaseAuthority(leaseDatabase),
    clock,
    timeZone: config.timeZone,
    gatewayId: billing.gatewayId,
    newLifeId: () => (lifeId = newId('lif')),
    onFailure: (error) => log.debug({ error }, 'the authority over limits does not answer'),
  })
  const limitListener = listen({
    url: databaseUrl,
    channel: 'limits',
    onNotice: limits.heard,
    onError: (error) => log.debug({ error }, 'not listening for recalls'),
  })
  reclaimLeases(billing, limits).catch((error: unknown) =>
    log.warn({ error }, 'leases of the last run were not reclaimed; the next start does it'),
  )

  const idempotency = openIdempotency({
    database: keyedDatabase,
    secret: secrets.idempotency,
    gatewayId: billing.gatewayId,
    lifeId: () => lifeId,
    clock,
    log,
  })

  const batchWork = wireBatches(config, { name, seal: secrets.atRest, clock, log })
  const responses = wireResponses(config, { name, seal: secrets.atRest, clock, log })

  let keys: KeyDirectory = createKeyDirectory(createKeyRecords(), secrets.peppers)
  let catalogue: Catalogue = createCatalogue({ models: [], aliases: [], prices: [] })
  const replicas = createReplicas({
    clock,
    connect: (record) => connectEngine(record, secrets.atRest),
    onCloseError: (error) => log.warn({ error }, 'an engine connection did not close'),
  })
  let applied: SnapshotRecords | undefined
  let snapshotAgeMs = (): number => 0
  let draining = false
  const keyUses = new Map<string, number>()

  const metrics = createGatewayMetrics({
    openRequests: () => gateway.openRequests(),
    journalLagRecords: billing.lagEvents,
    journalBytes: billing.journalBytes,
    snapshotAgeMs: () => snapshotAgeMs(),
    inFlight: replicas.inFlight,
    limitWaiters: () => limits.waiting(),
    limitsAway: () => limits.isAway(),
  })
  const deps: GatewayDeps = {
    keys: () => keys,
    catalogue: () => catalogue,
    replicas,
    billing,
    limits,
    outputs: createOutputEstimator({ entriesMax: estimatorEntriesMax }),
    inputs: createOutputEstimator({ entriesMax: estimatorEntriesMax }),
    latencies: createLatencyEstimator({ entriesMax: estimatorEntriesMax }),
    idempotency,
    answers: createAnswerBook(secrets.idempotency, secrets.atRest),
    files: batchWork.files,
    batches: batchWork.batches,
    responses: responses.stored,
    receipts: createReceiptSigner(secrets.receiptSeed),
    quotaStatus: settings.quotaStatus,
    fieldPolicy: { unknown: settings.unknownFields, forwarded: settings.forwardedFields },
    metrics,
    clock,
    log,
    keyUsed: (apiKeyId) => keyUses.set(apiKeyId, clock.nowMs()),
    isDraining: () => draining,
    cacheSalt: secrets.cacheSalt,
    sealFor: secrets.sealFor,
  }
  const gateway = createGateway(
    {
      limits: { ...exchangeLimits, bodyBytesMax: settings.bodyBytesMax },
      corsOrigins: settings.corsOrigins,
      openRequestsMax: settings.openRequestsMax,
      tls: config.tls && {
        cert: readFileSync(config.tls.certPath),
        key: readFileSync(config.tls.keyPath),
      },
    },
    deps,
  )
  const snapshot = await keepSnapshot({
    database,
    databaseUrl,
    path: join(directory, 'snapshot'),
    seal: secrets.snapshot,
    clock,
    log,
    apply(records: SnapshotRecords) {
      keys = createKeyDirectory(records.keys, secrets.peppers)
      if (records.catalog !== applied?.catalog) catalogue = createCatalogue(records.catalog)
      if (records.replicas !== applied?.replicas) replicas.apply(records.replicas)
      if (records.limits !== applied?.limits) limits.apply(records.limits)
      applied = records
    },
  })
  snapshotAgeMs = snapshot.ageMs
  const flushKeyUses = async (): Promise<void> => {
    const uses = [...keyUses].map(([apiKeyId, usedAtMs]) => ({ apiKeyId, usedAtMs }))
    keyUses.clear()
    if (uses.length > 0) await database.transaction(platformScope, (tx) => recordKeyUse(tx, uses))
  }
  const flushTimer = setInterval(() => {
    flushKeyUses().catch((error: unknown) =>
      log.debug({ error }, 'last uses of keys were not noted'),
    )
  }, keyUseFlushMs)

  // Several gateways listen on one port, and the kernel deals the connections out. Fastify hands the option to Node unnamed.
  const { host, port } = settings
  const address = { host, port, backlog: 1_024, reusePort: settings.count > 1 }
  await gateway.app.listen(address)
  const metricsServer = await listenForMetrics(
    settings.metricsPort,
    async () => `${await metrics.render()}${await batchWork.renderMetrics()}`,
    metrics.contentType,
  )
  batchWork.start(deps, gateway.openRequests)
  log.info({ metrics: metricsServer.url, gatewayId: billing.gatewayId }, 'listening')

  return {
    name,
    url: listeningUrl(gateway.app.server.address(), settings.host, config.tls !== undefined),
    metricsUrl: metricsServer.url,
    async drain() {
      draining = true
      // A connection that was busy at the first look turns idle with its answer, and its client may keep it for ever.
      const sweep = setInterval(() => gateway.app.server.closeIdleConnections(), idleSweepMs)
      await Promise.all([gateway.app.close(), batchWork.stop()])
      clearInterval(sweep)
    },
    async stop() {
      clearInterval(flushTimer)
      await batchWork.stop()
      await flushKeyUses().catch(() => {
        // The database is away; the time of a key's last use is not worth waiting for it.
      })
      await snapshot.close()
      const isShipped = await billing.drain(shipTimeoutMs)
      if (!isShipped)
        log.warn({ lag: billing.lagEvents() }, 'usage stays in the journal until the next start')
      await limitListener.close()
      // With usage still in the journal, the next start frees what is not spent.
      await limits.close(isShipped && billing.openHolds() === 0)
      await billing.close()
      await replicas.close()
      await database.close()
      await leaseDatabase.close()
      await batchWork.close()
      await responses.close()
      idempotency.close()
      await keyedDatabase.close()
      metricsServer.close()
    },
  }
}

/** What the last run held of limits is free again once its journal, settled at the opening, is in the ledger. */
async function reclaimLeases(billing: Billing, limits: Limits): Promise<void> {
  while (await billing.shipped()) {
    try {
      await limits.reclaim()
      return
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== 'platform.database_unavailable') throw error
      await sleep(systemClock, reclaimRetryMs)
    }
  }
}

function connectEngine(record: ReplicaRecord, seal: Seal): Engine {
  const adapter = findAdapter(record.engineKind)
  assert(adapter, 'control stores only engine kinds that have an adapter')
  const key =
    record.sealedKey &&
    seal.open(Buffer.from(record.sealedKey, 'base64'), engineKeyContext(record.id))
  return adapter.connect({
    baseUrl: record.baseUrl,
    apiKey: key ? key.toString('utf8') : undefined,
    settings: record.settings,
  })
}

/** Metrics are the provider's business, so they have a listener of their own, on loopback only. */
async function listenForMetrics(
  port: number,
  render: () => Promise<string>,
  contentType: string,
): Promise<{ url: string; close(): void }> {
  const server = createServer((request, response) => {
    if (request.url !== '/metrics') {
      response.writeHead(404).end()
      return
    }
    render().then(
      (text) => response.writeHead(200, { 'content-type': contentType }).end(text),
      () => response.writeHead(500).end(),
    )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return {
    url: `${listeningUrl(server.address(), '127.0.0.1', false)}/metrics`,
    close: () => server.close(),
  }
}

export function listeningUrl(
  address: ReturnType<ReturnType<typeof createServer>['address']>,
  host: string,
  tls: boolean,
): string {
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const name = host === '::1' || host.includes(':') ? `[${host}]` : host
  return `${tls ? 'https' : 'http'}://${name}:${port}`
}
