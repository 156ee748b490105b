/** Front door of identity: tenants, projects, API keys and access tokens. Every verb runs in the caller's transaction and scope. */
import { timingSafeEqual } from 'node:crypto'
import { Fault } from '../platform/fault.ts'
import { newId } from '../platform/ids.ts'
import type { Sql } from '../platform/postgres/database.ts'
import { createSecret, digestSecret, parseSecret } from './api-key.ts'
import {
  createKeyRecords,
  type ChangedIdentities,
  type KeyRecord,
  type KeyRecords,
  type ProjectRecord,
  type TenantRecord,
} from './key-records.ts'
import { parseNetwork } from './network.ts'
import { placePattern } from './residency.ts'
import { platformRights, tenantRights, type Permission } from './role.ts'
import * as store from './store.ts'

export interface Pepper {
  readonly version: number
  readonly key: Buffer
}

export interface Page<Row> {
  readonly rows: readonly Row[]
  readonly hasMore: boolean
}

type Tx = Sql<unknown>
/** Each module knows its own tables of the one database. */
const own = (tx: Tx): store.IdentitySql => tx as unknown as store.IdentitySql

const day = 86_400_000
export const overlapMsDefault = 7 * day
export const overlapMsMax = 30 * day

export type Tenant = store.TenantRow
export type Project = store.ProjectRow
export type AccessToken = Omit<store.AccessTokenRow, 'digest'>
/** A key as people see it: its secrets by their hints only. */
export interface ApiKey extends store.ApiKeyRow {
  readonly secrets: readonly {
    readonly hint: string
    readonly publicId: string
    readonly expiresAt: Date | null
  }[]
}

/** A tenant is charged in the currency of its price list, for as long as it lives. Without a plan it has no limits but its own. */
export async function createTenant(
  tx: Tx,
  tenant: {
    name: string
    priceListId: string
    planId?: string | undefined
    allowedLocations?: readonly string[] | undefined
  },
): Promise<Tenant> {
  const currency = await currencyOf(tx, tenant.priceListId)
  if (tenant.planId !== undefined) await checkPlan(tx, tenant.planId, currency)
  return unique(`A tenant named '${tenant.name}' exists already.`, () =>
    store.insertTenant(own(tx), {
      id: newId('ten'),
      name: tenant.name,
      price_list_id: tenant.priceListId,
      currency,
      plan_id: tenant.planId,
      allowed_locations: placesOf(tenant.allowedLocations),
    }),
  )
}

export async function getTenant(tx: Tx, tenantId: string): Promise<Tenant> {
  return (await store.findTenant(own(tx), tenantId)) ?? notFound('tenant')
}

export async function listTenants(tx: Tx, page: store.PageRequest): Promise<Page<Tenant>> {
  return toPage(await store.selectTenants(own(tx), page), page)
}

export async function updateTenant(
  tx: Tx,
  tenantId: string,
  change: {
    name?: string | undefined
    state?: 'active' | 'suspended' | undefined
    priceListId?: string | undefined
    /** `null` takes the tenant off its plan. */
    planId?: string | null | undefined
    /** Replaces all; none leaves our own machines only. */
    allowedLocations?: readonly string[] | undefined
    /** `null` keeps none, and what was kept is deleted. */
    responsesKeptDays?: number | null | undefined
  },
): Promise<Tenant> {
  if (change.priceListId !== undefined) {
    const { currency } = await getTenant(tx, tenantId)
    if ((await currencyOf(tx, change.priceListId)) !== currency)
      throw refuse(
        'client.invalid_request',
        `This tenant is charged in ${currency}; the price list has another currency.`,
        'priceListId',
      )
  }
  if (typeof change.planId === 'string') {
    const { currency } = await getTenant(tx, tenantId)
    await checkPlan(tx, change.planId, currency)
  }
  const row = await unique('A tenant of that name exists already.', () =>
    store.updateTenant(own(tx), tenantId, {
      name: change.name,
      state: change.state,
      price_list_id: change.priceListId,
      plan_id: change.planId,
      allowed_locations: placesOf(change.allowedLocations),
      responses_kept_days: change.responsesKeptDays,
    }),
  )
  return row ?? notFound('tenant')
}

