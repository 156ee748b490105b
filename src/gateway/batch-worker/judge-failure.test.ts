import { expect, test } from 'vitest'
import { Fault, type FaultCode } from '../../platform/fault.ts'
import { judgeFailure } from './judge-failure.ts'

const line = { tries: 0, endsInMs: 3_600_000, isEnding: false }
const fault = (code: FaultCode, retryAfterMs?: number): Fault =>
  new Fault({ code, public: 'x', retryAfterMs })

test.each([
  'capacity.no_replica',
  'capacity.overloaded',
  'capacity.draining',
  'capacity.engine_rate_limited',
] as const)('%s waits, and is no failure of an engine', (code) => {
  expect(judgeFailure(fault(code), line)).toMatchObject({
    outcome: 'again',
    hasFailed: false,
    pause: { msMin: 1_000, msMax: 60_000 },
  })
})

test.each([
  'limits.unavailable',
  'idempotency.in_progress',
  'idempotency.unavailable',
  'billing.journal_full',
  'platform.database_unavailable',
] as const)('%s waits', (code) => {
  expect(judgeFailure(fault(code), line)).toMatchObject({ outcome: 'again', hasFailed: false })
})

test('a limit that clears before the batch ends is waited for; one that does not, or never, is an error', () => {
  const code = 'limits.rate_exceeded'
  expect(judgeFailure(fault(code, 30_000), line)).toMatchObject({ pause: { msMin: 30_000 } })
  expect(judgeFailure(fault(code, 600_000), line)).toMatchObject({ pause: { msMin: 60_000 } })
  expect(judgeFailure(fault(code, 3_600_001), line)).toEqual({ outcome: 'final' })
  expect(judgeFailure(fault(code), line)).toEqual({ outcome: 'final' })
})

test('an engine that failed is tried three times in all', () => {
  for (const tries of [0, 1])
    expect(judgeFailure(fault('upstream.failed'), { ...line, tries })).toEqual({
      outcome: 'again',
      hasFailed: true,
      pause: undefined,
    })
  expect(judgeFailure(fault('upstream.failed'), { ...line, tries: 2 })).toEqual({
    outcome: 'final',
  })
})

test.each([
  'client.invalid_request',
  'catalog.model_not_found',
  'catalog.price_missing',
  'limits.quota_exhausted',
  'limits.payment_required',
  'upstream.rejected',
  'idempotency.exhausted',
  'guardrail.blocked',
  'platform.bug',
] as const)('%s is an error of its line', (code) => {
  expect(judgeFailure(fault(code, 1_000), line)).toEqual({ outcome: 'final' })
})

test('when the gateway ends, whatever failed runs again', () => {
  const ending = { ...line, isEnding: true }
  expect(judgeFailure(fault('client.gone'), ending)).toMatchObject({
    outcome: 'again',
    pause: undefined,
  })
})
