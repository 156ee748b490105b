/** SQL of identity. Every statement that concerns a tenant names it, besides row-level security: two locks on one door. */
import { sql, type ColumnType, type Generated, type Selectable } from 'kysely'
import type { Sql } from '../platform/postgres/database.ts'

/** Set by the database. */
type CreatedAt = ColumnType<Date, never, never>
type MomentOrNull = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>

export interface IdentityTables {
  tenants: {
    id: string
    name: string
    currency: Generated<string>
    price_list_id: string
    plan_id: string | null
    state: Generated<'active' | 'suspended'>
    allowed_locations: Generated<string[]>
    responses_kept_days: number | null
    created_at: CreatedAt
  }
  projects: {
    tenant_id: string
    id: string
    name: string
    state: Generated<'active' | 'archived'>
    created_at: CreatedAt
  }
  api_keys: {
    tenant_id: string
    project_id: string
    id: string
    name: string
    allowed_models: string[] | null
    allowed_ips: string[] | null
    expires_at: MomentOrNull
    revoked_at: MomentOrNull
    created_at: CreatedAt
    last_used_at: MomentOrNull
  }
  api_key_secrets: {
    tenant_id: string
    api_key_id: string
    public_id: string
    digest: Buffer
    pepper_version: number
    hint: string
    expires_at: MomentOrNull
    created_at: CreatedAt
  }
  access_tokens: {
    id: string
    tenant_id: string | null
    role: string
    name: string
    public_id: string
    digest: Buffer
    pepper_version: number
    expires_at: MomentOrNull
    revoked_at: MomentOrNull
    created_at: CreatedAt
  }
}

/** Tables of the catalogue and of limits; read for the currency in which their tenants are charged. */
interface CurrencyTables {
  price_lists: { id: string; currency: string }
  plans: { id: string; currency: string }
}

export type IdentitySql = Sql<IdentityTables & CurrencyTables>
export type TenantRow = Selectable<IdentityTables['tenants']>
export type ProjectRow = Selectable<IdentityTables['projects']>
export type ApiKeyRow = Selectable<IdentityTables['api_keys']>
export type SecretRow = Selectable<IdentityTables['api_key_secrets']>
export type AccessTokenRow = Selectable<IdentityTables['access_tokens']>

/** Rows after `after` in the order of ids; one more than the page tells whether there is a next one. */
export interface PageRequest {
  readonly limit: number
  readonly after?: string | undefined
}

export const insertTenant = (
  tx: IdentitySql,
  row: {
    id: string
    name: string
    price_list_id: string
    currency: string
    plan_id?: string | undefined
    allowed_locations?: string[] | undefined
  },
): Promise<TenantRow> =>
  tx.insertInto('tenants').values(row).returningAll().executeTakeFirstOrThrow()

export const findTenant = (tx: IdentitySql, tenantId: string): Promise<TenantRow | undefined> =>
  tx.selectFrom('tenants').selectAll().where('id', '=', tenantId).executeTakeFirst()

export const selectTenants = (tx: IdentitySql, page: PageRequest): Promise<TenantRow[]> =>
  tx
    .selectFrom('tenants')
    .selectAll()
    .where('id', '>', page.after ?? '')
    .orderBy('id')
    .limit(page.limit + 1)
    .execute()

export const updateTenant = (
  tx: IdentitySql,
  tenantId: string,
  change: {
    name?: string | undefined
    state?: 'active' | 'suspended' | undefined
    price_list_id?: string | undefined
    plan_id?: string | null | undefined
    allowed_locations?: string[] | undefined
    responses_kept_days?: number | null | undefined
  },
): Promise<TenantRow | undefined> =>
  tx.updateTable('tenants').set(change).where('id', '=', tenantId).returningAll().executeTakeFirst()

export const findPriceListCurrency = (
  tx: IdentitySql,
  priceListId: string,
): Promise<{ currency: string } | undefined> =>
  tx.selectFrom('price_lists').select('currency').where('id', '=', priceListId).executeTakeFirst()

export const findPlanCurrency = (
  tx: IdentitySql,
  planId: string,
): Promise<{ currency: string } | undefined> =>
  tx.selectFrom('plans').select('currency').where('id', '=', planId).executeTakeFirst()

