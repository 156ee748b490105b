/** Roles and what they may do. Permissions are `<resource>:<verb>`; a role that a line does not name is refused. */

export type Permission =
  | 'tenants:read'
  | 'tenants:write'
  | 'projects:read'
  | 'projects:write'
  | 'keys:read'
  | 'keys:write'
  | 'tokens:read'
  | 'tokens:write'
  | 'catalog:read'
  | 'catalog:write'
  | 'fleet:read'
  | 'fleet:write'
  | 'fleet:report'
  | 'usage:read'
  | 'plans:read'
  | 'plans:write'
  | 'limits:read'
  | 'limits:write'
  | 'credit:read'
  | 'credit:write'
  | 'batches:read'
  | 'batches:write'
  | 'audit:read'

/** Provider's staff and machines: they act on every tenant. */
export type PlatformRole = 'operator' | 'auditor' | 'agent'
/** Members of one tenant: they act on that tenant alone. */
export type TenantRole = 'owner' | 'admin' | 'developer' | 'billing' | 'auditor'

export const platformRights: Readonly<Record<PlatformRole, readonly Permission[]>> = {
  operator: [
    'tenants:read',
    'tenants:write',
    'projects:read',
    'projects:write',
    'keys:read',
    'keys:write',
    'tokens:read',
    'tokens:write',
    'catalog:read',
    'catalog:write',
    'fleet:read',
    'fleet:write',
    // Nobody grants what they lack, and operators make the agents' tokens.
    'fleet:report',
    'usage:read',
    'plans:read',
    'plans:write',
    'limits:read',
    'limits:write',
    'credit:read',
    'credit:write',
    'batches:read',
    'batches:write',
    'audit:read',
  ],
  auditor: [
    'tenants:read',
    'projects:read',
    'keys:read',
    'tokens:read',
    'catalog:read',
    'fleet:read',
    'usage:read',
    'plans:read',
    'limits:read',
    'credit:read',
    'batches:read',
    'audit:read',
  ],
  agent: ['fleet:report'],
}

export const tenantRights: Readonly<Record<TenantRole, readonly Permission[]>> = {
  owner: [
    'tenants:read',
    'projects:read',
    'projects:write',
    'keys:read',
    'keys:write',
    'tokens:read',
    'tokens:write',
    'usage:read',
    'limits:read',
    'limits:write',
    'credit:read',
    'batches:read',
    'batches:write',
    'audit:read',
  ],
  admin: [
    'tenants:read',
    'projects:read',
    'projects:write',
    'keys:read',
    'keys:write',
    'tokens:read',
    'usage:read',
    'limits:read',
    'limits:write',
    'credit:read',
    'batches:read',
    'batches:write',
    'audit:read',
  ],
  developer: [
    'tenants:read',
    'projects:read',
    'keys:read',
    'usage:read',
    'limits:read',
    'batches:read',
    'batches:write',
  ],
  billing: ['tenants:read', 'usage:read', 'limits:read', 'credit:read'],
  auditor: [
    'tenants:read',
    'projects:read',
    'keys:read',
    'tokens:read',
    'usage:read',
    'limits:read',
    'credit:read',
    'batches:read',
    'audit:read',
  ],
}