function placesOf(places: readonly string[] | undefined): string[] | undefined {
  if (places?.every((place) => placePattern.test(place)) === false)
    throw refuse(
      'client.invalid_request',
      'Each place is the code of a country or a region, such as FR, EU or US.',
      'allowedLocations',
    )
  return places && [...new Set(places)].toSorted()
}

async function currencyOf(tx: Tx, priceListId: string): Promise<string> {
  const list = await store.findPriceListCurrency(own(tx), priceListId)
  if (list) return list.currency
  throw refuse('client.invalid_request', 'There is no such price list.', 'priceListId')
}

/** The limits of a plan on money are in its currency. */
async function checkPlan(tx: Tx, planId: string, currency: string): Promise<void> {
  const plan = await store.findPlanCurrency(own(tx), planId)
  if (!plan) throw refuse('client.invalid_request', 'There is no such plan.', 'planId')
  if (plan.currency !== currency)
    throw refuse(
      'client.invalid_request',
      `This tenant is charged in ${currency}; the plan has another currency.`,
      'planId',
    )
}

export async function createProject(tx: Tx, tenantId: string, name: string): Promise<Project> {
  await getTenant(tx, tenantId)
  return unique(`A project named '${name}' exists already.`, () =>
    store.insertProject(own(tx), { tenant_id: tenantId, id: newId('prj'), name }),
  )
}

export async function listProjects(
  tx: Tx,
  tenantId: string,
  page: store.PageRequest,
): Promise<Page<Project>> {
  await getTenant(tx, tenantId)
  return toPage(await store.selectProjects(own(tx), tenantId, page), page)
}

export async function updateProject(
  tx: Tx,
  tenantId: string,
  projectId: string,
  change: { name?: string | undefined; state?: 'active' | 'archived' | undefined },
): Promise<Project> {
  const row = await unique('A project of that name exists already.', () =>
    store.updateProject(own(tx), tenantId, projectId, change),
  )
  return row ?? notFound('project')
}

export interface KeySettings {
  readonly name?: string | undefined
  readonly allowedModels?: readonly string[] | null | undefined
  readonly allowedIps?: readonly string[] | null | undefined
  readonly expiresAt?: Date | null | undefined
}

/** Returns the secret, which nobody can ask for again. */
export async function createApiKey(
  tx: Tx,
  key: KeySettings & { tenantId: string; projectId: string; name: string },
  pepper: Pepper,
): Promise<{ key: ApiKey; secret: string }> {
  const project = await store.findProject(own(tx), key.tenantId, key.projectId)
  if (!project) return notFound('project')
  const row = await store.insertApiKey(own(tx), {
    tenant_id: key.tenantId,
    project_id: key.projectId,
    id: newId('key'),
    name: key.name,
    allowed_models: key.allowedModels ? [...key.allowedModels] : null,
    allowed_ips: key.allowedIps ? checkNetworks(key.allowedIps) : null,
    expires_at: key.expiresAt ?? null,
  })
  const secret = await addSecret(tx, row, pepper)
  return { key: await withSecrets(tx, row), secret }
}

export async function listApiKeys(
  tx: Tx,
  tenantId: string,
  page: store.PageRequest,
): Promise<Page<ApiKey>> {
  await getTenant(tx, tenantId)
  const { rows, hasMore } = toPage(await store.selectApiKeys(own(tx), tenantId, page), page)
  const secrets = await store.selectSecrets(
    own(tx),
    tenantId,
    rows.map((row) => row.id),
  )
  return { rows: rows.map((row) => toApiKey(row, secrets)), hasMore }
}

