/**
 * The format of secrets: `cln_<type>_<env>_<public id>_<30 random><6 checksum>`. A scanner recognises it, a typing error is found without
 * any look-up, the public id finds the record, and 178 random bits need no slow hash (ASVS 6.5.2).
 */
import { createHmac } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { randomBase62 } from '../platform/ids.ts'

/** `k`: API key for the data plane; `a`: access token for the control API. */
export type SecretType = 'k' | 'a'
export type SecretEnvironment = 'live' | 'test'

/** For secret scanners. A match whose checksum fails is not ours. */
export const secretPattern =
  /\bcln_(k|a)_(live|test)_([0-9A-Za-z]{10})_([0-9A-Za-z]{30})([0-9A-Za-z]{6})\b/

const wholePattern = new RegExp(`^${secretPattern.source.replaceAll('\\b', '')}$`)

export interface NewSecret {
  /** Shown once, stored nowhere. */
  readonly secret: string
  readonly publicId: string
  /** The last characters, to recognise it in a list. */
  readonly hint: string
}

export function createSecret(type: SecretType, environment: SecretEnvironment): NewSecret {
  const publicId = randomBase62(10)
  const body = `cln_${type}_${environment}_${publicId}_${randomBase62(30)}`
  const secret = body + checksum(body)
  return { secret, publicId, hint: secret.slice(-4) }
}

/** Returns `undefined` for anything that was never issued: wrong shape or wrong checksum. */
export function parseSecret(text: string):
  | {
      readonly type: SecretType
      readonly environment: SecretEnvironment
      readonly publicId: string
    }
  | undefined {
  const match = wholePattern.exec(text)
  if (!match) return undefined
  const [, type, environment, publicId = '', , given] = match
  if (checksum(text.slice(0, -6)) !== given) return undefined
  return {
    type: type === 'a' ? 'a' : 'k',
    environment: environment === 'test' ? 'test' : 'live',
    publicId,
  }
}

/** What is stored of a secret: 32 bytes that are worthless without the pepper, which is not in the database. */
export function digestSecret(pepper: Buffer, secret: string): Buffer {
  return createHmac('sha256', pepper).update(secret).digest()
}

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** CRC-32 as six base-62 digits: 62^6 > 2^32. */
function checksum(text: string): string {
  let rest = crc32(text)
  let encoded = ''
  for (let i = 0; i < 6; i += 1) {
    encoded = (digits[rest % 62] ?? '0') + encoded
    rest = Math.floor(rest / 62)
  }
  return encoded
}
