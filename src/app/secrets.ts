/**
 * One root secret, and from it one key for each purpose (HKDF-SHA-256 with fixed labels), so that what is made for one purpose is
 * worthless for another.
 */
import { createHmac, hkdfSync, randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { Fault } from '../platform/fault.ts'
import { createSeal, type Seal } from '../platform/seal.ts'

export interface Secrets {
  /** For digests of API keys and access tokens, by version. */
  readonly peppers: ReadonlyMap<number, Buffer>
  readonly pepperVersion: number
  /** For what the database keeps sealed. */
  readonly atRest: Seal
  /** For the gateway's snapshot on disk. */
  readonly snapshot: Seal
  /** What keeps a tenant's prefix caches apart from all others'. */
  readonly cacheSalt: (tenantId: string) => string
  /** For what a tenant's clients carry from one request to the next. */
  readonly sealFor: (tenantId: string) => Seal
  /** For digests of idempotency keys, and of what came with them. */
  readonly idempotency: Buffer
  /** The private key that signs receipts. Whoever has a copy of the root has it too, so all gateways sign alike. */
  readonly receiptSeed: Buffer
  /** Of the roles' login, on a PostgreSQL that is not ours. */
  readonly databasePassword: string
}

const rootBytes = 32

/** Reads the root secret. Throws when there is none, when it is too short, or readable by others. */
export function existingSecrets(path: string): Secrets {
  const root = readRoot(path)
  const key = (label: string): Buffer =>
    Buffer.from(hkdfSync('sha256', root, Buffer.alloc(0), `colonnade/${label}`, rootBytes))
  const saltKey = key('cache-salt/v1')
  const carriedKey = key('carried-content/v1')
  return {
    peppers: new Map([[1, key('key-pepper/v1')]]),
    pepperVersion: 1,
    atRest: createSeal(key('at-rest/v1')),
    snapshot: createSeal(key('gateway-snapshot/v1')),
    cacheSalt: (tenantId) => createHmac('sha256', saltKey).update(tenantId).digest('base64url'),
    sealFor: (tenantId) => createSeal(createHmac('sha256', carriedKey).update(tenantId).digest()),
    idempotency: key('idempotency/v1'),
    receiptSeed: key('receipt-signing/v1'),
    databasePassword: key('database-login/v1').toString('base64url'),
  }
}

/** Reads the root secret, or makes it on the first start. */
export function loadSecrets(path: string): Secrets {
  if (!existsSync(path)) createRoot(path)
  return existingSecrets(path)
}

export function secretPath(config: {
  readonly dataDirectory: string
  readonly secretFile?: string | undefined
}): string {
  return config.secretFile ?? join(config.dataDirectory, 'secrets', 'root')
}

function readRoot(path: string): Buffer {
  if (!existsSync(path)) {
    throw refuse(
      `There is no root secret at ${path}. A role on another machine needs a copy of the first machine's DATA/secrets/root: put it there, or name it with COLONNADE_SECRET_FILE.`,
    )
  }
  const root = readFileSync(path)
  if (root.length !== rootBytes)
    throw refuse(`${path} must hold exactly ${rootBytes} bytes. Restore it from your backup.`)
  if ((statSync(path).mode & 0o077) !== 0)
    throw refuse(`${path} is readable by others. Run: chmod 400 ${path}`)
  return root
}

function createRoot(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  // A start that was killed may have left one, and it cannot be written over.
  rmSync(`${path}.partial`, { force: true })
  writeFileSync(`${path}.partial`, randomBytes(rootBytes), { mode: 0o400, flush: true })
  renameSync(`${path}.partial`, path)
}

function refuse(text: string): Fault {
  return new Fault({ code: 'client.invalid_request', public: text })
}
