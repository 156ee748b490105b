import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  canonicalJson,
  entryHash,
  genesis,
  verifyChain,
  verifyHead,
  type AuditRow,
} from './chain.ts'

function makeLog(length: number): AuditRow[] {
  const rows: AuditRow[] = []
  for (let sequence = 1; sequence <= length; sequence += 1) {
    const previousHash = rows.at(-1)?.hash ?? genesis.hash
    const payload = canonicalJson({ action: 'keys.create', resource: `key_é${sequence}` })
    rows.push({ sequence, payload, previousHash, hash: entryHash(previousHash, sequence, payload) })
  }
  return rows
}

const log = makeLog(50)
const hashAt = (rows: readonly AuditRow[]) => (sequence: number) =>
  sequence === 0 ? genesis.hash : rows[sequence - 1]?.hash

test('a whole log is intact, and its head is its last entry', () => {
  expect(verifyChain(log)).toEqual({
    outcome: 'intact',
    head: { sequence: 50, hash: log[49]?.hash },
  })
  expect(verifyChain([])).toEqual({ outcome: 'intact', head: genesis })
})

test('a log verified page by page gives what it gives at once', () => {
  let head = genesis
  for (let start = 0; start < log.length; start += 7) {
    const part = verifyChain(log.slice(start, start + 7), head)
    expect(part.outcome).toBe('intact')
    if (part.outcome === 'intact') head = part.head
  }
  expect(verifyChain(log)).toEqual({ outcome: 'intact', head })
})

test('the first changed entry is named, whatever was changed in it', () => {
  const changes: readonly ((row: AuditRow) => AuditRow)[] = [
    (row) => ({ ...row, payload: row.payload.replace('create', 'revoke') }),
    (row) => ({ ...row, hash: genesis.hash }),
    (row) => ({ ...row, previousHash: genesis.hash }),
    (row) => ({ ...row, sequence: row.sequence + 1 }),
    // A forger who knows the format makes the entry fit itself; the next one gives it away.
    (row) => ({ ...row, payload: '{}', hash: entryHash(row.previousHash, row.sequence, '{}') }),
  ]
  for (const change of changes) {
    for (const at of [1, 20, 48]) {
      const forged = log.map((row, index) => (index === at ? change(row) : row))
      const result = verifyChain(forged)
      expect(result.outcome).toBe('broken')
      if (result.outcome === 'broken') expect([at + 1, at + 2]).toContain(result.sequence)
    }
  }
})

test('a removed, repeated or moved entry is named', () => {
  const without = log.filter((row) => row.sequence !== 10)
  expect(verifyChain(without)).toMatchObject({ outcome: 'broken', sequence: 10 })
  const repeated = [...log.slice(0, 10), ...log.slice(9)]
  expect(verifyChain(repeated)).toMatchObject({ outcome: 'broken', sequence: 11 })
  const [a, b] = [log[5], log[6]]
  const moved = [...log.slice(0, 5), b, a, ...log.slice(7)].filter((row) => row !== undefined)
  expect(verifyChain(moved)).toMatchObject({ outcome: 'broken', sequence: 6 })
})

test('a log cut short is whole by itself, and found out by a head that was kept', () => {
  const kept = { sequence: 50, hash: log[49]?.hash ?? '' }
  expect(verifyHead(kept, hashAt(log))).toBeUndefined()
  for (const missing of [1, 2, 49, 50]) {
    const short = log.slice(0, -missing)
    expect(verifyChain(short).outcome).toBe('intact')
    expect(verifyHead(kept, hashAt(short))).toMatchObject({ outcome: 'broken' })
  }
})

test('a log rewritten from its first entry on is found out by any head that was kept', () => {
  const rewritten = makeLog(60).map((row) => row)
  let previousHash = genesis.hash
  const forged = rewritten.map((row) => {
    const payload = row.payload.replace('create', 'list')
    const hash = entryHash(previousHash, row.sequence, payload)
    const made = { ...row, payload, previousHash, hash }
    previousHash = hash
    return made
  })
  expect(verifyChain(forged).outcome).toBe('intact')
  const kept = { sequence: 3, hash: log[2]?.hash ?? '' }
  expect(verifyHead(kept, hashAt(forged))).toMatchObject({ outcome: 'broken', sequence: 3 })
})

test('equal facts have equal bytes, in whatever order they were told', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (facts) => {
      const turned = Object.fromEntries(Object.entries(facts).toReversed())
      expect(canonicalJson(turned)).toBe(canonicalJson(facts))
      expect(JSON.parse(canonicalJson(facts))).toEqual(JSON.parse(JSON.stringify(facts)))
    }),
  )
})

test('moments and big numbers keep their value; what is undefined is left out', () => {
  const facts = { b: new Date(0), a: 12n ** 20n, c: undefined, d: [undefined, 'é\u0000'] }
  expect(canonicalJson(facts)).toBe(
    '{"a":"3833759992447475122176","b":"1970-01-01T00:00:00.000Z","d":[null,"é\\u0000"]}',
  )
})
