/** What Node's strict HTTP parser refuses, and who is too slow with a head: neither reaches a route. */
import type { Duplex } from 'node:stream'
import { Fault } from '../platform/fault.ts'
import { newId } from '../platform/ids.ts'
import { errorHeaders, toWireError } from './wire/openai/errors.ts'

const tooLarge = {
  status: '431 Request Header Fields Too Large',
  code: 'client.invalid_request',
  text: 'The request headers are too large.',
} as const
const tooSlow = {
  status: '408 Request Timeout',
  code: 'client.request_timeout',
  text: 'The request did not arrive in time.',
} as const
const notHttp = {
  status: '400 Bad Request',
  code: 'client.invalid_request',
  text: 'The request is not valid HTTP.',
} as const
/** By Node's names for its own errors. */
const refusals: Readonly<Record<string, typeof tooLarge | typeof tooSlow>> = {
  HPE_HEADER_OVERFLOW: tooLarge,
  ERR_HTTP_REQUEST_TIMEOUT: tooSlow,
}

export function answerClientError(error: Error, socket: Duplex): void {
  // A client that has gone reads no answer.
  if (!socket.writable) return
  const name = 'code' in error ? String(error.code) : ''
  const { status, code, text } = refusals[name] ?? notHttp
  const fault = new Fault({ code, public: text })
  const body = JSON.stringify(toWireError(fault))
  const requestId = newId('req')
  const headers = {
    ...errorHeaders(fault),
    'x-request-id': requestId,
    'request-id': requestId,
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  }
  const lines = Object.entries(headers).map(([key, value]) => `${key}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${status}\r\n${lines.join('')}\r\n${body}`)
}
