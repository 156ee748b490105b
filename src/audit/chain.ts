/** The chain's arithmetic, for writers and for verifiers that hold nothing but a copy. Pure. */
import { createHash } from 'node:crypto'

export interface AuditRow {
  readonly sequence: number
  readonly payload: string
  readonly previousHash: string
  readonly hash: string
}

export type Verification =
  | { readonly outcome: 'intact'; readonly entries: number; readonly head: string }
  | { readonly outcome: 'broken'; readonly sequence: number; readonly reason: string }

const genesis = '00'.repeat(32)

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

/** Verifies a whole log from its first entry. `head` is what the log should end with; without it, a missing end goes unseen. */
export function verifyChain(
  rows: Iterable<AuditRow>,
  head?: { readonly sequence: number; readonly hash: string },
): Verification {
  let previous = genesis
  let sequence = 0
  for (const row of rows) {
    sequence += 1
    if (row.sequence !== sequence) return broken(sequence, 'the entry is missing or out of order')
    if (row.previousHash !== previous)
      return broken(sequence, 'the entry does not follow the one before')
    if (entryHash(previous, sequence, row.payload) !== row.hash)
      return broken(sequence, 'the entry was changed')
    previous = row.hash
  }
  if (head && (head.sequence !== sequence || head.hash !== previous)) {
    return broken(sequence + 1, 'the end of the log is missing or was replaced')
  }
  return { outcome: 'intact', entries: sequence, head: previous }
}

function broken(sequence: number, reason: string): Verification {
  return { outcome: 'broken', sequence, reason }
}

/** JSON with sorted keys and without undefined fields, so that equal facts have equal bytes. */
export function canonicalJson(value: unknown): string {
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
