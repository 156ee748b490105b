import { expect, test } from 'vitest'
import { Fault, faultCodes, type FaultCode } from '../../../platform/fault.ts'
import { errorHeaders, openAiErrors } from './errors.ts'

// The table of faults names its own keys.
const codes = Object.keys(faultCodes) as FaultCode[]
const fault = (code: FaultCode, retryAfterMs?: number): Fault =>
  new Fault({ code, public: 'Words for the caller.', internal: 'gpu-17.internal', retryAfterMs })

test.each(codes)('%s has the four fields of an error, and nothing for operators', (code) => {
  const body = openAiErrors.body(fault(code), 'req_1')
  expect(body).toEqual({
    error: {
      message: 'Words for the caller.',
      type: expect.any(String),
      param: null,
      code: expect.toBeOneOf([expect.any(String), null]),
    },
  })
})

test.each(codes.filter((code) => [429, 503].includes(faultCodes[code])))(
  '%s says when to come back, in whole seconds and in milliseconds, or that it is no use',
  (code) => {
    const waiting = errorHeaders(fault(code, 1_200.5))
    expect(waiting).toMatchObject({ 'retry-after': '2', 'retry-after-ms': '1201' })
    const staying = errorHeaders(fault(code))
    expect(staying).toMatchObject({ 'x-should-retry': 'false' })
    expect(staying).not.toHaveProperty('retry-after')
  },
)

test('money that is used up is not asked for again by a program, even if it comes back next month', () => {
  for (const code of ['limits.quota_exhausted', 'limits.payment_required'] as const)
    expect(errorHeaders(fault(code, 86_400_000))).toMatchObject({
      'retry-after': '86400',
      'x-should-retry': 'false',
    })
  expect(errorHeaders(fault('limits.rate_exceeded', 1_000))).not.toHaveProperty('x-should-retry')
})
