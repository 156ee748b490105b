/** The control API on a real database, with two tenants and a token for each role, for tests that speak HTTP to it. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { sql } from 'kysely'
import { readHead } from '../src/audit/audit.ts'
import { createReceiptSigner } from '../src/billing/receipt.ts'
import { importShippedCatalogue } from '../src/catalog/catalog.ts'
import { createControl } from '../src/control/control.ts'
import { detectKind } from '../src/engines/detect.ts'
import { findAdapter } from '../src/engines/registry.ts'
import { createAnswerBook } from '../src/idempotency/answers.ts'
import {
  createAccessToken,
  createApiKey,
  createProject,
  createTenant,
} from '../src/identity/identity.ts'
import { platformRights, tenantRights } from '../src/identity/role.ts'
import { systemClock } from '../src/platform/clock.ts'
import { createLogger } from '../src/platform/log.ts'
import {
  openDatabase,
  platformScope,
  type Database,
  type Sql,
} from '../src/platform/postgres/database.ts'
import { createSeal } from '../src/platform/seal.ts'
import { postgresForTests } from './postgres-for-tests.ts'

export interface TestTenant {
  readonly id: string
  readonly projectId: string
  readonly apiKeyId: string
  readonly apiKeySecret: string
}

/** Somebody with a token: of the platform, or of the tenant `own`. */
export interface TestActor {
  readonly role: string
  readonly tenantId: string | null
  readonly tokenId: string
  readonly secret: string
}

export interface Call {
  readonly method: string
  /** After `/api/v1`. */
  readonly path: string
  readonly token?: string | undefined
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
  /** The parsed body. Tests read what they expect, and fail where it is not. */
  // eslint-disable-next-line typescript/no-explicit-any
  readonly body: any
}

export interface ControlPlatform {
  readonly own: TestTenant
  readonly other: TestTenant
  readonly actors: readonly TestActor[]
  actor(side: 'platform' | 'tenant', role: string): TestActor
  readonly engineUrl: string
  readonly database: Database
  readonly ownerUrl: string
  readonly pepper: { readonly version: number; readonly key: Buffer }
  readonly app: ReturnType<typeof createControl>
  call(request: Call): Promise<Answer>
  run<Result>(work: (tx: Sql<unknown>) => Promise<Result>): Promise<Result>
  /** A digest of every table but the audit log's. */
  fingerprint(): Promise<string>
  /** The payloads of the entries that follow a sequence. */
  auditEntries(after: number): Promise<readonly Readonly<Record<string, unknown>>[]>
  lastAuditSequence(): Promise<number>
  close(): Promise<void>
}

const pepper = { version: 1, key: Buffer.alloc(32, 1) }

export async function startControlPlatform(): Promise<ControlPlatform> {
  const created = await (await postgresForTests()).createDatabase()
  const database = openDatabase({
    url: created.appUrl,
    connectionsMax: 4,
    statementTimeoutMs: 10_000,
    applicationName: 'test',
    onError: () => {},
  })
  const seal = createSeal(Buffer.alloc(32, 7))
  const receipts = createReceiptSigner(Buffer.alloc(32, 9))
  const app = createControl({
    database,
    deps: { clock: systemClock, pepper, seal, receipts, findAdapter, detectKind },
    answers: createAnswerBook(Buffer.alloc(32, 8), seal),
    peppers: new Map([[pepper.version, pepper.key]]),
    log: createLogger('control', 'silent'),
    hostNames: ['control.example'],
  })
  const engine = await startEngine()
  const run = <Result>(work: (tx: Sql<unknown>) => Promise<Result>) =>
    database.transaction(platformScope, work)
  await run((tx) => importShippedCatalogue(tx, []))
  const own = await run((tx) => makeTenant(tx, 'own'))
  const other = await run((tx) => makeTenant(tx, 'other'))
  const actors = await run((tx) => makeActors(tx, own.id))
  return {
    own,
    other,
    actors,
    actor(side, role) {
      const found = actors.find(
        (actor) => actor.role === role && (actor.tenantId === null) === (side === 'platform'),
      )
      if (!found) throw new Error(`no such role: ${side} ${role}`)
      return found
    },
    engineUrl: engine.url,
    database,
    ownerUrl: created.ownerUrl,
    pepper,
    app,
    call: (request) => call(app, request),
    run,
    fingerprint: () => run(fingerprint),
    auditEntries: (after) => run((tx) => auditEntries(tx, after)),
    lastAuditSequence: () => run(async (tx) => Number((await readHead(tx)).sequence)),
    async close() {
      await app.close()
      await database.close()
      await engine.close()
      await created.close()
    },
  }
}

async function makeTenant(tx: Sql<unknown>, name: string): Promise<TestTenant> {
  const { id } = await createTenant(tx, { name, priceListId: 'standard' })
  const project = await createProject(tx, id, 'main')
  const { key, secret } = await createApiKey(
    tx,
    { tenantId: id, projectId: project.id, name: 'main' },
    pepper,
  )
  return { id, projectId: project.id, apiKeyId: key.id, apiKeySecret: secret }
}

async function makeActors(tx: Sql<unknown>, tenantId: string): Promise<readonly TestActor[]> {
  const roles = [
    ...Object.keys(platformRights).map((role) => ({ role, tenantId: null })),
    ...Object.keys(tenantRights).map((role) => ({ role, tenantId })),
  ]
  const actors: TestActor[] = []
  for (const { role, tenantId: of } of roles) {
    const { token, secret } = await createAccessToken(
      tx,
      { tenantId: of, role, name: role },
      pepper,
      'bootstrap',
    )
    actors.push({ role, tenantId: of, tokenId: token.id, secret })
  }
  return actors
}

/** A server that answers as an engine does when it is asked for its models. */
async function startEngine(): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ object: 'list', data: [{ id: 'org/chat', object: 'model' }] }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // Listening on TCP, it has a port.
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function call(app: ControlPlatform['app'], request: Call): Promise<Answer> {
  const payload =
    typeof request.body === 'string' || Buffer.isBuffer(request.body)
      ? request.body
      : request.body === undefined
        ? undefined
        : JSON.stringify(request.body)
  const answer = await app.inject({
    // Fastify lists the methods as literals.
    method: request.method as 'GET',
    url: `/api/v1${request.path}`,
    headers: {
      ...(request.token === undefined ? {} : { authorization: `Bearer ${request.token}` }),
      ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
      ...request.headers,
    },
    ...(payload === undefined ? {} : { payload }),
  })
  return {
    status: answer.statusCode,
    headers: answer.headers,
    text: answer.payload,
    body: parse(answer.payload),
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Not every answer is JSON; the text is there.
    return undefined
  }
}

async function fingerprint(tx: Sql<unknown>): Promise<string> {
  const tables = await sql<{ name: string }>`
    SELECT relname AS name FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname NOT IN ('audit_entries', 'audit_head')
      AND has_table_privilege(oid, 'SELECT')
    ORDER BY 1`.execute(tx)
  const digests = tables.rows.map(
    ({ name }) =>
      sql`SELECT ${name} AS name, md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) AS digest FROM ${sql.table(name)} t`,
  )
  const result = await sql`${sql.join(digests, sql` UNION ALL `)}`.execute(tx)
  return JSON.stringify(result.rows)
}

async function auditEntries(
  tx: Sql<unknown>,
  after: number,
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const result = await sql<{ payload: string }>`
    SELECT payload FROM audit_entries WHERE sequence > ${after} ORDER BY sequence`.execute(tx)
  return result.rows.map(({ payload }) => JSON.parse(payload))
}
