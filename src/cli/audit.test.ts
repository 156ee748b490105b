import { expect, test } from 'vitest'
import { entryHash } from '../audit/chain.ts'
import { parseLog, verifyLog } from './audit.ts'

function makeExport(entries: number): string[] {
  let previousHash = '00'.repeat(32)
  const lines: string[] = []
  for (let sequence = 1; sequence <= entries; sequence += 1) {
    const payload = `{"action":"keys.create","resource":"key_${sequence}"}`
    const hash = entryHash(previousHash, sequence, payload)
    lines.push(JSON.stringify({ sequence, payload, previousHash, hash }))
    previousHash = hash
  }
  return [...lines, JSON.stringify({ head: { sequence: entries, hash: previousHash } })]
}

async function* each(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines
}

const verifyLines = (lines: readonly string[], kept?: { sequence: number; hash: string }) =>
  verifyLog(parseLog(each(lines)), kept)

test('an export is intact, over several parts, with its head', async () => {
  const result = await verifyLines(makeExport(2_500))
  expect(result).toMatchObject({ outcome: 'intact', head: { sequence: 2_500 }, headKnown: true })
  expect(await verifyLines(makeExport(0))).toMatchObject({ outcome: 'intact' })
  expect(await verifyLines(makeExport(1_000))).toMatchObject({ outcome: 'intact' })
})

test('every changed byte of an export is found', async () => {
  const bytes = Buffer.from(makeExport(3).join('\n'))
  for (let at = 0; at < bytes.length; at += 1) {
    for (const bit of [0x01, 0x20]) {
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] ?? 0) ^ bit
      const result = await verifyLines(changed.toString('utf8').split('\n'))
      expect(result.outcome, `byte ${at} bit ${bit}`).toBe('broken')
    }
  }
})

test('the last entries cannot be left out: not with the head, and not without it when one was kept', async () => {
  const lines = makeExport(10)
  const head = JSON.parse(lines.at(-1) ?? '').head
  expect(await verifyLines([...lines.slice(0, 7), lines[10] ?? ''])).toMatchObject({
    outcome: 'broken',
    sequence: 8,
  })
  expect(await verifyLines(lines.slice(0, 7))).toMatchObject({
    outcome: 'intact',
    headKnown: false,
  })
  expect(await verifyLines(lines.slice(0, 7), head)).toMatchObject({
    outcome: 'broken',
    sequence: 8,
  })
})

test('a head that was kept earlier must lie on the chain', async () => {
  const lines = makeExport(10)
  const { hash } = JSON.parse(lines[3] ?? '')
  expect(await verifyLines(lines, { sequence: 4, hash })).toMatchObject({ outcome: 'intact' })
  expect(await verifyLines(lines, { sequence: 5, hash })).toMatchObject({
    outcome: 'broken',
    sequence: 5,
  })
})

test('entries after the head, and lines that are neither, are refused', async () => {
  const lines = makeExport(3)
  expect((await verifyLines([...lines, lines[2] ?? ''])).outcome).toBe('broken')
  expect((await verifyLines(['', ...lines])).outcome).toBe('broken')
  expect(await verifyLines(['[]'])).toMatchObject({ outcome: 'broken', sequence: 1 })
})
