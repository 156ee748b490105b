/** Whether the database answers, and has the tables that this program knows: for `colonnade doctor`. */
import { readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import type { Config } from './config.ts'

export interface DatabaseCheck {
  readonly version: string
  /** Migrations that this program has and the database has not. */
  readonly missing: readonly string[]
}

const migrations = join(import.meta.dirname, '../../migrations')
const timeoutMs = 3_000

/** Throws when the database does not answer. */
export async function checkDatabase(config: Config): Promise<DatabaseCheck> {
  const client = new pg.Client({
    connectionString: config.database.url ?? embeddedUrl(config.dataDirectory),
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
  })
  try {
    await client.connect()
    const version = await client.query<{ server_version: string }>('SHOW server_version')
    const applied = await client.query<{ name: string }>('SELECT name FROM schema_migrations')
    const known = applied.rows.map(({ name }) => name)
    const names = (await readdir(migrations)).filter((name) => name.endsWith('.sql'))
    return {
      version: version.rows[0]?.server_version ?? '',
      missing: names.filter((name) => !known.includes(name)),
    }
  } finally {
    await client.end().catch(() => {
      // It never connected.
    })
  }
}

/** A running server's own lock file names the folder of its socket, in the fifth line. */
function embeddedUrl(dataDirectory: string): string {
  const lock = readFileSync(join(dataDirectory, 'postgres/cluster/postmaster.pid'), 'utf8')
  const host = encodeURIComponent(lock.split('\n')[4] ?? '')
  return `postgresql://colonnade_owner@localhost/colonnade?host=${host}`
}
