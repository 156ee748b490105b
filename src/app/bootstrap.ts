/** What the first start makes: catalogue, a tenant with a project and a key, tokens for the operator and the agent, default models. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { appendEntry } from '../audit/audit.ts'
import { enableModel, importShippedCatalogue, setAlias } from '../catalog/catalog.ts'
import { deployModel } from '../fleet/fleet.ts'
import {
  createAccessToken,
  createApiKey,
  createProject,
  createTenant,
  listTenants,
} from '../identity/identity.ts'
import { assert } from '../platform/assert.ts'
import { systemClock } from '../platform/clock.ts'
import { newId } from '../platform/ids.ts'
import { platformScope, type Database, type Sql } from '../platform/postgres/database.ts'
import { defaultModels } from '../weights/defaults.ts'
import type { Config } from './config.ts'
import type { Secrets } from './secrets.ts'

/** Shown once. */
export interface FirstSecrets {
  readonly apiKey: string
  readonly adminToken: string
}

/** Brings the shipped catalogue up to date; on the first start also makes the rest, all in one transaction. */
export async function bootstrap(
  database: Database,
  config: Config,
  secrets: Secrets,
): Promise<FirstSecrets | undefined> {
  return database.transaction(platformScope, async (tx) => {
    await importShippedCatalogue(tx, defaultModels)
    const tenants = await listTenants(tx, { limit: 1 })
    return tenants.rows.length > 0 ? undefined : makeFirst(tx, config, secrets)
  })
}

async function makeFirst(
  tx: Sql<unknown>,
  config: Config,
  secrets: Secrets,
): Promise<FirstSecrets> {
  const key = secrets.peppers.get(secrets.pepperVersion)
  assert(key, 'the current pepper is among the peppers')
  const pepper = { version: secrets.pepperVersion, key }
  const tenant = await createTenant(tx, { name: 'default', priceListId: 'standard' })
  const project = await createProject(tx, tenant.id, 'default')
  const apiKey = await createApiKey(
    tx,
    { tenantId: tenant.id, projectId: project.id, name: 'first key' },
    pepper,
  )
  const operator = await createAccessToken(
    tx,
    { tenantId: null, role: 'operator', name: 'local operator' },
    pepper,
    'bootstrap',
  )
  const agent = await createAccessToken(
    tx,
    { tenantId: null, role: 'agent', name: 'local agent' },
    pepper,
    'bootstrap',
  )
  const models = config.defaultModels ? defaultModels : []
  for (const model of models) {
    await enableModel(tx, model.id, { unpriced: false })
    await deployModel(tx, model.id)
  }
  const chat = models.find((model) => model.category === 'chat')
  if (chat) await setAlias(tx, 'default', chat.id)
  const made = [
    tenant.id,
    project.id,
    apiKey.key.id,
    operator.token.id,
    agent.token.id,
    ...models.map((model) => model.id),
  ]
  for (const resource of made) await record(tx, resource, tenant.id)
  // Before the commit: a token whose file cannot be written must not exist.
  saveToken(config.dataDirectory, 'admin-token', operator.secret)
  saveToken(config.dataDirectory, 'agent-token', agent.secret)
  return { apiKey: apiKey.secret, adminToken: operator.secret }
}

async function record(tx: Sql<unknown>, resource: string, tenantId: string): Promise<void> {
  await appendEntry(tx, {
    occurredAtMs: systemClock.nowMs(),
    tenantId: /^(ten|prj|key)_/.test(resource) ? tenantId : null,
    actor: 'bootstrap',
    role: 'operator',
    ip: '',
    action: 'bootstrap.create',
    resource,
    outcome: 'done',
    requestId: newId('req'),
  })
}

export type TokenName = 'admin-token' | 'agent-token'

function saveToken(dataDirectory: string, name: TokenName, secret: string): void {
  mkdirSync(join(dataDirectory, 'secrets'), { recursive: true, mode: 0o700 })
  writeFileSync(join(dataDirectory, 'secrets', name), `${secret}\n`, { mode: 0o600, flush: true })
}

/** The token of this machine's operator or agent; `undefined` where none was made. */
export function readToken(dataDirectory: string, name: TokenName): string | undefined {
  try {
    return readFileSync(join(dataDirectory, 'secrets', name), 'utf8').trim()
  } catch {
    // Another machine's data, or a first start yet to come.
    return undefined
  }
}
