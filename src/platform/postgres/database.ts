/**
 * The way to PostgreSQL. Work happens in transactions, and each one says on whose behalf: the platform's own, or one tenant's, whose
 * rows alone it then sees. The login role has no rights of its own, so there is no third way.
 */
import { Kysely, PostgresDialect, sql, type Transaction } from 'kysely'
import pg from 'pg'
import { Fault } from '../fault.ts'

/** Reading and writing money exactly: int8 (OID 20) arrives as bigint, never as a rounded number. */
const types: pg.CustomTypesConfig = {
  getTypeParser: (oid, format) =>
    oid === 20 ? (text: string) => BigInt(text) : pg.types.getTypeParser(oid, format),
}

/** Tables are described where they are used (each module's store.ts), so this layer knows none of them. */
export type Sql<Tables> = Transaction<Tables>

export type Scope =
  | { readonly kind: 'platform' }
  | { readonly kind: 'tenant'; readonly tenantId: string }

export const platformScope: Scope = { kind: 'platform' }

export interface Database {
  /** Runs the work in one transaction with the rights of the scope; commits when it resolves, rolls back when it throws. */
  transaction<Tables, Result>(
    scope: Scope,
    work: (tx: Sql<Tables>) => Promise<Result>,
  ): Promise<Result>
  /** Lets transactions under way end, and takes no new ones. */
  close(): Promise<void>
}

export interface DatabaseOptions {
  readonly url: string
  readonly connectionsMax: number
  /** A hanging server must not hold the caller longer than this. */
  readonly statementTimeoutMs: number
  readonly applicationName: string
  readonly onError: (error: Error) => void
}

export function openDatabase(options: DatabaseOptions): Database {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.connectionsMax,
    connectionTimeoutMillis: options.statementTimeoutMs,
    query_timeout: options.statementTimeoutMs + 500,
    statement_timeout: options.statementTimeoutMs,
    idle_in_transaction_session_timeout: options.statementTimeoutMs * 2,
    application_name: options.applicationName,
    types,
  })
  // Without a listener, a stopped server would end the process.
  pool.on('error', options.onError)
  // The pool listens to idle connections only; one that dies in a transaction would end the process all the same.
  pool.on('connect', (client) => client.on('error', options.onError))
  const kysely = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) })

  /** Whoever asked for them may have left without waiting. */
  const underWay = new Set<Promise<unknown>>()
  let closing = false

  const run = async <Tables, Result>(
    scope: Scope,
    work: (tx: Sql<Tables>) => Promise<Result>,
  ): Promise<Result> => {
    try {
      return await kysely.transaction().execute(async (tx) => {
        await enterScope(tx, scope)
        // Each store names the tables it uses; the connection is the same whatever they are.
        return await work(tx as unknown as Sql<Tables>)
      })
    } catch (error) {
      throw translate(error)
    }
  }

  return {
    async transaction<Tables, Result>(scope: Scope, work: (tx: Sql<Tables>) => Promise<Result>) {
      if (closing) throw unavailable('this process is ending')
      const running = run(scope, work)
      underWay.add(running)
      try {
        return await running
      } finally {
        underWay.delete(running)
      }
    },
    async close() {
      closing = true
      await Promise.allSettled(underWay)
      await kysely.destroy()
    },
  }
}

async function enterScope(tx: Transaction<unknown>, scope: Scope): Promise<void> {
  if (scope.kind === 'platform') {
    await sql`SET LOCAL ROLE colonnade_platform`.execute(tx)
    return
  }
  await sql`SELECT set_config('role', 'colonnade_tenant', true), set_config('app.tenant', ${scope.tenantId}, true)`.execute(
    tx,
  )
}

/** Connection-level failures become `platform.database_unavailable`; anything else stays what it is. */
function translate(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof Fault) return error
  if (!isUnavailable(error)) return error
  return unavailable(error.message, error)
}

function unavailable(internal: string, cause?: Error): Fault {
  return new Fault({
    code: 'platform.database_unavailable',
    public: 'The database does not answer at the moment. Try again shortly.',
    internal,
    cause,
    retryAfterMs: 2_000,
  })
}

/** SQLSTATE classes 08 (connection), 57P (shutdown), 53 (resources); Node's socket errors; the pool's time-outs. */
export function isUnavailable(error: Error): boolean {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  if (/^(08|57P|53)/.test(code) || code === '57014') return true
  if (/^E(CONN|PIPE|NOENT|HOST|NET|TIMEDOUT|AI_)/.test(code)) return true
  // pg raises these without a code (pg 8.23, client.js and pg-pool).
  return /^(Connection terminated|Client has encountered a connection error|timeout exceeded when trying to connect|Query read timeout)/.test(
    error.message,
  )
}