export async function updateApiKey(
  tx: Tx,
  tenantId: string,
  apiKeyId: string,
  change: KeySettings,
): Promise<ApiKey> {
  const row = await store.updateApiKey(own(tx), tenantId, apiKeyId, {
    name: change.name,
    allowed_models: change.allowedModels
      ? [...change.allowedModels]
      : change.allowedModels === null
        ? null
        : undefined,
    allowed_ips: change.allowedIps
      ? checkNetworks(change.allowedIps)
      : change.allowedIps === null
        ? null
        : undefined,
    expires_at: change.expiresAt,
  })
  return row ? withSecrets(tx, row) : notFound('API key')
}

/**
 * Gives the key a new secret; the old one works until the overlap ends. A key never has more than two that work: while an overlap runs, only
 * a rotation without one is taken, which ends all earlier secrets at once.
 */
export async function rotateApiKey(
  tx: Tx,
  tenantId: string,
  apiKeyId: string,
  rotation: { readonly overlapMs: number; readonly nowMs: number },
  pepper: Pepper,
): Promise<{ key: ApiKey; secret: string }> {
  const row = await store.lockApiKey(own(tx), tenantId, apiKeyId)
  if (!row) return notFound('API key')
  if (row.revoked_at) throw refuse('client.conflict', 'This key is revoked. Create a new one.')
  const secrets = await store.selectSecrets(own(tx), tenantId, [apiKeyId])
  const overlapping = secrets.find(({ expires_at: end }) => end && end.getTime() > rotation.nowMs)
  if (overlapping?.expires_at && rotation.overlapMs > 0)
    throw refuse(
      'client.conflict',
      `An earlier secret of this key works until ${overlapping.expires_at.toISOString()}. Wait, or rotate without an overlap, which ends it now.`,
    )
  const end = new Date(rotation.nowMs + rotation.overlapMs)
  await store.expireSecrets(own(tx), tenantId, apiKeyId, end)
  const secret = await addSecret(tx, row, pepper)
  return { key: await withSecrets(tx, row), secret }
}

/** Ends the key. Gateways hear of it at once, and within 5 s at the latest. May be called twice. */
export async function revokeApiKey(
  tx: Tx,
  tenantId: string,
  apiKeyId: string,
  nowMs: number,
): Promise<ApiKey> {
  const row = await store.lockApiKey(own(tx), tenantId, apiKeyId)
  if (!row) return notFound('API key')
  const revoked = row.revoked_at
    ? row
    : await store.updateApiKey(own(tx), tenantId, apiKeyId, { revoked_at: new Date(nowMs) })
  return withSecrets(tx, revoked ?? row)
}

/** `tenantId` null makes a token of the platform. The actor's own rights are the ceiling of what the new token may. */
export async function createAccessToken(
  tx: Tx,
  token: {
    tenantId: string | null
    role: string
    name: string
    expiresAt?: Date | null | undefined
  },
  pepper: Pepper,
  ceiling: readonly Permission[] | 'bootstrap',
): Promise<{ token: AccessToken; secret: string }> {
  const rights = rightsOf(token.tenantId, token.role)
  if (rights.length === 0) {
    const roles = Object.keys(token.tenantId === null ? platformRights : tenantRights).join(', ')
    throw refuse(
      'client.invalid_request',
      `There is no role '${token.role}' here. Roles: ${roles}.`,
      'role',
    )
  }
  const excess =
    ceiling === 'bootstrap' ? undefined : rights.find((right) => !ceiling.includes(right))
  if (excess)
    throw refuse(
      'auth.permission_denied',
      `You cannot grant '${excess}', which you do not have yourself.`,
      'role',
    )
  if (token.tenantId !== null) await getTenant(tx, token.tenantId)
  const { secret, publicId } = createSecret('a', 'live')
  const row = await store.insertAccessToken(own(tx), {
    id: newId('tok'),
    tenant_id: token.tenantId,
    role: token.role,
    name: token.name,
    public_id: publicId,
    digest: digestSecret(pepper.key, secret),
    pepper_version: pepper.version,
    expires_at: token.expiresAt ?? null,
  })
  return { token: row, secret }
}

