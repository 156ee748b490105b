/** The PostgreSQL of an installation: the embedded one, kept alive, or one of the operator's, where the roles get a login. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { Clock } from '../platform/clock.ts'
import { Fault } from '../platform/fault.ts'
import {
  appName,
  ensureAppRole,
  startEmbeddedPostgres,
  type EmbeddedPostgres,
} from '../platform/postgres/embedded.ts'
import { migrate } from '../platform/postgres/migrate.ts'
import { afterExit, neverFailed } from './restart-policy.ts'
import type { Secrets } from './secrets.ts'
import type { SupervisorEvent } from './supervisor.ts'

export interface DatabaseServer {
  /** What roles connect with; it stays the same over restarts. */
  readonly appUrl: string
  stop(): Promise<void>
}

const migrations = join(import.meta.dirname, '../../migrations')
const connectTimeoutMs = 10_000

/** Starts the embedded server and brings its tables up to date. Whenever it ends by itself, it is started again. */
export async function startDatabaseServer(
  directory: string,
  clock: Clock,
  onEvent: (event: SupervisorEvent) => void,
): Promise<DatabaseServer> {
  const first = await startEmbeddedPostgres(directory)
  let server: EmbeddedPostgres | undefined = first
  let stopping = false
  const waking = new AbortController()

  const restart = async (): Promise<EmbeddedPostgres | undefined> => {
    try {
      return await startEmbeddedPostgres(directory)
    } catch {
      // Workers of the dead one may still be there for a moment.
      return undefined
    }
  }
  const keepAlive = async (): Promise<void> => {
    let state = neverFailed
    let startedMs = clock.monotonicMs()
    let reason = 'the server ended'
    for (;;) {
      await server?.exited
      if (stopping) return
      const next = afterExit(state, clock.monotonicMs() - startedMs)
      state = next.state
      onEvent({ event: 'role-stopped', role: 'database', reason, restartInMs: next.delayMs })
      await sleep(next.delayMs, undefined, { signal: waking.signal }).catch(() => {
        // Stopped while waiting.
      })
      if (stopping) return
      startedMs = clock.monotonicMs()
      server = await restart()
      reason = server ? 'the server ended' : 'it does not start yet'
      if (server) onEvent({ event: 'role-restarted', role: 'database' })
    }
  }
  const keeping = keepAlive()
  const stop = async (): Promise<void> => {
    stopping = true
    waking.abort()
    await server?.stop()
    await keeping
    // It may have come back while it was being stopped.
    await server?.stop()
  }
  try {
    await migrate(first.ownerUrl, migrations)
  } catch (error) {
    await stop()
    throw error
  }
  return { appUrl: first.appUrl, stop }
}

/** Brings a PostgreSQL of the operator's up to date, and makes the roles' login there. Takes the owner's URL, returns the roles'. */
export async function prepareGivenDatabase(ownerUrl: string, secrets: Secrets): Promise<string> {
  const client = new pg.Client({
    connectionString: ownerUrl,
    connectionTimeoutMillis: connectTimeoutMs,
  })
  try {
    await client.connect()
    await ensureAppRole(client, secrets.databasePassword)
  } catch (error) {
    const detail = error instanceof Error ? error.message : 'unknown error'
    throw new Fault({
      code: 'client.invalid_request',
      public: `The database of DATABASE_URL cannot be used: ${detail}. It takes the URL of an owner who may create roles, on PostgreSQL 15 or newer.`,
      cause: error,
    })
  } finally {
    await client.end().catch(() => {
      // It never connected.
    })
  }
  await migrate(ownerUrl, migrations)
  return loginUrl(ownerUrl, secrets)
}

/** The roles' URL of a database: its password follows from the root secret, so each machine that has the secret knows it. */
export function loginUrl(databaseUrl: string, secrets: Secrets): string {
  const url = new URL(databaseUrl)
  url.username = appName
  url.password = secrets.databasePassword
  return url.href
}