export const insertProject = (
  tx: IdentitySql,
  row: { tenant_id: string; id: string; name: string },
): Promise<ProjectRow> =>
  tx.insertInto('projects').values(row).returningAll().executeTakeFirstOrThrow()

export const findProject = (
  tx: IdentitySql,
  tenantId: string,
  projectId: string,
): Promise<ProjectRow | undefined> =>
  tx
    .selectFrom('projects')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '=', projectId)
    .executeTakeFirst()

export const selectProjects = (
  tx: IdentitySql,
  tenantId: string,
  page: PageRequest,
): Promise<ProjectRow[]> =>
  tx
    .selectFrom('projects')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '>', page.after ?? '')
    .orderBy('id')
    .limit(page.limit + 1)
    .execute()

export const updateProject = (
  tx: IdentitySql,
  tenantId: string,
  projectId: string,
  change: { name?: string | undefined; state?: 'active' | 'archived' | undefined },
): Promise<ProjectRow | undefined> =>
  tx
    .updateTable('projects')
    .set(change)
    .where('tenant_id', '=', tenantId)
    .where('id', '=', projectId)
    .returningAll()
    .executeTakeFirst()

export const insertApiKey = (
  tx: IdentitySql,
  row: Pick<
    ApiKeyRow,
    'tenant_id' | 'project_id' | 'id' | 'name' | 'allowed_models' | 'allowed_ips' | 'expires_at'
  >,
): Promise<ApiKeyRow> =>
  tx.insertInto('api_keys').values(row).returningAll().executeTakeFirstOrThrow()

export const insertSecret = (
  tx: IdentitySql,
  row: Pick<
    SecretRow,
    'tenant_id' | 'api_key_id' | 'public_id' | 'digest' | 'pepper_version' | 'hint'
  >,
): Promise<unknown> => tx.insertInto('api_key_secrets').values(row).execute()

/** Locks the row, so that two rotations of one key follow each other. */
export const lockApiKey = (
  tx: IdentitySql,
  tenantId: string,
  apiKeyId: string,
): Promise<ApiKeyRow | undefined> =>
  tx
    .selectFrom('api_keys')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '=', apiKeyId)
    .forUpdate()
    .executeTakeFirst()

export const selectApiKeys = (
  tx: IdentitySql,
  tenantId: string,
  page: PageRequest,
): Promise<ApiKeyRow[]> =>
  tx
    .selectFrom('api_keys')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('id', '>', page.after ?? '')
    .orderBy('id')
    .limit(page.limit + 1)
    .execute()

export const selectSecrets = (
  tx: IdentitySql,
  tenantId: string,
  apiKeyIds: readonly string[],
): Promise<SecretRow[]> =>
  tx
    .selectFrom('api_key_secrets')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('api_key_id', 'in', ['', ...apiKeyIds])
    .orderBy('created_at')
    .execute()

export const updateApiKey = (
  tx: IdentitySql,
  tenantId: string,
  apiKeyId: string,
  change: {
    name?: string | undefined
    allowed_models?: string[] | null | undefined
    allowed_ips?: string[] | null | undefined
    expires_at?: Date | null | undefined
    revoked_at?: Date | undefined
  },
): Promise<ApiKeyRow | undefined> =>
  tx
    .updateTable('api_keys')
    .set(change)
    .where('tenant_id', '=', tenantId)
    .where('id', '=', apiKeyId)
    .returningAll()
    .executeTakeFirst()

/** Gives every secret of the key an end, unless it has an earlier one. */
export const expireSecrets = (
  tx: IdentitySql,
  tenantId: string,
  apiKeyId: string,
  at: Date,
): Promise<unknown> =>
  tx
    .updateTable('api_key_secrets')
    .set({ expires_at: at })
    .where('tenant_id', '=', tenantId)
    .where('api_key_id', '=', apiKeyId)
    .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', at)]))
    .execute()

export const insertAccessToken = (
  tx: IdentitySql,
  row: Pick<
    AccessTokenRow,
    'id' | 'tenant_id' | 'role' | 'name' | 'public_id' | 'digest' | 'pepper_version' | 'expires_at'
  >,
): Promise<AccessTokenRow> =>
  tx.insertInto('access_tokens').values(row).returningAll().executeTakeFirstOrThrow()

