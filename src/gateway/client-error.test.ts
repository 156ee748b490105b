import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { answerClientError } from './client-error.ts'

test.each([
  ['HPE_INVALID_METHOD', '400 Bad Request', null],
  ['HPE_HEADER_OVERFLOW', '431 Request Header Fields Too Large', null],
  ['ERR_HTTP_REQUEST_TIMEOUT', '408 Request Timeout', 'request_timeout'],
])('%s is answered with %s, an error body and an id', async (code, status, wireCode) => {
  const socket = new PassThrough()
  answerClientError(Object.assign(new Error('refused'), { code }), socket)
  const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n')
  expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status}\r\n`))
  expect(head).toMatch(/\r\nx-request-id: req_\w+/)
  expect(head).toContain(`\r\ncontent-length: ${Buffer.byteLength(body)}`)
  expect(JSON.parse(body)).toEqual({
    error: {
      message: expect.any(String),
      type: 'invalid_request_error',
      param: null,
      code: wireCode,
    },
  })
})

test('a client that has gone is answered nothing', () => {
  const socket = new PassThrough()
  socket.destroy()
  expect(() => answerClientError(new Error('reset'), socket)).not.toThrow()
})
