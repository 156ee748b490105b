import { expect, test } from 'vitest'
import type { LimitTake } from '../../limits/authority.ts'
import type { OpenedRequest, SettledRequest } from '../usage.ts'
import {
  createUnsettledIndex,
  describeRequest,
  encodeOpen,
  encodeProgress,
  encodeSettle,
  encodeTakes,
  readSettlement,
  selectBookable,
} from './event.ts'

const take = (ruleId: string, windowStartMs: number): LimitTake => ({
  ruleId,
  subject: 'ten_AAAAAAAAAAAAAAAA',
  windowStartMs,
  measure: 'tokens',
})
const request: OpenedRequest = {
  requestId: 'req_1',
  leg: 1,
  tenantId: 'ten_AAAAAAAAAAAAAAAA',
  projectId: 'prj_AAAAAAAAAAAAAAAA',
  apiKeyId: 'key_AAAAAAAAAAAAAAAA',
  modelId: 'a "model", with "leg":7 in its name',
  endpoint: '/v1/audio/transcriptions',
  streamed: false,
  price: {
    version: 'standard@2026',
    currency: 'EUR',
    inputNanos: 900n,
    cachedInputNanos: 90n,
    outputNanos: 4_000n,
    reasoningNanos: 21_000n,
    units: { audioMinuteNanos: 10_000_000n, systemTokenNanos: 0n },
    discountBasisPoints: 5_000,
  },
  estimatedInputTokens: 10,
  maxOutputTokens: 100,
  heldNanos: 12_000_000_000_000_000n,
  startedAtMs: Date.parse('2026-05-01T10:00:00Z'),
  lifeId: 'lif_AAAAAAAAAAAAAAAA',
  takes: [take('lim_a', 0), take('lim_b', 60_000)],
  alreadyChargedNanos: 5n,
}
const text = describeRequest(request, 'gw_1')
const usage = {
  inputTokens: 10,
  cachedInputTokens: 1,
  outputTokens: 20,
  reasoningTokens: 2,
  units: { audioMs: 61_000, systemTokens: 4 },
}
const settled: SettledRequest = {
  outcome: 'completed',
  usage,
  usageSuspect: false,
  amountNanos: 9n,
  waivedNanos: 1n,
  charges: [{ ruleId: 'lim_a', subject: 'x', windowStartMs: 0, amount: 2n ** 60n }],
  engineCounted: true,
  replicaId: undefined,
  timeToFirstTokenMs: undefined,
  durationMs: 1,
  settledAtMs: Date.parse('2026-05-01T10:00:01Z'),
}

function unsettled(...lines: string[]) {
  const index = createUnsettledIndex()
  for (const line of lines) index.add(line)
  return index.list()
}

test('a request that was left open is read back as it was opened, prices of units and earlier charges included', () => {
  const [found] = unsettled(encodeOpen(text, 7n))
  expect(found?.request).toEqual({
    ...request,
    price: { ...request.price, units: { audioMinuteNanos: 10_000_000n, systemTokenNanos: 0n } },
  })
  expect(found).toMatchObject({ progress: undefined, replicaId: undefined, takes: request.takes })
})

test('what it took later, and the last progress with its replica, are known after a crash', () => {
  const [found] = unsettled(
    encodeOpen(text, 7n),
    encodeProgress(text, { usage: { ...usage, outputTokens: 5 }, replicaId: 'rep_1' }),
    encodeTakes(text, [take('lim_a', 120_000)]),
    encodeProgress(text, { usage, replicaId: 'rep_1' }),
    encodeTakes(text, [take('lim_b', 120_000), take('lim_b', 180_000)]),
  )
  expect(found?.progress).toEqual(usage)
  expect(found?.replicaId).toBe('rep_1')
  expect(found?.takes).toEqual([
    ...request.takes,
    take('lim_a', 120_000),
    take('lim_b', 120_000),
    take('lim_b', 180_000),
  ])
})

test('lines of an older journal have no life, no counters and no replica, and are read all the same', () => {
  const old = encodeOpen(text, 7n)
    .replace(/"life_id":"[^"]*",/, '')
    .replace(/"already_charged_nanos":"5",/, '')
    .replace(/,"takes":\[.*\]\]/, '')
  expect(old).not.toMatch(/takes|life_id|already/)
  const [found] = unsettled(old, encodeProgress(text, { usage }))
  expect(found).toMatchObject({ takes: [], replicaId: undefined })
  expect(found?.request).toMatchObject({ lifeId: '', takes: [], alreadyChargedNanos: 0n })
})

test('a settlement ends its own leg alone, and what only recovery needs is never booked', () => {
  const other = describeRequest({ ...request, leg: 2 }, 'gw_1')
  const lines = [
    encodeOpen(text, 1n),
    encodeOpen(other, 2n),
    encodeTakes(text, [take('lim_a', 1)]),
    encodeProgress(text, { usage }),
    encodeSettle(text, settled, 5n),
  ]
  expect(unsettled(...lines).map((found) => found.request.leg)).toEqual([2])
  expect(selectBookable(lines)).toEqual([lines[1], lines[4]])
})

test('a settlement is counted as it is written', () => {
  expect(readSettlement(encodeSettle(text, settled, 9_007_199_254_740_993n))).toEqual({
    sequence: 9_007_199_254_740_993n,
    requestId: 'req_1',
    leg: 1,
    tenantId: request.tenantId,
    modelId: request.modelId,
    currency: 'EUR',
    settledAtMs: settled.settledAtMs,
    usage,
    amountNanos: 9n,
    engineCounted: true,
  })
  expect(readSettlement(encodeOpen(text, 1n))).toBeUndefined()
  expect(readSettlement(encodeTakes(text, request.takes))).toBeUndefined()
})

test('each line is one line of valid JSON', () => {
  const lines = [
    encodeOpen(text, 1n),
    encodeTakes(text, request.takes),
    encodeProgress(text, { usage, replicaId: 'rep_1' }),
    encodeSettle(text, settled, 2n),
  ]
  for (const line of lines) {
    expect(line).not.toContain('\n')
    expect(JSON.parse(line)).toMatchObject({ request_id: 'req_1', leg: 1 })
  }
  expect(JSON.parse(lines[3] ?? '')).toMatchObject({
    life_id: 'lif_AAAAAAAAAAAAAAAA',
    units: { audio_ms: 61_000, system_tokens: 4 },
    charges: [['lim_a', 'x', 0, '1152921504606846976']],
  })
})
