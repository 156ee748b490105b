/** The one way to authenticate with a key, and to ask later whether it still may. Pure. */
import { timingSafeEqual } from 'node:crypto'
import { digestSecret, parseSecret } from './api-key.ts'
import type { KeyEntry, KeyRecords } from './key-records.ts'
import { isWithin } from './network.ts'
import type { Principal } from './principal.ts'

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
  /** Whether a key that has asked for work earlier may still have it done; no secret is presented, and no address is involved. */
  recall(apiKeyId: string, nowMs: number): Authentication
}

const nowhere: readonly string[] = []

type KeyLookup = Pick<KeyRecords, 'find' | 'ofKey' | 'tenant' | 'isProjectActive'>

export function createKeyDirectory(
  records: KeyLookup,
  peppers: ReadonlyMap<number, Buffer>,
): KeyDirectory {
  const dummyPepper = Buffer.alloc(32)
  const dummyDigest = Buffer.alloc(32)

  return {
    authenticate({ secret, ip, nowMs }) {
      if (secret === '') return refuse('auth.missing_key', 'no key presented')
      const parsed = parseSecret(secret)
      if (parsed?.type !== 'k') return refuse('auth.invalid_key', 'not the format of an API key')
      const entry = records.find(parsed.publicId)
      // An unknown key costs the same computation as a known one, so the answer's time tells nothing.
      const pepper = entry ? peppers.get(entry.record.pepperVersion) : undefined
      const digest = digestSecret(pepper ?? dummyPepper, secret)
      const matches = timingSafeEqual(digest, entry?.digest ?? dummyDigest)
      if (!entry || !pepper || !matches) return refuse('auth.invalid_key', 'unknown key')
      return judge(entry, { records, ip, nowMs })
    },
    recall(apiKeyId, nowMs) {
      // All secrets of a key say the same of the key itself.
      const entry = records
        .ofKey(apiKeyId)
        .find(({ record }) => !isPast(record.secretExpiresAtMs, nowMs))
      if (!entry) return refuse('auth.invalid_key', `${apiKeyId} has no valid secret`)
      return judge(entry, { records, ip: undefined, nowMs })
    },
  }
}

function judge(
  entry: KeyEntry,
  {
    records,
    ip,
    nowMs,
  }: {
    readonly records: KeyLookup
    /** `undefined` where none is involved. */
    readonly ip: string | undefined
    readonly nowMs: number
  },
): Authentication {
  const { record: key } = entry
  const { apiKeyId, tenantId, projectId } = key
  if (key.revoked) return refuse('auth.invalid_key', `${apiKeyId} is revoked`)
  const tenant = records.tenant(tenantId)
  if (!tenant?.active || !records.isProjectActive(projectId))
    return refuse('auth.invalid_key', `${apiKeyId}: tenant or project is not active`)
  if (isPast(key.expiresAtMs, nowMs)) return refuse('auth.invalid_key', `${apiKeyId} has expired`)
  if (isPast(key.secretExpiresAtMs, nowMs)) {
    return refuse('auth.invalid_key', `${apiKeyId}: this secret was replaced by a rotation`)
  }
  if (ip !== undefined && entry.networks && !isWithin(ip, entry.networks)) {
    return refuse('auth.ip_not_allowed', `${apiKeyId}: address not on its list`)
  }
  const { currency, priceListId, responsesKeptDays } = tenant
  const principal = {
    tenantId,
    projectId,
    apiKeyId,
    currency,
    priceListId,
    allowedModels: key.allowedModels,
    allowedLocations: tenant.allowedLocations ?? nowhere,
    responsesKeptDays,
  }
  return { outcome: 'accepted', principal }
}

function isPast(momentMs: number | undefined, nowMs: number): boolean {
  return momentMs !== undefined && momentMs <= nowMs
}

function refuse(
  code: 'auth.missing_key' | 'auth.invalid_key' | 'auth.ip_not_allowed',
  reason: string,
): Authentication {
  return { outcome: 'refused', code, reason }
}
