/** What the first start makes: catalogue, plans, a tenant with a project and a key, tokens for the operator and the agent, default models. */
import { appendEntry } from '../audit/audit.ts'
import { enableModel, importShippedCatalogue, setAlias } from '../catalog/catalog.ts'
import { deployModel } from '../fleet/fleet.ts'
import {
  createAccessToken,
  createApiKey,
  createProject,
  createTenant,
  listApiKeys,
  listProjects,
  listTenants,
  type Pepper,
} from '../identity/identity.ts'
import { importShippedPlans } from '../limits/rules.ts'
import { assert } from '../platform/assert.ts'
import { systemClock } from '../platform/clock.ts'
import { newId } from '../platform/ids.ts'
import { platformScope, type Database, type Sql } from '../platform/postgres/database.ts'
import { defaultModels } from '../weights/defaults.ts'
import type { Config } from './config.ts'
import type { Secrets } from './secrets.ts'
import { readToken, saveToken } from './tokens.ts'

/** Shown once. */
export interface FirstSecrets {
  readonly apiKey: string
  readonly adminToken: string
}

const firstName = 'default'

/** Brings the shipped catalogue up to date; on the first start also makes the rest, all in one transaction. */
export async function bootstrap(
  database: Database,
  config: Config,
  secrets: Secrets,
): Promise<void> {
  await database.transaction(platformScope, async (tx) => {
    await importShippedCatalogue(tx, defaultModels)
    await importShippedPlans(tx)
    const tenants = await listTenants(tx, { limit: 1 })
    if (tenants.rows.length === 0) await makeFirst(tx, config, currentPepper(secrets))
  })
}

async function makeFirst(tx: Sql<unknown>, config: Config, pepper: Pepper): Promise<void> {
  const tenant = await createTenant(tx, { name: firstName, priceListId: 'standard' })
  const project = await createProject(tx, tenant.id, firstName)
  const makeToken = (role: string) =>
    createAccessToken(tx, { tenantId: null, role, name: `local ${role}` }, pepper, 'bootstrap')
  const operator = await makeToken('operator')
  const agent = await makeToken('agent')
  const models = config.defaultModels ? defaultModels : []
  for (const model of models) {
    await enableModel(tx, model.id, { unpriced: false })
    await deployModel(tx, model.id)
  }
  const chat = models.find((model) => model.category === 'chat')
  if (chat) await setAlias(tx, firstName, chat.id)
  await record(tx, 'tenants.create', tenant.id, tenant.id)
  await record(tx, 'projects.create', project.id, tenant.id)
  for (const { token } of [operator, agent]) await record(tx, 'tokens.create', token.id, null)
  for (const model of models) await record(tx, 'models.enable', model.id, null)
  // Before the commit: a token whose file cannot be written must not exist.
  saveToken(config.dataDirectory, 'admin-token', operator.secret)
  saveToken(config.dataDirectory, 'agent-token', agent.secret)
}

/**
 * Makes the first API key, at the moment when it can be shown: a first start that is interrupted while a model is on its way has
 * shown nothing, and the next one is the first again. `undefined` when there is a key, or when the first tenant was renamed.
 */
export async function makeFirstKey(
  database: Database,
  config: Config,
  secrets: Secrets,
): Promise<FirstSecrets | undefined> {
  const adminToken = readToken(config.dataDirectory, 'admin-token')
  if (adminToken === undefined) return undefined
  return database.transaction(platformScope, async (tx) => {
    const tenants = await listTenants(tx, { limit: 2 })
    const tenant = tenants.rows.length === 1 ? tenants.rows[0] : undefined
    if (tenant?.name !== firstName) return undefined
    const projects = await listProjects(tx, tenant.id, { limit: 1 })
    const project = projects.rows[0]
    const keys = await listApiKeys(tx, tenant.id, { limit: 1 })
    if (!project || keys.rows.length > 0) return undefined
    const { key, secret } = await createApiKey(
      tx,
      { tenantId: tenant.id, projectId: project.id, name: 'first key' },
      currentPepper(secrets),
    )
    await record(tx, 'keys.create', key.id, tenant.id)
    return { apiKey: secret, adminToken }
  })
}

function currentPepper(secrets: Secrets): Pepper {
  const key = secrets.peppers.get(secrets.pepperVersion)
  assert(key, 'the current pepper is among the peppers')
  return { version: secrets.pepperVersion, key }
}

async function record(
  tx: Sql<unknown>,
  action: string,
  resource: string,
  tenantId: string | null,
): Promise<void> {
  await appendEntry(tx, {
    occurredAtMs: systemClock.nowMs(),
    tenantId,
    actor: 'bootstrap',
    role: 'operator',
    ip: '',
    action,
    resource,
    outcome: 'done',
    requestId: newId('req'),
  })
}