export async function listAccessTokens(
  tx: Tx,
  tenantId: string | null,
  page: store.PageRequest,
): Promise<Page<AccessToken>> {
  return toPage(await store.selectAccessTokens(own(tx), tenantId, page), page)
}

/** A token does not end itself: whoever revokes keeps one that works, so nobody locks everybody out. */
export async function revokeAccessToken(
  tx: Tx,
  tenantId: string | null,
  tokenId: string,
  revocation: { readonly byTokenId: string; readonly nowMs: number },
): Promise<AccessToken> {
  if (tokenId === revocation.byTokenId)
    throw refuse(
      'client.conflict',
      'This is the token that you are using. Create another one, and revoke this one with it.',
    )
  const at = new Date(revocation.nowMs)
  return (await store.revokeAccessToken(own(tx), tenantId, tokenId, at)) ?? notFound('access token')
}

/** The token behind a secret, or `undefined` for unknown, expired and revoked ones alike. */
export async function findAccessToken(
  tx: Tx,
  secret: string,
  peppers: ReadonlyMap<number, Buffer>,
  nowMs: number,
): Promise<AccessToken | undefined> {
  const parsed = parseSecret(secret)
  if (parsed?.type !== 'a') return undefined
  const row = await store.findAccessToken(own(tx), parsed.publicId)
  const pepper = row ? peppers.get(row.pepper_version) : undefined
  const digest = digestSecret(pepper ?? Buffer.alloc(32), secret)
  const matches = timingSafeEqual(digest, row?.digest ?? Buffer.alloc(32))
  if (!row || !pepper || !matches || row.revoked_at) return undefined
  return row.expires_at && row.expires_at.getTime() <= nowMs ? undefined : row
}

/** What a role may do; nothing for a role that does not exist on that side. */
export function rightsOf(tenantId: string | null, role: string): readonly Permission[] {
  const table: Readonly<Record<string, readonly Permission[]>> =
    tenantId === null ? platformRights : tenantRights
  return Object.hasOwn(table, role) ? (table[role] ?? []) : []
}

/** Rows of one page: some milliseconds of work, between which a gateway serves. */
const recordPage = 2_000

/** All keys, in pages. They are of one moment when the transaction is. */
export async function loadKeyRecords(tx: Tx): Promise<KeyRecords> {
  const records = createKeyRecords()
  const byId = (row: { readonly id: string }): string => row.id
  for await (const rows of pages((page) => store.selectTenantRecords(own(tx), page), byId))
    records.add({ tenants: rows.map(toTenantRecord) })
  for await (const rows of pages((page) => store.selectProjectRecords(own(tx), page), byId))
    records.add({ projects: rows.map(toProjectRecord) })
  const keys = pages(
    (page) => store.selectKeyRecords(own(tx), page),
    (row) => row.public_id,
  )
  for await (const rows of keys) records.add({ keys: rows.map(toKeyRecord) })
  return records
}

/** Reads again what these ids name. The records change when the returned function is called. */
export async function refreshKeyRecords(
  tx: Tx,
  records: KeyRecords,
  changed: ChangedIdentities,
): Promise<() => void> {
  const { tenantIds, projectIds, keyIds } = changed
  const tenants = await store.selectTenantRecords(own(tx), { ids: tenantIds })
  const projects = await store.selectProjectRecords(own(tx), { ids: projectIds })
  const keys = await store.selectKeyRecords(own(tx), { ids: keyIds })
  return () =>
    records.replace(changed, {
      tenants: tenants.map(toTenantRecord),
      projects: projects.map(toProjectRecord),
      keys: keys.map(toKeyRecord),
    })
}

async function* pages<Row>(
  select: (page: store.PageRequest) => Promise<Row[]>,
  cursorOf: (row: Row) => string,
): AsyncGenerator<readonly Row[]> {
  let after: string | undefined
  for (;;) {
    const rows = await select({ limit: recordPage, after })
    yield rows
    const last = rows.at(-1)
    if (last === undefined || rows.length < recordPage) return
    after = cursorOf(last)
  }
}

