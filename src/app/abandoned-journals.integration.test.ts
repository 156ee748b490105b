import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { postgresForTests } from '../../test/postgres-for-tests.ts'
import { openBilling } from '../billing/billing.ts'
import { listTenants } from '../identity/identity.ts'
import { systemClock } from '../platform/clock.ts'
import { createLogger } from '../platform/log.ts'
import { openDatabase, platformScope, type Database } from '../platform/postgres/database.ts'
import { settleAbandonedJournals } from './abandoned-journals.ts'
import { bootstrap } from './bootstrap.ts'
import { readConfig } from './config.ts'
import { loadSecrets, secretPath } from './secrets.ts'

const log = createLogger('test', 'silent')

function open(url: string): Database {
  return openDatabase({
    url,
    connectionsMax: 2,
    statementTimeoutMs: 5_000,
    applicationName: 'test',
    onError: () => {},
  })
}

test('what a gateway wrote that is started no more is billed all the same, once', async () => {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'colonnade-abandoned-'))
  const config = readConfig({ dataDirectory }, {})
  const place = await (await postgresForTests()).createDatabase()
  const database = open(place.appUrl)
  const away = open('postgresql://nobody@127.0.0.1:1/none')
  try {
    await bootstrap(database, config, loadSecrets(secretPath(config)))
    const [tenant] = await database.transaction(
      platformScope,
      async (tx) => (await listTenants(tx, { limit: 1 })).rows,
    )
    const gateway = await openBilling({
      directory: join(dataDirectory, 'gateways', '2'),
      segmentBytes: config.journal.segmentBytes,
      bytesMax: config.journal.bytesMax,
      database: away,
      clock: systemClock,
      log,
      onFatal: () => {},
    })
    const hold = await gateway.open({
      requestId: 'req_abandoned',
      leg: 0,
      tenantId: tenant?.id ?? '',
      projectId: 'prj_AAAAAAAAAAAAAAAA',
      apiKeyId: 'key_AAAAAAAAAAAAAAAA',
      modelId: 'm',
      endpoint: '/v1/chat/completions',
      streamed: true,
      price: {
        version: 'standard@2026',
        currency: 'EUR',
        inputNanos: 900n,
        cachedInputNanos: 900n,
        outputNanos: 4_000n,
        reasoningNanos: 21_000n,
      },
      estimatedInputTokens: 10,
      maxOutputTokens: 100,
      heldNanos: 409_000n,
      startedAtMs: systemClock.nowMs(),
      lifeId: '',
      takes: [],
      alreadyChargedNanos: 0n,
    })
    await hold.settle({
      outcome: 'completed',
      usage: { inputTokens: 10, cachedInputTokens: 0, outputTokens: 20, reasoningTokens: 0 },
      usageSuspect: false,
      replicaId: undefined,
      timeToFirstTokenMs: 1,
      durationMs: 2,
      amountMaxNanos: undefined,
      chargeLimits: () => [],
    })
    await gateway.close()

    for (let start = 0; start < 2; start += 1)
      await settleAbandonedJournals(config, database, systemClock, log)
    const billed = await database.transaction(platformScope, (tx) =>
      sql`SELECT request_id, outcome, amount_nanos FROM usage_events`.execute(tx),
    )
    expect(billed.rows).toEqual([
      { request_id: 'req_abandoned', outcome: 'completed', amount_nanos: 89_000n },
    ])
  } finally {
    await away.close()
    await database.close()
    await place.close()
    rmSync(dataDirectory, { recursive: true, force: true })
  }
})
