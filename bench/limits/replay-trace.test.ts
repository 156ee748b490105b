import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { leases } from './lease-policy.ts'
import { countAfterwards, reserveMaximum } from './policy.ts'
import { replayTrace, type ReplayResult } from './replay-trace.ts'
import { placeBetween, renderTable } from './report.ts'
import { readTrace } from './trace.ts'

const trace = readTrace(
  fileURLToPath(new URL('traces/azure-2023-conversation.csv', import.meta.url)),
)
const options = { limitTokens: 50_000, outputTokensMax: 4_096, msPerToken: 30 }
const replay = (policy: Parameters<typeof replayTrace>[1]): Promise<ReplayResult> =>
  replayTrace(trace.slice(0, 700), policy, options)

test('the trace is read whole', () => {
  expect(trace).toHaveLength(19_366)
  expect(trace[0]).toEqual({
    atMs: Date.UTC(2023, 10, 16, 18, 15, 46, 680),
    inputTokens: 374,
    outputTokens: 44,
  })
})

test('leases use more of a limit than reservations of the longest answer, and never exceed it', async () => {
  const [maximum, ours] = [await replay(reserveMaximum), await replay((world) => leases(world, 1))]
  expect(ours.admitted).toBeGreaterThanOrEqual(1.5 * maximum.admitted)
  expect(ours.utilisation).toBeGreaterThan(0.97)
  expect(maximum.overdraft).toBe(0)
  expect(ours.overdraft).toBeLessThanOrEqual(0.001)
})

test('counting afterwards exceeds the limit', async () => {
  const result = await replay(countAfterwards)
  expect(result.overdraft).toBeGreaterThan(0.5)
})

test('an equal replay has an equal result', async () => {
  const [first, second] = [await replay(countAfterwards), await replay(countAfterwards)]
  expect(first).toEqual(second)
})

test('a table takes the place of the last one', async () => {
  const result = await replay(reserveMaximum)
  const table = renderTable([result, { ...result, admitted: result.admitted * 2 }])
  expect(table.split('\n')).toHaveLength(4)
  expect(table).toContain('2.00 ×')
  const before = 'a\n<!-- results -->\nold\n<!-- /results -->\nz'
  expect(placeBetween(before, 'results', 'new')).toBe(
    'a\n<!-- results -->\nnew\n<!-- /results -->\nz',
  )
  expect(() => placeBetween('a', 'results', 'new')).toThrow('no place')
})