type RowOf<Select extends (...args: never[]) => Promise<readonly unknown[]>> = Awaited<
  ReturnType<Select>
>[number]

function toTenantRecord(row: RowOf<typeof store.selectTenantRecords>): TenantRecord {
  const { id, currency, price_list_id: priceListId, state, allowed_locations: allowed } = row
  const allowedLocations = allowed.length > 0 ? allowed : undefined
  const responsesKeptDays = row.responses_kept_days ?? undefined
  const active = state === 'active'
  return { id, currency, priceListId, active, allowedLocations, responsesKeptDays }
}

function toProjectRecord(row: RowOf<typeof store.selectProjectRecords>): ProjectRecord {
  return { id: row.id, active: row.state === 'active' }
}

function toKeyRecord(row: RowOf<typeof store.selectKeyRecords>): KeyRecord {
  return {
    publicId: row.public_id,
    digest: row.digest.toString('base64'),
    pepperVersion: row.pepper_version,
    secretExpiresAtMs: row.secret_expires_at?.getTime(),
    apiKeyId: row.api_key_id,
    tenantId: row.tenant_id,
    projectId: row.project_id,
    allowedModels: row.allowed_models ?? undefined,
    allowedIps: row.allowed_ips ?? undefined,
    expiresAtMs: row.expires_at?.getTime(),
    revoked: row.revoked_at !== null,
  }
}

/** Notes when keys were last used; gateways report in batches. */
export async function recordKeyUse(
  tx: Tx,
  uses: readonly { apiKeyId: string; usedAtMs: number }[],
): Promise<void> {
  await store.recordUses(
    own(tx),
    uses.map(({ apiKeyId, usedAtMs }) => ({ apiKeyId, usedAt: new Date(usedAtMs) })),
  )
}

async function addSecret(tx: Tx, key: store.ApiKeyRow, pepper: Pepper): Promise<string> {
  const { secret, publicId, hint } = createSecret('k', 'live')
  await store.insertSecret(own(tx), {
    tenant_id: key.tenant_id,
    api_key_id: key.id,
    public_id: publicId,
    digest: digestSecret(pepper.key, secret),
    pepper_version: pepper.version,
    hint,
  })
  return secret
}

async function withSecrets(tx: Tx, row: store.ApiKeyRow): Promise<ApiKey> {
  return toApiKey(row, await store.selectSecrets(own(tx), row.tenant_id, [row.id]))
}

function toApiKey(row: store.ApiKeyRow, secrets: readonly store.SecretRow[]): ApiKey {
  return {
    ...row,
    secrets: secrets
      .filter((secret) => secret.api_key_id === row.id)
      .map((secret) => ({
        hint: secret.hint,
        publicId: secret.public_id,
        expiresAt: secret.expires_at,
      })),
  }
}

function checkNetworks(blocks: readonly string[]): string[] {
  return blocks.map((block) => {
    const network = parseNetwork(block)
    if (network !== undefined) return network
    throw refuse(
      'client.invalid_request',
      'Each entry must be an address or a CIDR block, such as 10.0.0.0/8 or 2001:db8::/32.',
      'allowedIps',
    )
  })
}

function toPage<Row>(rows: readonly Row[], page: store.PageRequest): Page<Row> {
  return { rows: rows.slice(0, page.limit), hasMore: rows.length > page.limit }
}

/** Turns a broken unique constraint (SQLSTATE 23505) into words. */
async function unique<Result>(text: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === '23505') throw refuse('client.conflict', text)
    throw error
  }
}

function notFound(what: string): never {
  throw refuse('client.not_found', `There is no such ${what}.`)
}

function refuse(
  code:
    | 'client.not_found'
    | 'client.conflict'
    | 'client.invalid_request'
    | 'auth.permission_denied',
  text: string,
  param?: string,
): Fault {
  return new Fault({ code, public: text, param })
}
