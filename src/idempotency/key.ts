/**
 * Keys that callers choose, and what is kept of them. Digests are made with a secret of the installation's, so that a copy of the database tells
 * neither a key nor anything about a body, not even whether it is a certain one.
 */
import { createHmac } from 'node:crypto'
import { Fault } from '../platform/fault.ts'

export const idempotencyHeader = 'idempotency-key'
/** On an answer to a repetition. */
export const replayedHeader = 'idempotency-replayed'

const keyLengthMax = 255
const visible = new RegExp(`^[\\x21-\\x7e]{1,${keyLengthMax}}$`)

/** Returns the key that a request carries; `undefined` for none. A header that was sent twice is no key. */
export function parseIdempotencyKey(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
): string | undefined {
  const value = headers[idempotencyHeader]
  if (value === undefined) return undefined
  if (typeof value === 'string' && visible.test(value)) return value
  throw new Fault({
    code: 'client.invalid_request',
    public: `The header 'Idempotency-Key' takes 1 to ${keyLengthMax} visible ASCII characters, such as a UUID.`,
    param: 'Idempotency-Key',
  })
}

/** The parts cannot run into each other; `body` comes after them, as it is. */
export function digest(
  secret: Buffer,
  parts: readonly unknown[],
  body?: readonly Buffer[],
): Buffer {
  const hmac = createHmac('sha256', secret).update(JSON.stringify(parts))
  if (body) hmac.update('\0')
  for (const piece of body ?? []) hmac.update(piece)
  return hmac.digest()
}
