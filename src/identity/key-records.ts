/**
 * All keys as a gateway holds them in memory. A key refers to its tenant and its project, so that a tenant that is suspended is one change,
 * however many keys it has. Pure.
 */
import { toNetworks, type Network } from './network.ts'

/** One live secret with all that decides about it. Survives a trip through JSON, because gateways keep a sealed copy on disk. */
export interface KeyRecord {
  readonly publicId: string
  /** Base64 of 32 bytes. */
  readonly digest: string
  readonly pepperVersion: number
  /** Of this secret: set when a rotation has replaced it. */
  readonly secretExpiresAtMs?: number | undefined
  readonly apiKeyId: string
  readonly tenantId: string
  readonly projectId: string
  readonly allowedModels?: readonly string[] | undefined
  /** CIDR blocks. */
  readonly allowedIps?: readonly string[] | undefined
  readonly expiresAtMs?: number | undefined
  readonly revoked: boolean
}

export interface TenantRecord {
  readonly id: string
  readonly currency: string
  readonly priceListId: string
  readonly active: boolean
  /** Places where its prompts may go besides our own machines; none when left out, as in copies of earlier versions. */
  readonly allowedLocations?: readonly string[] | undefined
  /** How long its responses are kept, for requests that ask for it; not at all when left out. */
  readonly responsesKeptDays?: number | undefined
}

export interface ProjectRecord {
  readonly id: string
  readonly active: boolean
}

export interface IdentityRecords {
  readonly keys: readonly KeyRecord[]
  readonly tenants: readonly TenantRecord[]
  readonly projects: readonly ProjectRecord[]
}

export interface ChangedIdentities {
  readonly keyIds: readonly string[]
  readonly tenantIds: readonly string[]
  readonly projectIds: readonly string[]
}

export interface KeyEntry {
  readonly record: KeyRecord
  readonly digest: Buffer
  readonly networks: readonly Network[] | undefined
}

export interface KeyRecords {
  find(publicId: string): KeyEntry | undefined
  /** All secrets of a key. */
  ofKey(apiKeyId: string): readonly KeyEntry[]
  tenant(tenantId: string): TenantRecord | undefined
  isProjectActive(projectId: string): boolean
  add(records: Partial<IdentityRecords>): void
  /** Replaces all that was known of these ids; what has no record any more is gone. */
  replace(changed: ChangedIdentities, records: IdentityRecords): void
  /** Of secrets. */
  readonly size: number
  /** As they are while they are read: what is added meanwhile may come along. */
  all(): { readonly [Name in keyof IdentityRecords]: Iterable<IdentityRecords[Name][number]> }
}

export function createKeyRecords(records: Partial<IdentityRecords> = {}): KeyRecords {
  const entries = new Map<string, KeyEntry>()
  /** A key has one secret, or two while a rotation overlaps. */
  const publicIds = new Map<string, readonly string[]>()
  const tenants = new Map<string, TenantRecord>()
  const projects = new Map<string, ProjectRecord>()

  const add = (added: Partial<IdentityRecords>): void => {
    for (const tenant of added.tenants ?? []) tenants.set(tenant.id, tenant)
    for (const project of added.projects ?? []) projects.set(project.id, project)
    for (const record of added.keys ?? []) {
      const { publicId, apiKeyId } = record
      if (!entries.has(publicId))
        publicIds.set(apiKeyId, [...(publicIds.get(apiKeyId) ?? []), publicId])
      entries.set(publicId, toEntry(record))
    }
  }
  add(records)
  return {
    find: (publicId) => entries.get(publicId),
    ofKey: (apiKeyId) =>
      (publicIds.get(apiKeyId) ?? []).flatMap((publicId) => entries.get(publicId) ?? []),
    tenant: (tenantId) => tenants.get(tenantId),
    isProjectActive: (projectId) => projects.get(projectId)?.active ?? false,
    add,
    replace(changed, now) {
      for (const id of changed.tenantIds) tenants.delete(id)
      for (const id of changed.projectIds) projects.delete(id)
      for (const id of changed.keyIds) {
        for (const publicId of publicIds.get(id) ?? []) entries.delete(publicId)
        publicIds.delete(id)
      }
      add(now)
    },
    get size() {
      return entries.size
    },
    all: () => ({
      keys: entries.values().map((entry) => entry.record),
      tenants: tenants.values(),
      projects: projects.values(),
    }),
  }
}

function toEntry(record: KeyRecord): KeyEntry {
  return {
    record,
    digest: Buffer.from(record.digest, 'base64'),
    networks: record.allowedIps && toNetworks(record.allowedIps),
  }
}
