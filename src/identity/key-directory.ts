/** All keys as a gateway holds them in memory, and the one way to authenticate with one. Pure. */
import { timingSafeEqual } from 'node:crypto'
import { digestSecret, parseSecret } from './api-key.ts'
import { isWithin, toNetworks, type Network } from './network.ts'
import type { Principal } from './principal.ts'

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
  readonly currency: string
  readonly priceListId: string
  readonly allowedModels?: readonly string[] | undefined
  /** CIDR blocks. */
  readonly allowedIps?: readonly string[] | undefined
  readonly expiresAtMs?: number | undefined
  readonly revoked: boolean
  /** Tenant and project are active. */
  readonly active: boolean
}

export type Authentication =
  | { readonly outcome: 'accepted'; readonly principal: Principal }
  | {
      readonly outcome: 'refused'
      readonly code: 'auth.missing_key' | 'auth.invalid_key' | 'auth.ip_not_allowed'
      /** For the operator's log. Callers get the same text for every invalid key. */
      readonly reason: string
    }

export interface KeyDirectory {
  authenticate(request: {
    readonly secret: string
    readonly ip: string
    readonly nowMs: number
  }): Authentication
}

interface Entry {
  readonly record: KeyRecord
  readonly digest: Buffer
  readonly networks: readonly Network[] | undefined
  readonly principal: Principal
}

export function createKeyDirectory(
  records: readonly KeyRecord[],
  peppers: ReadonlyMap<number, Buffer>,
): KeyDirectory {
  const entries = new Map(records.map((record) => [record.publicId, toEntry(record)]))
  const dummyPepper = Buffer.alloc(32)
  const dummyDigest = Buffer.alloc(32)

  return {
    authenticate({ secret, ip, nowMs }) {
      if (secret === '') return refuse('auth.missing_key', 'no key presented')
      const parsed = parseSecret(secret)
      if (parsed?.type !== 'k') return refuse('auth.invalid_key', 'not the format of an API key')
      const entry = entries.get(parsed.publicId)
      // An unknown key costs the same computation as a known one, so the answer's time tells nothing.
      const pepper = entry ? peppers.get(entry.record.pepperVersion) : undefined
      const digest = digestSecret(pepper ?? dummyPepper, secret)
      const matches = timingSafeEqual(digest, entry?.digest ?? dummyDigest)
      if (!entry || !pepper || !matches) return refuse('auth.invalid_key', 'unknown key')
      return judge(entry, ip, nowMs)
    },
  }
}

function judge(entry: Entry, ip: string, nowMs: number): Authentication {
  const { record } = entry
  if (record.revoked) return refuse('auth.invalid_key', `${record.apiKeyId} is revoked`)
  if (!record.active)
    return refuse('auth.invalid_key', `${record.apiKeyId}: tenant or project is not active`)
  if (isPast(record.expiresAtMs, nowMs))
    return refuse('auth.invalid_key', `${record.apiKeyId} has expired`)
  if (isPast(record.secretExpiresAtMs, nowMs)) {
    return refuse('auth.invalid_key', `${record.apiKeyId}: this secret was replaced by a rotation`)
  }
  if (entry.networks && !isWithin(ip, entry.networks)) {
    return refuse('auth.ip_not_allowed', `${record.apiKeyId}: address not on its list`)
  }
  return { outcome: 'accepted', principal: entry.principal }
}

function isPast(momentMs: number | undefined, nowMs: number): boolean {
  return momentMs !== undefined && momentMs <= nowMs
}

function toEntry(record: KeyRecord): Entry {
  return {
    record,
    digest: Buffer.from(record.digest, 'base64'),
    networks: record.allowedIps && toNetworks(record.allowedIps),
    principal: {
      tenantId: record.tenantId,
      projectId: record.projectId,
      apiKeyId: record.apiKeyId,
      currency: record.currency,
      priceListId: record.priceListId,
      allowedModels: record.allowedModels,
    },
  }
}

function refuse(
  code: 'auth.missing_key' | 'auth.invalid_key' | 'auth.ip_not_allowed',
  reason: string,
): Authentication {
  return { outcome: 'refused', code, reason }
}