export const findAccessToken = (
  tx: IdentitySql,
  publicId: string,
): Promise<AccessTokenRow | undefined> =>
  tx.selectFrom('access_tokens').selectAll().where('public_id', '=', publicId).executeTakeFirst()

/** `tenantId` null selects the platform's own tokens. */
export const selectAccessTokens = (
  tx: IdentitySql,
  tenantId: string | null,
  page: PageRequest,
): Promise<AccessTokenRow[]> =>
  tx
    .selectFrom('access_tokens')
    .selectAll()
    .where('tenant_id', tenantId === null ? 'is' : '=', tenantId)
    .where('id', '>', page.after ?? '')
    .orderBy('id')
    .limit(page.limit + 1)
    .execute()

export const revokeAccessToken = (
  tx: IdentitySql,
  tenantId: string | null,
  tokenId: string,
  at: Date,
): Promise<AccessTokenRow | undefined> =>
  tx
    .updateTable('access_tokens')
    .set({ revoked_at: sql`coalesce(revoked_at, ${at})` })
    .where('tenant_id', tenantId === null ? 'is' : '=', tenantId)
    .where('id', '=', tokenId)
    .returningAll()
    .executeTakeFirst()

/** Those of these ids, or a page in the order of ids. */
export type RecordSelection = { readonly ids: readonly string[] } | PageRequest

/** Secrets with what their keys decide about them: the gateways' snapshot. Ids are those of keys; pages are in the order of public ids. */
export const selectKeyRecords = (tx: IdentitySql, selection: RecordSelection) => {
  const secrets = tx
    .selectFrom('api_key_secrets as secret')
    .innerJoin('api_keys as key', (join) =>
      join
        .onRef('key.tenant_id', '=', 'secret.tenant_id')
        .onRef('key.id', '=', 'secret.api_key_id'),
    )
    .select([
      'secret.public_id',
      'secret.digest',
      'secret.pepper_version',
      'secret.expires_at as secret_expires_at',
      'key.id as api_key_id',
      'key.tenant_id',
      'key.project_id',
      'key.allowed_models',
      'key.allowed_ips',
      'key.expires_at',
      'key.revoked_at',
    ])
  if ('ids' in selection) return secrets.where('key.id', '=', anyOf(selection.ids)).execute()
  return secrets
    .where('secret.public_id', '>', selection.after ?? '')
    .orderBy('secret.public_id')
    .limit(selection.limit)
    .execute()
}

export const selectTenantRecords = (tx: IdentitySql, selection: RecordSelection) => {
  const tenants = tx
    .selectFrom('tenants')
    .select([
      'id',
      'currency',
      'price_list_id',
      'state',
      'allowed_locations',
      'responses_kept_days',
    ])
  if ('ids' in selection) return tenants.where('id', '=', anyOf(selection.ids)).execute()
  return tenants
    .where('id', '>', selection.after ?? '')
    .orderBy('id')
    .limit(selection.limit)
    .execute()
}

export const selectProjectRecords = (tx: IdentitySql, selection: RecordSelection) => {
  const projects = tx.selectFrom('projects').select(['id', 'state'])
  if ('ids' in selection) return projects.where('id', '=', anyOf(selection.ids)).execute()
  return projects
    .where('id', '>', selection.after ?? '')
    .orderBy('id')
    .limit(selection.limit)
    .execute()
}

/** One parameter, however many ids. */
const anyOf = (ids: readonly string[]) => sql<string>`ANY(${[...ids]}::text[])`

/** All in one statement, sorted so that gateways that report the same keys do not wait for each other in a circle. Never moves back. */
export const recordUses = (
  tx: IdentitySql,
  uses: readonly { readonly apiKeyId: string; readonly usedAt: Date }[],
): Promise<unknown> =>
  sql`
    WITH use AS (
      SELECT * FROM unnest(${uses.map((use) => use.apiKeyId)}::text[], ${uses.map((use) => use.usedAt)}::timestamptz[]) AS use (id, used_at)
    ), locked AS (
      SELECT api_keys.id, used_at FROM api_keys JOIN use USING (id) ORDER BY api_keys.id FOR UPDATE OF api_keys
    )
    UPDATE api_keys SET last_used_at = greatest(last_used_at, locked.used_at) FROM locked WHERE api_keys.id = locked.id`.execute(
    tx,
  )
