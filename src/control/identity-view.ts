/** Tenants, projects, keys and tokens as the control API shows them: times as ISO strings, secrets never. */
import { z } from 'zod'
import type { AccessToken, ApiKey, Project, Tenant } from '../identity/identity.ts'

export const tenantView = z.object({
  id: z.string(),
  name: z.string(),
  currency: z.string(),
  priceListId: z.string(),
  planId: z.string().nullable(),
  state: z.enum(['active', 'suspended']),
  allowedLocations: z
    .array(z.string())
    .describe('Where its prompts may go besides our own machines; empty: nowhere.'),
  responsesKeptDays: z
    .number()
    .int()
    .nullable()
    .describe('How long responses are kept for requests with `store: true`; null: not at all.'),
  createdAt: z.string(),
})

export const projectView = z.object({
  id: z.string(),
  tenantId: z.string(),
  name: z.string(),
  state: z.enum(['active', 'archived']),
  createdAt: z.string(),
})

export const keyView = z.object({
  id: z.string(),
  tenantId: z.string(),
  projectId: z.string(),
  name: z.string(),
  allowedModels: z.array(z.string()).nullable(),
  allowedIps: z.array(z.string()).nullable(),
  expiresAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
  lastUsedAt: z.string().nullable(),
  createdAt: z.string(),
  secrets: z.array(
    z.object({ hint: z.string(), publicId: z.string(), expiresAt: z.string().nullable() }),
  ),
})

export const tokenView = z.object({
  id: z.string(),
  tenantId: z.string().nullable(),
  role: z.string(),
  name: z.string(),
  expiresAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
  createdAt: z.string(),
})

const iso = (moment: Date | null): string | null => moment?.toISOString() ?? null

export function viewTenant(tenant: Tenant): z.infer<typeof tenantView> {
  return {
    id: tenant.id,
    name: tenant.name,
    currency: tenant.currency,
    priceListId: tenant.price_list_id,
    planId: tenant.plan_id,
    state: tenant.state,
    allowedLocations: tenant.allowed_locations,
    responsesKeptDays: tenant.responses_kept_days,
    createdAt: tenant.created_at.toISOString(),
  }
}

export function viewProject(project: Project): z.infer<typeof projectView> {
  return {
    id: project.id,
    tenantId: project.tenant_id,
    name: project.name,
    state: project.state,
    createdAt: project.created_at.toISOString(),
  }
}

export function viewKey(key: ApiKey): z.infer<typeof keyView> {
  return {
    id: key.id,
    tenantId: key.tenant_id,
    projectId: key.project_id,
    name: key.name,
    allowedModels: key.allowed_models,
    allowedIps: key.allowed_ips,
    expiresAt: iso(key.expires_at),
    revokedAt: iso(key.revoked_at),
    lastUsedAt: iso(key.last_used_at),
    createdAt: key.created_at.toISOString(),
    secrets: key.secrets.map((secret) => ({ ...secret, expiresAt: iso(secret.expiresAt) })),
  }
}

export function viewToken(token: AccessToken): z.infer<typeof tokenView> {
  return {
    id: token.id,
    tenantId: token.tenant_id,
    role: token.role,
    name: token.name,
    expiresAt: iso(token.expires_at),
    revokedAt: iso(token.revoked_at),
    createdAt: token.created_at.toISOString(),
  }
}
