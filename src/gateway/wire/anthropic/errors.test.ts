import { expect, test } from 'vitest'
import { Fault, faultCodes, type FaultCode } from '../../../platform/fault.ts'
import { anthropicErrors } from './errors.ts'

const cases: readonly (readonly [code: FaultCode, status: number, type: string])[] = [
  ['client.invalid_json', 400, 'invalid_request_error'],
  ['client.context_length_exceeded', 400, 'invalid_request_error'],
  ['catalog.capability_missing', 400, 'invalid_request_error'],
  ['auth.invalid_key', 401, 'authentication_error'],
  ['limits.payment_required', 402, 'billing_error'],
  ['auth.ip_not_allowed', 403, 'permission_error'],
  ['catalog.model_not_found', 404, 'not_found_error'],
  ['client.conflict', 409, 'conflict_error'],
  ['client.body_too_large', 413, 'request_too_large'],
  ['limits.rate_exceeded', 429, 'rate_limit_error'],
  ['platform.bug', 500, 'api_error'],
  ['upstream.failed', 502, 'api_error'],
  ['upstream.timeout', 504, 'timeout_error'],
  ['capacity.overloaded', 529, 'overloaded_error'],
  ['capacity.no_replica', 529, 'overloaded_error'],
  ['capacity.draining', 529, 'overloaded_error'],
]
for (const [code, status, type] of cases) {
  test(`${code} is a ${type}, ${status}`, () => {
    const fault = new Fault({ code, public: 'Do this.' })
    expect(anthropicErrors.status(fault)).toBe(status)
    expect(anthropicErrors.body(fault, 'req_1')).toMatchObject({
      type: 'error',
      error: { type, details: { error_code: code.split('.')[1] } },
      request_id: 'req_1',
    })
  })
}

test('every fault has one of the types that clients know', () => {
  const known = new Set(cases.map(([, , type]) => type))
  for (const code of Object.keys(faultCodes) as FaultCode[]) {
    const fault = new Fault({ code, public: 'Do this.' })
    const { error } = anthropicErrors.body(fault, 'req_1') as { error: { type: string } }
    expect(known).toContain(error.type)
  }
})

test('a refused limit stands beside the message, and a field that is wrong among the details', () => {
  const limit = { rule: 'r', limit: '10' }
  const refused = new Fault({ code: 'limits.rate_exceeded', public: 'Wait.', details: limit })
  expect(anthropicErrors.body(refused, 'req_1')).toMatchObject({ error: { limit } })
  const wrong = new Fault({ code: 'client.invalid_request', public: 'No.', param: 'messages' })
  expect(anthropicErrors.body(wrong, 'req_1')).toMatchObject({
    error: { message: 'No.', details: { param: 'messages' } },
  })
})

test('a prompt that does not fit says so in the words that agents act upon; too many output tokens do not', () => {
  const messageOf = (param: string): unknown => {
    const code = 'client.context_length_exceeded'
    const fault = new Fault({ code, public: 'Shorten it.', param })
    return (anthropicErrors.body(fault, 'r') as { error: { message: string } }).error.message
  }
  expect(messageOf('messages')).toBe('prompt is too long: Shorten it.')
  expect(messageOf('max_tokens')).toBe('Shorten it.')
})

test('in a stream it is an event with its name', () => {
  const fault = new Fault({ code: 'upstream.truncated', public: 'Try again.' })
  const [name, data] = anthropicErrors.event(fault, 'req_1').split('\n')
  expect(name).toBe('event: error')
  expect(JSON.parse((data ?? '').slice('data: '.length))).toMatchObject({
    type: 'error',
    error: { type: 'api_error' },
    request_id: 'req_1',
  })
})
