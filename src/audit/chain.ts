/** The chain's arithmetic, for writers and for verifiers that hold nothing but a copy. Pure. */
import { createHash } from 'node:crypto'

export interface AuditRow {
  readonly sequence: number
  readonly payload: string
  readonly previousHash: string
  readonly hash: string
}

/** A point of the chain. A copy kept elsewhere binds everything up to it. */
export interface Head {
  readonly sequence: number
  readonly hash: string
}

export type Verification =
  | { readonly outcome: 'intact'; readonly head: Head }
  | { readonly outcome: 'broken'; readonly sequence: number; readonly reason: string }

/** Where every chain begins. */
export const genesis: Head = { sequence: 0, hash: '00'.repeat(32) }

/** hash = SHA-256(previous hash ‖ sequence as 8 bytes big-endian ‖ payload as UTF-8), as `append_audit` computes it. */
export function entryHash(previousHash: string, sequence: number, payload: string): string {
  const number = Buffer.alloc(8)
  number.writeBigInt64BE(BigInt(sequence))
  return createHash('sha256')
    .update(Buffer.from(previousHash, 'hex'))
    .update(number)
    .update(payload, 'utf8')
    .digest('hex')
}

/** Verifies rows that follow `after`: a whole log from its beginning, or page by page, each from the head of the one before. */
export function verifyChain(rows: Iterable<AuditRow>, after: Head = genesis): Verification {
  let { sequence, hash } = after
  for (const row of rows) {
    sequence += 1
    if (row.sequence !== sequence) return broken(sequence, 'the entry is missing or out of order')
    if (row.previousHash !== hash)
      return broken(sequence, 'the entry does not follow the one before')
    if (entryHash(hash, sequence, row.payload) !== row.hash)
      return broken(sequence, 'the entry was changed')
    hash = row.hash
  }
  return { outcome: 'intact', head: { sequence, hash } }
}

/**
 * Whether a verified log contains a head that was kept apart: without one, a log cut short or rewritten from some point on looks whole.
 * `hashAt` gives the log's hash at a sequence, `undefined` beyond its end.
 */
export function verifyHead(
  kept: Head,
  hashAt: (sequence: number) => string | undefined,
): Extract<Verification, { outcome: 'broken' }> | undefined {
  const hash = hashAt(kept.sequence)
  if (hash === undefined) return broken(kept.sequence, 'the end of the log is missing')
  if (hash !== kept.hash) return broken(kept.sequence, 'the log was rewritten up to here')
  return undefined
}

function broken(
  sequence: number,
  reason: string,
): { readonly outcome: 'broken'; readonly sequence: number; readonly reason: string } {
  return { outcome: 'broken', sequence, reason }
}

/** JSON with sorted keys and without undefined fields, so that equal facts have equal bytes. Moments are ISO strings, big numbers decimal ones. */
export function canonicalJson(value: unknown): string {
  if (typeof value === 'bigint') return `"${value}"`
  if (value instanceof Date) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`)
    return `{${fields.join(',')}}`
  }
  return JSON.stringify(value) ?? 'null'
}
