import { expect, test } from 'vitest'
import { customIdLengthMax, parseInputLine, renderOutputLine } from './line.ts'

const good = { custom_id: 'a', method: 'POST', url: '/v1/x', body: { model: 'm' } }
const parse = (value: unknown) =>
  parseInputLine(Buffer.from(JSON.stringify(value)), '/v1/x', (bytes) =>
    JSON.parse(bytes.toString()),
  )

test('a valid line gives its custom_id and its body', () => {
  expect(parse(good)).toEqual({ line: { customId: 'a', body: { model: 'm' } } })
})

test.each([
  ['an array', [], null],
  ['a number as custom_id', { ...good, custom_id: 1 }, 'custom_id'],
  ['an empty custom_id', { ...good, custom_id: '' }, 'custom_id'],
  ['a long custom_id', { ...good, custom_id: 'x'.repeat(customIdLengthMax + 1) }, 'custom_id'],
  ['another method', { ...good, method: 'post' }, 'method'],
  ['another url', { ...good, url: '/v1/y' }, 'url'],
  ['a text as body', { ...good, body: 'x' }, 'body'],
  ['a stream', { ...good, body: { stream: true } }, 'body.stream'],
])('a line with %s is flawed, by the field', (_, value, param) => {
  expect(parse(value)).toMatchObject({ flaw: { param } })
})

test('an output line has a response or an error, never both, and ends with a line feed', () => {
  const at = { batchId: 'batch_1', line: 7, customId: 'a' }
  const response = { statusCode: 200, requestId: 'req_1', body: { ok: true } }
  const answered = renderOutputLine({ ...at, response, error: undefined })
  expect(answered.endsWith('\n')).toBe(true)
  expect(JSON.parse(answered)).toEqual({
    id: 'batch_req_1_7',
    custom_id: 'a',
    response: { status_code: 200, request_id: 'req_1', body: { ok: true } },
    error: null,
  })
  const error = { code: 'batch_expired', message: 'late' }
  expect(JSON.parse(renderOutputLine({ ...at, response: undefined, error }))).toMatchObject({
    response: null,
    error,
  })
})
