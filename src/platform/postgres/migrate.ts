/** Applies `migrations/NNNN-name.sql` in order, each once and in its own transaction, under one advisory lock. */
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { Fault } from '../fault.ts'

const advisoryLock = 7_263_541

export interface MigrationReport {
  readonly applied: readonly string[]
}

/** Connects as the owner. Refuses when an applied file has changed since, or when the database is newer than the program. */
export async function migrate(ownerUrl: string, directory: string): Promise<MigrationReport> {
  const client = new pg.Client({
    connectionString: ownerUrl,
    application_name: 'colonnade-migrate',
  })
  await client.connect()
  try {
    await client.query('SELECT pg_advisory_lock($1)', [advisoryLock])
    await client.query(
      'CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())',
    )
    const known = new Map<string, string>()
    const rows = await client.query<{ name: string; sha256: string }>(
      'SELECT name, sha256 FROM schema_migrations',
    )
    for (const row of rows.rows) known.set(row.name, row.sha256)
    const applied: string[] = []
    const names = (await readdir(directory))
      .filter((name) => /^\d{4}-[a-z0-9-]+\.sql$/.test(name))
      .toSorted()
    for (const name of known.keys()) {
      if (!names.includes(name))
        throw mismatch(
          `The database has migration ${name}, which this version of Colonnade does not know. Start a newer version.`,
        )
    }
    for (const name of names) {
      const text = await readFile(join(directory, name), 'utf8')
      const sha256 = createHash('sha256').update(text).digest('hex')
      const before = known.get(name)
      if (before === sha256) continue
      if (before !== undefined)
        throw mismatch(`Migration ${name} was changed after it was applied. Restore the file.`)
      await client.query('BEGIN')
      try {
        await client.query(text)
        await client.query('INSERT INTO schema_migrations (name, sha256) VALUES ($1, $2)', [
          name,
          sha256,
        ])
        await client.query('COMMIT')
      } catch (error) {
        await client.query('ROLLBACK')
        throw error
      }
      applied.push(name)
    }
    return { applied }
  } finally {
    await client.end()
  }
}

function mismatch(text: string): Fault {
  return new Fault({ code: 'platform.bug', public: text })
}
