/** The test run's PostgreSQL: a process of its own, because it outlives each test file. Ends with a signal, or an hour after its start. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startEmbeddedPostgres } from '../src/platform/postgres/embedded.ts'

const directory = process.argv[2] ?? ''
const lifeMs = 3_600_000

const server = await startEmbeddedPostgres(join(directory, 'postgres'))
writeFileSync(
  join(directory, 'ready.json'),
  JSON.stringify({ pid: process.pid, ownerUrl: server.ownerUrl, appUrl: server.appUrl }),
)
const end = (): void => {
  server.stop().then(
    () => process.exit(0),
    () => process.exit(1),
  )
}
process.on('SIGTERM', end)
setTimeout(end, lifeMs)
