/** Roles that run by themselves, with a database that the operator gives: what `serve` prepares otherwise. */
import { openDatabase } from '../platform/postgres/database.ts'
import { bootstrap } from './bootstrap.ts'
import type { Config } from './config.ts'
import { loginUrl, prepareGivenDatabase } from './database-server.ts'
import { existingSecrets, loadSecrets, secretPath } from './secrets.ts'

/** For control, which prepares the database: tables, the roles' login, catalogue and, on the first start, tokens and a tenant. */
export async function prepareControl(config: Config): Promise<Config> {
  const { url, appUrl: given } = config.database
  if (given !== undefined || url === undefined) return config
  const secrets = loadSecrets(secretPath(config))
  const appUrl = await prepareGivenDatabase(url, secrets)
  const database = openDatabase({
    url: appUrl,
    connectionsMax: 1,
    statementTimeoutMs: 10_000,
    applicationName: 'colonnade-bootstrap',
    onError: () => {
      // The query that needed the connection fails, and is told.
    },
  })
  try {
    await bootstrap(database, config, secrets)
  } finally {
    await database.close()
  }
  return { ...config, database: { appUrl } }
}

/** For a gateway, which takes everything as it is. Its login follows from the root secret, so DATABASE_URL needs no password here. */
export function prepareGateway(config: Config): Config {
  const { url, appUrl } = config.database
  if (appUrl !== undefined || url === undefined) return config
  const secrets = existingSecrets(secretPath(config))
  return { ...config, database: { appUrl: loginUrl(url, secrets) } }
}
